"""LangChain's messages as what a session stores, one for one, and back as they were.

=====================  ===========  ================================================================
message                role         text
=====================  ===========  ================================================================
``SystemMessage``      system       its text
``HumanMessage``       user         its text
``AIMessage``          assistant    its text; its tool calls, valid or not, are ``payload["calls"]``
``ToolMessage``        tool         its text, or ``(no output)``
``FunctionMessage``    tool         its text, or ``(no output)``
``ChatMessage``        by its role  its text
=====================  ===========  ================================================================

Chunks of messages are stored as the messages are. One that says nothing has the text ``(empty)``,
unless it has tool calls. Text blocks are joined without a separator, as LangChain's own
``message.text`` does; reasoning is not part of the text. Whatever role and text do not say is in
the payload (``vist2_memory.memory.langchain_form``), so that :func:`from_message` gives back an
equal message of the same class.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal, TypeAlias, get_args

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

from langchain_vist2.packing import is_plain, pack, unpack
from vist2_memory.errors import InvalidMessageError
from vist2_memory.memory import VisualMemory
from vist2_memory.memory.content import EMPTY, NO_OUTPUT, Part
from vist2_memory.memory.entries import Entry
from vist2_memory.memory.langchain_form import fields_of, part_of
from vist2_memory.memory.validation import check_said
from vist2_memory.types import Message

__all__ = ["EMPTY", "NO_OUTPUT", "Entry", "from_message", "to_entries", "to_entry"]

Media: TypeAlias = Literal["error", "placeholder", "keep"]

_CLASSES: dict[str, type[BaseMessage]] = {
    kind.model_fields["type"].default: kind
    for kind in (
        AIMessage,
        AIMessageChunk,
        ChatMessage,
        ChatMessageChunk,
        FunctionMessage,
        FunctionMessageChunk,
        HumanMessage,
        HumanMessageChunk,
        RemoveMessage,
        SystemMessage,
        SystemMessageChunk,
        ToolMessage,
        ToolMessageChunk,
    )
}
_PACKED = "packed"


def to_entry(message: BaseMessage, media: Media = "error") -> Entry:
    """``message`` as an entry.

    ``media``: what becomes of content that is no text, as images and files, which no model of ours
    sees. ``"error"`` raises; ``"placeholder"`` names it in the text, warns (``UserWarning``) and
    keeps it in the payload; ``"keep"`` does so without a warning, and takes messages that no model
    can be told (``RemoveMessage``, a ``ChatMessage`` of any role) too. Raises
    ``InvalidMessageError`` for a message that cannot be stored, or would not come back as it was.
    """
    if media not in get_args(Media):
        raise ValueError(f"media={media!r} is not allowed: one of {', '.join(get_args(Media))}")
    kind = type(message)
    if _CLASSES.get(message.type) is not kind:
        raise InvalidMessageError(
            f"a {kind.__name__} cannot be stored, since it would not come back as one: make it one "
            f"of {', '.join(known.__name__ for known in _CLASSES.values())}"
        )
    fields = {name: of for name, of in vars(message).items() if name in kind.model_fields}
    try:
        part = part_of(message.type, {**fields, **(message.model_extra or {})})
        payload = _packed(part.payload)
        check_said(Message(part.role, part.text, payload=payload))
    except InvalidMessageError as error:
        raise InvalidMessageError(f"a {kind.__name__} cannot be stored: {error}") from error
    except RecursionError as error:
        raise InvalidMessageError(
            f"a {kind.__name__} cannot be stored: what it holds is nested too deep"
        ) from error
    if part.unread and media != "keep":
        _tell(message, part.unread, media)
    return Entry(part.role, part.text, payload)


def to_entries(messages: Iterable[BaseMessage], media: Media = "error") -> list[Entry]:
    """``messages`` as entries, in order and one for one. See :func:`to_entry`."""
    return [to_entry(message, media) for message in messages]


def from_message(stored: Message) -> BaseMessage:
    """The LangChain message that was stored as ``stored``, equal to what it was.

    One that was edited since has the new text as its content. One that did not come from LangChain
    is a human, AI, system or tool message. Raises ``InvalidMessageError`` for a document, and for a
    payload that cannot be read.
    """
    kind, fields = fields_of(_unpacked(stored))
    known = _CLASSES.get(kind)
    if known is None or not isinstance(fields["content"], (str, list)):
        raise InvalidMessageError(
            f"message {stored.id!r} cannot be read: it is of LangChain's type {kind!r}, with "
            f"content of type {type(fields['content']).__name__}"
        )
    # As it was, without validators, which do not leave every valid message as it is.
    return known.model_construct(**fields)


def import_messages(
    memory: VisualMemory, session: str, messages: Iterable[BaseMessage], media: Media = "error"
) -> int:
    """Take a conversation of LangChain into ``session``; how many messages were new.

    Done again, with the same messages or with more after them, it stores nothing twice. ``media``:
    as in :func:`to_entry`. Raises ``InvalidMessageError`` for what cannot be stored and
    ``ConflictError`` for a session that holds another conversation; nothing is stored then.
    """
    given = list(messages)
    entries = to_entries(given, media)
    parts = (
        Part(entry.role, entry.text, entry.payload, message.id or "")
        for entry, message in zip(entries, given, strict=True)
    )
    return memory.import_messages(session, parts)


def _tell(message: BaseMessage, unread: Sequence[str], media: Media) -> None:
    """Raise or warn of what of ``message`` a model is not told."""
    blocks = [what for what in unread if what.startswith("a content block")]
    if media == "placeholder" and len(blocks) == len(unread):
        warnings.warn(
            f"a {message.type} message has {', '.join(blocks)}: the model reads text only, and is "
            "told its name",
            UserWarning,
            stacklevel=4,
        )
        return
    advice = "describe it in words or leave it out"
    if blocks:
        advice += ", or choose that it is named to the model (media='placeholder')"
    raise InvalidMessageError(
        f"a {message.type} message cannot be stored: it has {unread[0]}, and the model reads text "
        f"only; {advice}"
    )


def _packed(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``payload``; fields that JSON cannot hold are packed, and named."""
    fields = payload.get("langchain", {})
    names = sorted(name for name, value in fields.items() if not is_plain(value))
    if not fields:
        return dict(payload)
    kept = {name: pack(value) if name in names else value for name, value in fields.items()}
    copied = {**payload, "langchain": deepcopy(kept)}
    return {**copied, _PACKED: names} if names else copied


def _unpacked(stored: Message) -> Message:
    """``stored`` with a payload of its own, in which nothing is packed."""
    payload = dict(stored.payload)
    names, fields = payload.pop(_PACKED, ()), payload.get("langchain")
    if isinstance(fields, Mapping):
        payload["langchain"] = {
            name: unpack(value) if name in names else deepcopy(value)
            for name, value in fields.items()
        }
    return Message(stored.role, stored.text, stored.id, payload=payload)
