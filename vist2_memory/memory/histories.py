"""Histories that other programs wrote, as messages: JSON lines of two forms.

=============  ===================================================================================
form           a line is
=============  ===================================================================================
``openai``     ``{"role": ..., "content": ...}``: the file is one session; or a list of those, or
               ``{"messages": [...]}``: each line is a session, called by its ``id``,
               ``session_id``, ``session``, ``conversation_id`` or ``thread_id``, or else by file
               and line
``langchain``  the same with ``{"type": ..., "data": {...}}``, which ``message_to_dict`` and
               ``messages_to_dict`` give
=============  ===================================================================================

A message of theirs is one message here. What is text in its content, and how the rest is named, is
said in ``content.py``; what is only named is told, or refused, and stays in the payload. That is
the payload of ``langchain_form.py``, which LangChain's integration reads. Knows no store.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from vist2_memory.errors import InvalidMessageError, StoreFormatError
from vist2_memory.memory.content import ROLES, Part, read_content, standing_in
from vist2_memory.memory.exports import read_lines
from vist2_memory.memory.langchain_form import current, part_of, written_call
from vist2_memory.memory.validation import check_payload, check_said
from vist2_memory.types import Message, ToolCall, calls_payload

Form: TypeAlias = Literal["auto", "openai", "langchain"]
Blocks: TypeAlias = Literal["name", "refuse"]

_SESSION_NAMES = ("id", "session_id", "session", "conversation_id", "thread_id")
_TIMES = ("time", "timestamp", "created_at", "created")


@dataclass(frozen=True, slots=True)
class History:
    """One session of a file, as messages with ids; ``warnings`` name file and line."""

    session: str
    messages: list[Message]
    warnings: list[str] = field(default_factory=list)


def read_histories(path: Path, form: Form = "auto", blocks: Blocks = "name") -> Iterator[History]:
    """The sessions of a file, one after the other.

    Raises ``StoreUnavailableError`` for a file that cannot be read, and ``StoreFormatError`` naming
    file and line; the sessions before that line were given out by then.
    """
    for option, value, known in (("form", form, Form), ("blocks", blocks, Blocks)):
        if value not in get_args(known):
            allowed = ", ".join(get_args(known))
            raise ValueError(f"{option}={value!r} is not allowed: one of {allowed}")
    lines = read_lines(path, "history")
    single: list[Part] = []
    told: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        with _naming(path, number):
            value = json.loads(line)
            entries = value.get("messages") if isinstance(value, dict) else value
            if entries is not None and single:
                raise InvalidMessageError("it is a session, and the lines before it are messages")
            if entries is not None and not isinstance(entries, list):
                raise InvalidMessageError("it has no list of messages")
            given = [value] if entries is None else entries
            parts = [read_part(entry, form, blocks) for entry in given]
            messages = to_messages(parts)  # what cannot be stored is told by its line
        warnings = [
            f"{path}:{number}: {what} is no text: it is only named in the text"
            for part in parts
            for what in part.unread
        ]
        if entries is None:
            single += parts
            told += warnings
        elif messages:
            yield History(_name(path, number, value), messages, warnings)
    if single:
        yield History(path.stem, to_messages(single), told)


@contextlib.contextmanager
def _naming(path: Path, number: int) -> Iterator[None]:
    """What is wrong with a line, said with its file and number."""
    try:
        yield
    except KeyError as error:
        raise StoreFormatError(f"{path}:{number} holds no message: it has no {error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreFormatError(f"{path}:{number} holds no message: {error}") from error


def _name(path: Path, number: int, value: Any) -> str:
    """What the session of a line is called."""
    if isinstance(value, dict):
        for key in _SESSION_NAMES:
            if isinstance(value.get(key), (str, int)) and value[key] != "":
                return str(value[key])
    return f"{path.stem}-{number}"


def read_part(entry: Any, form: Form = "auto", blocks: Blocks = "name") -> Part:
    """The message that an entry is. Raises ``InvalidMessageError``, ``KeyError`` and the like."""
    if not isinstance(entry, dict):
        raise InvalidMessageError(f"{str(entry)[:40]!r} is no object")
    langchain = isinstance(entry.get("data"), dict) and "type" in entry
    if form != "auto" and langchain != (form == "langchain"):
        raise InvalidMessageError(f"it is not of the form {form}")
    fields = entry["data"] if langchain else entry
    part = _of_langchain(str(entry["type"]), fields) if langchain else _of_openai(entry)
    if part.unread and blocks == "refuse":
        raise InvalidMessageError(f"it has {part.unread[0]}, which is no text")
    times = (fields.get(key) for key in _TIMES)
    time = next(filter(None, map(_seconds, times)), 0.0)
    return replace(part, id=str(fields.get("id") or ""), time=time)


def _seconds(time: Any) -> float:
    """``time`` as seconds; 0 for what is no time."""
    try:
        seconds = float(time) if isinstance(time, (int, float)) else 0.0
    except OverflowError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def _of_langchain(kind: str, data: Mapping[str, Any]) -> Part:
    return part_of(kind, current(kind, data))


def _of_openai(entry: Mapping[str, Any]) -> Part:
    role = ROLES.get(str(entry["role"]))
    if role is None:
        raise InvalidMessageError(f"unknown role {entry['role']!r}: one of {', '.join(ROLES)}")
    content = entry.get("content")
    if content is None and role in ("assistant", "tool"):
        content = ""
    text, unread = read_content(content, role)
    calls = tuple(_openai_calls(entry)) if role == "assistant" else ()
    text = standing_in(text, role, calls)
    payload: dict[str, Any] = calls_payload(calls)
    for name in ("tool_call_id", "name"):
        if isinstance(entry.get(name), str) and entry[name]:
            payload[name] = entry[name]
    more = {} if content == text else {"content": content}
    if entry["role"] == "function":
        more["type"] = "function"
    if more:
        payload["langchain"] = more
    return Part(role, text, payload, unread=[f"a content block of type {b!r}" for b in unread])


def _openai_calls(entry: Mapping[str, Any]) -> Iterator[ToolCall]:
    given = list(entry.get("tool_calls") or ())
    if entry.get("function_call"):  # as it was before there were tools
        given.append({"function": entry["function_call"]})
    for place, call in enumerate(given):
        said = call["custom"] if "custom" in call else call["function"]
        arguments = said.get("arguments", said.get("input"))
        if isinstance(arguments, str):
            with contextlib.suppress(ValueError):  # else they stay as the model wrote them
                read = json.loads(arguments)
                arguments = read if isinstance(read, dict) else arguments
        yield written_call(call.get("id"), said["name"], arguments, place)


def to_messages(parts: Iterable[Part]) -> list[Message]:
    """Messages with their own ids, or ids of what they say and where, so that they stay the same.

    An id that was there before is not taken for another message. What follows a question has its
    turn. Raises ``InvalidMessageError``.
    """
    messages: list[Message] = []
    taken: set[str] = set()
    turn = ""
    for part in parts:
        payload = check_payload(part.payload)
        content = json.dumps([len(messages), part.role, part.text, payload], sort_keys=True)
        digest = blake2b(content.encode("utf-8"), digest_size=16).hexdigest()
        id = part.id if part.id and part.id not in taken else f"import-{digest}"
        taken.add(id)
        turn = id if part.role == "user" else turn
        messages.append(check_said(Message(part.role, part.text, id, turn, part.time, payload)))
    return messages
