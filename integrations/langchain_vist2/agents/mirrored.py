"""A message of a graph's state as one of a session: what is said, and how it is known again.

The state keeps the message itself, so only what a model reads is taken, and whatever cannot be
stored is written so that it can: no message of a state may keep an agent from going on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from vist2_memory.errors import InvalidMessageError
from vist2_memory.memory.content import Part
from vist2_memory.memory.langchain_form import part_of
from vist2_memory.types import Message, ToolCall, calls_payload

_OF = "of"
"""Where a session's message says what it mirrors: the id that this has, and its digest."""


@dataclass(frozen=True, slots=True)
class Mark:
    """By what a message is known again: its id, if it has one, and a digest of what it says."""

    id: str | None
    digest: str

    def matches(self, other: Mark | None) -> bool:
        """Whether both are of one message; one without an id is known by what it says alone."""
        if other is None or self.digest != other.digest:
            return False
        return self.id is None or other.id is None or self.id == other.id


def mark(message: BaseMessage, *, by_id: bool = True) -> Mark:
    """The mark of ``message``; without its id where ids are new in each run."""
    calls = [[call["id"], call["name"], call["args"]] for call in _calls(message)]
    content = message.content
    said = (
        message.type,
        getattr(message, "role", None),
        message.name,
        content if isinstance(content, str) else _json(content),
        _json(calls) if calls else "",
        getattr(message, "tool_call_id", None),
    )
    data = repr(said).encode("utf-8", "backslashreplace")
    return Mark(message.id if by_id else None, hashlib.blake2b(data, digest_size=16).hexdigest())


def held_mark(message: Message) -> Mark | None:
    """The mark of what a session's message mirrors; None for one that mirrors nothing."""
    of = message.payload.get(_OF)
    return Mark(*of) if isinstance(of, list) and len(of) == 2 else None


def digest(marks: Sequence[Mark], length: int = 16) -> str:
    """Names a conversation by its marks, in hexadecimal."""
    said = json.dumps([[mark.id, mark.digest] for mark in marks])
    return hashlib.blake2b(said.encode(), digest_size=length // 2).hexdigest()


def as_message(message: BaseMessage) -> Message:
    """``message`` as a session would store it, without an id: role, text and calls.

    What is no text is named in its place, and what says nothing says so.
    """
    part = _part(message)
    calls = tuple(
        ToolCall(_storable(call.id), _storable(call.text))
        for call in Message(part.role, part.text, payload=part.payload).calls
    )
    payload: dict[str, Any] = calls_payload(calls)
    if "tool_call_id" in part.payload:
        payload["tool_call_id"] = _storable(part.payload["tool_call_id"])
    return Message(part.role, _storable(part.text), payload=payload)


def unread(message: BaseMessage) -> list[str]:
    """What of ``message`` is no text, in words."""
    return list(_part(message).unread)


def mirroring(message: Message, mark: Mark, id: str) -> Message:
    """``message`` as the one that mirrors what has ``mark``."""
    payload = {**message.payload, _OF: [mark.id, mark.digest]}
    return Message(message.role, message.text, id, payload=payload)


def _part(message: BaseMessage) -> Part:
    """What is said of ``message``, by LangChain's own fields, whatever else it carries."""
    fields = ("content", "role", "tool_calls", "invalid_tool_calls", "tool_call_id")
    data = {name: getattr(message, name) for name in fields if hasattr(message, name)}
    try:
        return part_of(message.type, data)
    except InvalidMessageError:  # of a class that LangChain does not have
        return part_of("human", {"content": message.text})


def _calls(message: BaseMessage) -> list[Any]:
    """All calls, those that did not parse too."""
    if not isinstance(message, AIMessage):
        return []
    return [*message.tool_calls, *message.invalid_tool_calls]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _storable(text: str) -> str:
    """``text`` without what no store takes: NUL and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
