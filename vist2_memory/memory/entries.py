"""Messages that are compared with what a session holds, before they are any of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vist2_memory.memory.content import EMPTY, Part
from vist2_memory.types import Message, Role, ToolCall


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One message as a session stores it.

    Entries are equal when role, text and calls are. Calls are compared by what they say, since
    clients write arguments anew.
    """

    role: Role
    text: str
    payload: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, message: Message) -> Entry:
        """The entry that ``message`` was stored as."""
        return cls(message.role, message.text, message.payload)

    @classmethod
    def of_part(cls, part: Part) -> Entry:
        """The entry that a message of another program is stored as."""
        return cls(part.role, part.text, part.payload)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of an assistant's message, as ``Message.calls``."""
        return Message(self.role, self.text, payload=self.payload).calls

    @property
    def id(self) -> str | None:
        """The id that LangChain's message has."""
        id: str | None = self.payload.get("langchain", {}).get("id")
        return id

    @property
    def silent(self) -> bool:
        """Whether nothing is said: neither a text nor a call."""
        return self.text.strip() in ("", EMPTY) and not self.calls

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return self._said() == other._said()

    def __hash__(self) -> int:
        return hash((self.role, self.text))

    def _said(self) -> tuple[Any, ...]:
        calls = [
            (call.id, call.name, call.arguments)
            if call.arguments is not None
            else (call.id,)  # clients write what was cut off in ways of their own
            for call in self.calls
        ]
        return self.role, self.text, calls
