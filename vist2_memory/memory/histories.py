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

Text blocks of one message are joined without a separator; any other block (an image, say) is named
in its place, ``[image_url]``, and told, or refused. Calls of tools become messages of their own,
with the payload that the LangChain integration gives them. Knows no store.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from vist2_memory.errors import InvalidMessageError, StoreFormatError
from vist2_memory.memory.exports import read_lines
from vist2_memory.memory.validation import check_payload, check_text
from vist2_memory.types import Message, Role

Form: TypeAlias = Literal["auto", "openai", "langchain"]
Blocks: TypeAlias = Literal["name", "refuse"]

NO_OUTPUT = "(no output)"
"""Stands for the result of a tool that gave back nothing."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
}
_SESSION_NAMES = ("id", "session_id", "session", "conversation_id", "thread_id")
_TIMES = ("time", "timestamp", "created_at", "created")
_CALL_BLOCKS = ("tool_call", "tool_use", "function_call")
"""Blocks that repeat what the calls of a message say."""


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
            parts = [part for entry in given for part in _parts(entry, form, blocks)]
            messages = to_messages(parts)  # what cannot be stored is told by its line
        warnings = [f"{path}:{number}: {what}" for part in parts for what in part.warnings]
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


@dataclass(frozen=True, slots=True)
class _Fields:
    """One entry, of either form."""

    role: Role
    content: Any
    id: str
    name: str
    time: float
    calls: Sequence[Mapping[str, Any]] = ()
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """One message before it has its id; ``id`` and ``time`` if it brings them."""

    role: Role
    text: str
    payload: Mapping[str, Any]
    id: str = ""
    time: float = 0.0
    warnings: Sequence[str] = ()


def _parts(entry: Any, form: Form, blocks: Blocks) -> Iterator[Part]:
    """The messages of one entry: what was said, and each call of a tool."""
    if not isinstance(entry, dict):
        raise InvalidMessageError(f"{str(entry)[:40]!r} is no object")
    langchain = isinstance(entry.get("data"), dict) and "type" in entry
    if form != "auto" and langchain != (form == "langchain"):
        raise InvalidMessageError(f"it is not of the form {form}")
    fields = _of_langchain(entry) if langchain else _of_openai(entry)
    named = {"name": fields.name} if fields.name else {}
    text, told = _text(fields.content, fields.role, blocks)
    if fields.role == "tool":
        text = text if text.strip() else NO_OUTPUT
        named = {**named, "kind": "tool_result", **fields.result}
    if text.strip() or fields.role != "assistant":  # which may have said nothing
        yield Part(fields.role, text, named, fields.id, fields.time, told)
    for place, call in enumerate(fields.calls):
        said = {"name": call["name"], "arguments": call["arguments"]}
        id = fields.id and f"{fields.id}:call{place}"
        yield Part("tool", json.dumps(said, ensure_ascii=False), call, id, fields.time)


def _of_openai(entry: Mapping[str, Any]) -> _Fields:
    calls = []
    for call in entry.get("tool_calls") or ():
        said = call["custom"] if "custom" in call else call["function"]
        calls.append(_call(call.get("id"), said["name"], said.get("arguments", said.get("input"))))
    if entry.get("function_call"):  # as it was before there were tools
        said = entry["function_call"]
        calls.append(_call(None, said["name"], said.get("arguments")))
    result = {"tool_call_id": entry["tool_call_id"]} if "tool_call_id" in entry else {}
    return _Fields(
        _role(entry["role"]), entry.get("content"), *_known(entry), calls=calls, result=result
    )


def _of_langchain(entry: Mapping[str, Any]) -> _Fields:
    data = entry["data"]
    kind = str(entry["type"]).removesuffix("MessageChunk").lower()
    calls = [
        _call(call.get("id"), call["name"], call["args"])
        for call in [*(data.get("tool_calls") or ()), *(data.get("invalid_tool_calls") or ())]
    ]
    result = {}
    if kind == "tool":
        result = {"tool_call_id": data["tool_call_id"], "status": data.get("status", "success")}
    role = _role(data["role"] if kind == "chat" else kind)
    return _Fields(role, data["content"], *_known(data), calls=calls, result=result)


def _known(entry: Mapping[str, Any]) -> tuple[str, str, float]:
    """Id, name and time of an entry; empty and 0.0 where it has none."""
    times = (entry.get(key) for key in _TIMES)
    time = next((t for t in times if isinstance(t, (int, float))), 0.0)
    return str(entry.get("id") or ""), str(entry.get("name") or ""), float(time)


def _role(name: Any) -> Role:
    if name not in _ROLES:
        raise InvalidMessageError(f"unknown role {name!r}: one of {', '.join(_ROLES)}")
    return _ROLES[name]


def _call(id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """A call of a tool; arguments that are JSON are taken as what they say."""
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError):  # else they stay as the model wrote them
            arguments = json.loads(arguments)
    return {"kind": "tool_call", "id": id, "name": str(name), "arguments": arguments}


def _text(content: Any, role: Role, blocks: Blocks) -> tuple[str, list[str]]:
    """The text of a message's content, and what was left out of it, in words."""
    if content is None and role in ("assistant", "tool"):
        return "", []
    if not isinstance(content, list):
        content = [content]
    parts: list[str] = []
    told: list[str] = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        text = block.get("text", block.get("refusal")) if isinstance(block, dict) else block
        if isinstance(text, str):
            parts.append(text)
        elif kind is None:
            raise InvalidMessageError(
                f"its content {str(block)[:40]!r} is neither text nor a block"
            )
        elif role == "assistant" and kind in _CALL_BLOCKS:
            continue
        elif blocks == "refuse":
            raise InvalidMessageError(f"its content has a block of type {kind!r}, which is no text")
        else:
            parts.append(f"[{kind}]")
            told.append(f"a block of type {kind!r} is no text: kept as [{kind}]")
    return "".join(parts), told


def to_messages(parts: Iterable[Part]) -> list[Message]:
    """Messages with their own ids, or ids of what they say and where, so that they stay the same.

    What follows a question has its turn. Raises ``InvalidMessageError``.
    """
    messages: list[Message] = []
    turn = ""
    for part in parts:
        text, payload = check_text(part.text), check_payload(part.payload)
        content = json.dumps([len(messages), part.role, text, payload], sort_keys=True)
        digest = blake2b(content.encode("utf-8"), digest_size=16).hexdigest()
        id = part.id or f"import-{digest}"
        turn = id if part.role == "user" else turn
        messages.append(Message(part.role, text, id, turn, part.time, payload))
    return messages
