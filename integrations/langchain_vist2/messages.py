"""LangChain's messages as what a session stores: a role, a text, and a payload beside it.

=====================  ===========  ================================================================
message                role         text
=====================  ===========  ================================================================
``SystemMessage``      system       its text
``HumanMessage``       user         its text
``AIMessage``          assistant    its text; one without any says nothing and is passed over
each of its calls      tool         ``{"name": ..., "arguments": ...}``
``ToolMessage``        tool         its text, or ``(no output)``
``ChatMessage``        by its role  its text
=====================  ===========  ================================================================

Text blocks are joined without a separator, as LangChain's own ``message.text`` does. Any other
block (image, file, audio, reasoning) is an error: nothing is dropped in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from vist2_memory.errors import InvalidMessageError
from vist2_memory.memory import VisualMemory
from vist2_memory.memory.histories import Part
from vist2_memory.types import Role

NO_OUTPUT = "(no output)"
"""Stands for the result of a tool that gave back nothing."""

_CALL_BLOCKS = ("tool_call", "tool_use", "function_call")
"""Blocks that repeat what ``AIMessage.tool_calls`` holds."""
_NAMES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One message as a session would store it. Entries of equal role and text say the same."""

    role: Role
    text: str
    payload: Mapping[str, Any] = field(default_factory=dict, compare=False)


def to_entries(messages: Iterable[BaseMessage]) -> list[Entry]:
    """``messages`` as entries, in order.

    Raises ``InvalidMessageError`` for content that is not text and for an unknown role.
    """
    return [entry for message in messages for entry in _entries_of(message)]


def import_messages(memory: VisualMemory, session: str, messages: Iterable[BaseMessage]) -> int:
    """Take a conversation of LangChain into ``session``; how many messages were new.

    Done again, with the same messages or with more after them, it stores nothing twice. Raises
    ``InvalidMessageError`` for what cannot be stored and ``ConflictError`` for a session that holds
    another conversation; nothing is stored then.
    """
    entries = to_entries(messages)
    parts = (Part(entry.role, entry.text, entry.payload) for entry in entries)
    return memory.import_messages(session, parts)


def _entries_of(message: BaseMessage) -> Iterator[Entry]:
    text = _text_of(message)
    named = {"name": message.name} if message.name else {}
    if isinstance(message, AIMessage):
        if text.strip():
            yield Entry("assistant", text, named)
        yield from map(_call, [*message.tool_calls, *message.invalid_tool_calls])
    elif isinstance(message, ToolMessage):
        result = {
            "kind": "tool_result",
            "tool_call_id": message.tool_call_id,
            "status": message.status,
        }
        yield Entry("tool", text if text.strip() else NO_OUTPUT, {**named, **result})
    elif isinstance(message, FunctionMessage):
        yield Entry("tool", text if text.strip() else NO_OUTPUT, {**named, "kind": "tool_result"})
    elif isinstance(message, HumanMessage):
        yield Entry("user", text, named)
    elif isinstance(message, SystemMessage):
        yield Entry("system", text, named)
    elif isinstance(message, ChatMessage) and message.role in _NAMES:
        yield Entry(_NAMES[message.role], text, named)
    else:
        role = getattr(message, "role", message.type)
        raise InvalidMessageError(
            f"a {type(message).__name__} of role {role!r} cannot be stored: use a system, human, "
            "ai or tool message"
        )


def _call(call: Mapping[str, Any]) -> Entry:
    """A tool call, valid or not, as the text of it."""
    said = {"name": call["name"], "arguments": call["args"]}
    payload = {"kind": "tool_call", "id": call["id"], **said}
    return Entry("tool", json.dumps(said, ensure_ascii=False, default=str), payload)


def _text_of(message: BaseMessage) -> str:
    """The text of ``message``; raises ``InvalidMessageError`` for a block of another kind."""
    content: str | Sequence[str | Mapping[str, Any]] = message.content
    if isinstance(content, str):
        return content
    parts = []
    for block in content:
        kind = "text" if isinstance(block, str) else block.get("type")
        if isinstance(block, str):
            parts.append(block)
        elif kind == "text" and isinstance(block.get("text"), str):
            parts.append(block["text"])
        elif not (isinstance(message, AIMessage) and kind in _CALL_BLOCKS):
            raise InvalidMessageError(
                f"a {message.type} message has a content block of type {kind!r}: only text can be "
                "stored; describe it in words or leave it out"
            )
    return "".join(parts)
