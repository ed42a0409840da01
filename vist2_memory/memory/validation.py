"""What may be said: the checks that every message passes before anything is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from vist2_memory.errors import InvalidMessageError
from vist2_memory.types import CHAT_ROLES, Message, Role

MAX_CHARACTERS = 1_000_000
"""Characters that one message or document may have."""


def check_role(role: str) -> Role:
    """``role`` if it is one of a chat's; raises ``InvalidMessageError`` otherwise."""
    if role not in CHAT_ROLES:
        raise InvalidMessageError(
            f"unknown role {role!r}: it must be one of {', '.join(CHAT_ROLES)}"
        )
    return cast(Role, role)


def check_payload(payload: Mapping[str, Any]) -> dict[str, Any]:
    """``payload`` if JSON can hold it; raises ``InvalidMessageError`` otherwise."""
    try:
        json.dumps(dict(payload), allow_nan=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InvalidMessageError(f"metadata must be what JSON can hold: {error}") from error
    return dict(payload)


def check_text(text: object, what: str = "message") -> str:
    """``text`` if it can be kept verbatim; raises ``InvalidMessageError`` otherwise."""
    if not isinstance(text, str):
        raise InvalidMessageError(f"a {what} must be a str, not {type(text).__name__}")
    if not text.strip():
        raise InvalidMessageError(f"an empty {what} {text[:20]!r} cannot be stored: leave it out")
    if len(text) > MAX_CHARACTERS:
        raise InvalidMessageError(
            f"a {what} of {len(text):,} characters is longer than {MAX_CHARACTERS:,}: split it, or "
            "add it to a collection in parts"
        )
    if "\0" in text:
        raise InvalidMessageError(
            f"the {what} has a NUL character at {text.index(chr(0))}: it is no text; remove it"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidMessageError(
            f"the {what} has a lone surrogate {text[error.start]!r} at {error.start}: decode the "
            "text properly before storing it"
        ) from error
    return text


def check_said(message: Message) -> Message:
    """``message`` if it can be kept; one that asks for tools need not say anything.

    Raises ``InvalidMessageError`` otherwise, also where ``payload["calls"]`` is of another form.
    """
    try:
        calls = message.calls
        for call in calls:
            check_text(call.id, "tool call's id")
            check_text(call.text, "tool call")
    except (TypeError, KeyError) as error:
        raise InvalidMessageError(
            f"payload['calls'] is {message.payload['calls']!r:.80}: it must be a list of objects "
            "with id and text"
        ) from error
    if message.text or not calls:
        check_text(message.text)
    return message
