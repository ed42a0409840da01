"""Message <-> bytes: one JSON object an entry, with the version of its schema.

It knows nothing of where the bytes go. What cannot be written down as JSON is refused on the way
in; what cannot be understood is refused on the way out, naming the entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

from vist2_memory.errors import InvalidMessageError, SealedError, StoreFormatError
from vist2_memory.store.base import Scope
from vist2_memory.types import ROLES, Message, Role

RECORD_VERSION = 1
SEALED_VERSION = 2
MAX_ID_LENGTH = 1024

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "v": int,
    "id": str,
    "turn": str,
    "role": str,
    "text": str,
    "time": (int, float),
    "payload": dict,
    "cuts": list,
    "layout": str,
}


_reading_sealed: ContextVar[bool] = ContextVar("reading_sealed", default=False)


@dataclass(frozen=True, slots=True)
class SealedMessage(Message):
    """A message as a `vist2_memory.store.sealed.SealedStore` hands it to the store that it wraps.

    ``seal`` is what only a holder of the key can have made of it, in printable ASCII.
    """

    seal: str = ""


@contextmanager
def reading_sealed() -> Iterator[None]:
    """Within, sealed entries come out of the stores as they are; elsewhere they are refused."""
    token = _reading_sealed.set(True)
    try:
        yield
    finally:
        _reading_sealed.reset(token)


@dataclass(frozen=True, slots=True)
class Record:
    """A message ready to be stored.

    ``digest`` is over what makes two messages the same: role, turn, text and payload. When a
    message was written and where it was cut may differ between two tries to write it.
    """

    id: bytes
    digest: bytes
    data: bytes


def to_records(messages: Sequence[Message]) -> list[Record]:
    """Raises `InvalidMessageError` for a message that cannot be stored, or an id that is twice."""
    records = [_to_record(message) for message in messages]
    seen: set[bytes] = set()
    for record in records:
        if record.id in seen:
            raise InvalidMessageError(
                f"two messages of one append have the id {record.id.decode()!r}: "
                "an id is unique in its session"
            )
        seen.add(record.id)
    return records


def from_record(data: bytes, scope: Scope, position: int) -> Message:
    """The message; raises `StoreFormatError` naming entry ``position`` (from 1) of the scope.

    Raises `SealedError` for a sealed one, unless that is what is read (:func:`reading_sealed`).
    """
    where = f"entry {position} of {scope.key}"
    try:
        entry = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise StoreFormatError(f"{where} is not a message: {data[:40]!r}") from None
    if not isinstance(entry, dict) or "v" not in entry:
        raise StoreFormatError(f"{where} is not a message: it has no schema version")
    if entry["v"] not in (RECORD_VERSION, SEALED_VERSION):
        raise StoreFormatError(
            f"{where} has schema version {entry['v']!r}; this release reads {RECORD_VERSION} and "
            f"{SEALED_VERSION}. Use the release that wrote it, or a newer one."
        )
    sealed = entry["v"] == SEALED_VERSION
    seal = entry.pop("seal", None) if sealed else ""
    wrong = sorted(entry.keys() ^ _FIELDS.keys()) or _wrong_fields(entry)
    if not isinstance(seal, str):
        wrong = ["seal"]
    if not wrong and entry["role"] not in ROLES:
        wrong = ["role"]
    if wrong:
        raise StoreFormatError(f"{where} is not a message: wrong field {', '.join(wrong)}")
    if sealed and not _reading_sealed.get():
        raise SealedError(
            f"{where} is signed or encrypted: open the store with the key that it was written "
            "with (VIST2_STORE_KEY, or VIST2_ENCRYPTION_KEYS)"
        )
    fields: dict[str, Any] = {
        "role": cast(Role, entry["role"]),
        "text": entry["text"],
        "id": entry["id"],
        "turn": entry["turn"],
        "time": float(entry["time"]),
        "payload": entry["payload"],
        "cuts": tuple(entry["cuts"]),
        "layout": entry["layout"],
    }
    return SealedMessage(**fields, seal=seal) if sealed else Message(**fields)


def differs(scope: Scope, message_id: bytes) -> str:
    """An id that is in the log with other content, in words."""
    return (
        f"{scope.key} holds another message with the id {message_id.decode()!r}: "
        "an id is given once, and only a rewrite changes its message"
    )


def moved_on(scope: Scope, expected: int, count: int) -> str:
    """A log that is not as long as the caller thought, in words."""
    why = (
        "another writer was there since it was read"
        if count > expected
        else "it was deleted since it was read, or lost its newest messages"
    )
    return f"{scope.key} holds {count} messages, not {expected}: {why}; read it again and retry"


def rewritten(scope: Scope, expected: int, revision: int, found: int) -> str:
    """A log that is not as the caller has seen it, though it may be as long, in words."""
    if revision == found:
        why = f"message {expected} has another id than was seen"
    else:
        why = f"it is at revision {found}, not {revision}"
    return f"{scope.key} was rewritten or begun anew since it was read: {why}; read it again"


def kept_twice(scope: Scope, message_id: bytes) -> str:
    """A message to be written whose id stays in the log, in words."""
    return (
        f"{scope.key} has the id {message_id.decode()!r} among the messages that are kept: "
        "an id is unique in its session"
    )


def lost(scope: Scope, found: int, count: int) -> str:
    """A log that is shorter than what was acknowledged, in words."""
    return (
        f"{scope.key} holds {found} of {count} messages that were acknowledged: the others were "
        "evicted or deleted by something else. Restore a backup, or delete the scope to begin anew."
    )


def _to_record(message: Message) -> Record:
    if message.role not in ROLES:
        raise InvalidMessageError(f"role {message.role!r} is unknown: one of {', '.join(ROLES)}")
    if not isinstance(message.id, str) or not 1 <= len(message.id) <= MAX_ID_LENGTH:
        raise InvalidMessageError(
            f"message id {ascii(message.id)[:60]} is not allowed: a string of 1 to "
            f"{MAX_ID_LENGTH} characters, which makes writing idempotent"
        )
    entry: dict[str, Any] = {
        "v": RECORD_VERSION,
        "id": message.id,
        "turn": message.turn,
        "role": message.role,
        "text": message.text,
        "time": message.time,
        "payload": dict(message.payload),
        "cuts": list(message.cuts),
        "layout": message.layout,
    }
    wrong = _wrong_fields(entry)
    if isinstance(message, SealedMessage):
        entry |= {"v": SEALED_VERSION, "seal": message.seal}
    if wrong:
        raise InvalidMessageError(
            f"message {message.id[:40]!a} cannot be stored: wrong type of {', '.join(wrong)}"
        )
    try:
        data = _dumped(entry)
        compared = [name for name in ("role", "turn", "text", "seal") if name in entry]
        content: dict[str, Any] = {name: entry[name] for name in compared}
        # Through JSON once: keys are strings then, so that they can be sorted.
        content["payload"] = json.loads(_dumped(entry["payload"]))
        digest = blake2b(_dumped(content, sort_keys=True), digest_size=16).hexdigest()
        return Record(message.id.encode("utf-8"), digest.encode("ascii"), data)
    except UnicodeEncodeError as error:
        raise InvalidMessageError(
            f"message {message.id[:40]!a} is not valid Unicode text: "
            f"it has a lone surrogate ({error.object[error.start]!a})"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessageError(
            f"message {message.id[:40]!r} cannot be stored as JSON: {error}"
        ) from None


def _wrong_fields(entry: Mapping[str, Any]) -> list[str]:
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(entry[name], kind)]
    if "cuts" not in wrong and not all(type(cut) is int for cut in entry["cuts"]):
        wrong.append("cuts")
    return wrong


def _dumped(value: Mapping[str, Any], sort_keys: bool = False) -> bytes:
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys
    )
    return text.encode("utf-8")
