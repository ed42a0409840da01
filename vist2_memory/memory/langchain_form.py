"""LangChain's messages in their JSON form, as role, text and payload of a session, and back.

The JSON form is what LangChain's ``message_to_dict`` gives: a type and its fields. Role and text
are what a model reads; the payload has what they do not say, and nothing where they say it all:

================  =================================================================================
``calls``         the tool calls of an assistant, as any session has them (``Message.calls``); those
                  that could not be parsed too, as they were written
``tool_call_id``  whose result it is
``name``          who speaks
``langchain``     every other field that is not as LangChain sets it by itself; ``type`` if the role
                  does not tell it, ``content`` if it is not the text
================  =================================================================================

The text counts: where it was edited later it is the content, and what was there is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from vist2_memory.errors import InvalidMessageError
from vist2_memory.memory.content import ROLES, Part, read_content, standing_in
from vist2_memory.memory.validation import check_text
from vist2_memory.types import Message, Role, ToolCall, calls_payload

_KINDS: dict[Role, str] = {"system": "system", "user": "human", "assistant": "ai", "tool": "tool"}
"""The type of a message whose payload names none."""
_BASES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
    "chat": "user",
    "remove": "assistant",
}
_COMMON: dict[str, Any] = {
    "additional_kwargs": {},
    "response_metadata": {},
    "name": None,
    "id": None,
}
_UNSET: dict[str, dict[str, Any]] = {
    "ai": _COMMON | {"tool_calls": [], "invalid_tool_calls": [], "usage_metadata": None},
    "tool": _COMMON | {"artifact": None, "status": "success"},
}
_UNSET_CHUNK: dict[str, Any] = {"tool_call_chunks": [], "chunk_position": None}


def part_of(kind: str, data: Mapping[str, Any]) -> Part:
    """The message of type ``kind`` that has the fields ``data``.

    Raises ``InvalidMessageError`` for a type or content that is not known, ``KeyError`` for a field
    that is missing.
    """
    base = _base(kind)
    role, unread = _role(base, data)
    content = data["content"]
    text, blocks = read_content(content, role)
    unread += [f"a content block of type {block!r}" for block in blocks]
    calls = _calls(data) if base == "ai" else ()
    text = standing_in(text, role, calls)

    unset = _UNSET.get(base, _COMMON) | (_UNSET_CHUNK if kind == "AIMessageChunk" else {})
    fields = {
        name: value
        for name, value in data.items()
        if name not in ("type", "content") and not (name in unset and _same(value, unset[name]))
    }
    payload: dict[str, Any] = calls_payload(calls)
    for name in ("tool_call_id", "name") if base == "tool" else ("name",):
        if isinstance(fields.get(name), str):
            payload[name] = fields.pop(name)
    if base == "ai":
        for name, read in zip(("tool_calls", "invalid_tool_calls"), read_calls(calls), strict=True):
            fields[name] = data.get(name) or []
            if _same(fields[name], read):
                del fields[name]
    if content != text or not isinstance(content, str):
        fields["content"] = content
    if kind != _KINDS[role]:
        fields["type"] = kind
    return Part(role, text, payload | ({"langchain": fields} if fields else {}), unread=unread)


def fields_of(message: Message) -> tuple[str, dict[str, Any]]:
    """The type of the message and its fields, those that are not as LangChain sets them by itself.

    Raises ``InvalidMessageError`` for a message of a document, and for a payload of another form.
    """
    payload, role = message.payload, message.role
    fields = payload.get("langchain", {})
    if role not in _KINDS or not isinstance(fields, Mapping):
        raise InvalidMessageError(
            f"message {message.id!r} of role {role!r} is none of LangChain's: payload['langchain'] "
            f"is {str(fields)[:40]!r}"
        )
    kind = str(fields.get("type", _KINDS[role]))
    base = _base(kind)
    data: dict[str, Any] = {"content": message.text, **fields}
    data.pop("type", None)
    if "content" in fields:
        text, _ = read_content(fields["content"], role)
        if standing_in(text, role, message.calls) != message.text:  # edited since
            data["content"] = message.text
    if base == "tool":
        data["tool_call_id"] = payload.get("tool_call_id", fields.get("tool_call_id", ""))
    if "name" in payload:
        data["name"] = payload["name"]
    if base == "ai":
        calls, broken = read_calls(message.calls)
        data = {"tool_calls": calls, "invalid_tool_calls": broken} | data
    return kind, data


def read_calls(calls: Iterable[ToolCall]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """``calls`` as LangChain's tool calls, and those that do not parse as its invalid ones."""
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for call in calls:
        arguments = call.arguments
        if arguments is None:
            broken = {"name": None, "args": call.text, "id": call.id, "error": None}
            bad.append({**broken, "type": "invalid_tool_call"})
        else:
            known = {"name": call.name, "args": arguments, "id": call.id}
            good.append({**known, "type": "tool_call"})
    return good, bad


def current(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that an older LangChain may have written, as the current one reads them."""
    fields = dict(data)
    if isinstance(fields.get("id"), (int, float)):
        fields["id"] = str(fields["id"])
    if _base(kind) != "ai":
        return fields
    names = ("tool_calls", "invalid_tool_calls")
    raw = (fields.get("additional_kwargs") or {}).get("tool_calls")
    if raw and not any(fields.get(name) for name in names):
        fields |= dict(zip(names, read_raw_calls(raw), strict=True))
    for name in names:
        type = name.removesuffix("s")
        fields[name] = [{**call, "type": type} for call in fields.get(name) or ()]
    return fields


def read_raw_calls(raw: Sequence[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Tool calls in OpenAI's form, as LangChain reads them: valid and invalid ones."""
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for call in raw:
        if "function" not in call:
            continue
        name, written = call["function"]["name"], call["function"]["arguments"]
        known = {"name": name, "args": written, "id": call.get("id")}
        try:
            arguments = json.loads(written) or {}
        except ValueError:
            bad.append({**known, "error": None, "type": "invalid_tool_call"})
        else:
            good.append({**known, "name": name or "", "args": arguments, "type": "tool_call"})
    return good, bad


def written_call(id: Any, name: Any, arguments: Any, place: int) -> ToolCall:
    """A call as an engine writes it; ``arguments`` that are a text stand as they are.

    A call without an id that a log can hold is called by its ``place``. Raises
    ``InvalidMessageError``.
    """
    known = id if _is_text(id) else f"call_{place}"
    if isinstance(arguments, Mapping):
        try:
            return ToolCall.of(known, name, arguments)
        except (TypeError, ValueError):
            said = {"name": name, "arguments": dict(arguments)}
            try:
                return ToolCall(known, json.dumps(said, ensure_ascii=False, default=str))
            except (TypeError, ValueError, RecursionError) as error:
                raise InvalidMessageError(
                    f"the arguments of the tool call {known!r} cannot be written down: {error}"
                ) from error
    text = arguments if isinstance(arguments, str) and arguments.strip() else "null"
    if name is None and text != "null":
        return ToolCall(known, text)
    return ToolCall(
        known, f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {text}}}'
    )


def _calls(data: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    given = [*(data.get("tool_calls") or ()), *(data.get("invalid_tool_calls") or ())]
    return tuple(
        written_call(call.get("id"), call.get("name"), call.get("args"), place)
        for place, call in enumerate(given)
    )


def _base(kind: str) -> str:
    """``ai`` for ``AIMessageChunk``, and so on; raises ``InvalidMessageError``."""
    base = kind.removesuffix("MessageChunk")
    base = base if base == kind else base.lower()
    if base not in _BASES:
        raise InvalidMessageError(f"unknown type {kind!r}: one of {', '.join(_BASES)}")
    return base


def _role(base: str, data: Mapping[str, Any]) -> tuple[Role, list[str]]:
    """The role of a message, and what of it no model can be told."""
    name = data["role"] if base == "chat" else ""
    if isinstance(name, str) and name in ROLES:
        return ROLES[name], []
    told = {"chat": [f"a speaker of the role {name!r}"], "remove": ["an order to remove another"]}
    return _BASES[base], told.get(base, [])


def _is_text(id: Any) -> TypeGuard[str]:
    try:
        check_text(id)
    except InvalidMessageError:
        return False
    return True


def _same(value: Any, other: Any) -> bool:
    """Whether two values are equal; of those that do not like to be asked, none is."""
    try:
        return type(value) is type(other) and bool(value == other)
    except (TypeError, ValueError):
        return False
