"""A store around another one: what goes in is sealed, what comes out was checked.

Each message is sealed for its scope and its position in the log, each tensor for its scope,
fingerprint and chunk. A `vist2_memory.store.seals.Signature` leaves them readable; an `Encryption`
hides text, payloads, tensors, and the names that are digests of text: those of chunks and the ids
of documents. Role, turn, time, cuts and the ids of other messages stay readable, and cannot be
changed.

A message that does not hold is an error, a tensor that does not is a miss that says why. Nothing
stops who can write to the store from cutting off its end or putting back what was there before:
no key knows what is newest.
"""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from vist2_memory.errors import (
    ConflictError,
    InvalidInputError,
    InvalidMessageError,
    SealedError,
    TamperedError,
)
from vist2_memory.store.base import (
    Deleted,
    HiddenName,
    Kind,
    Quota,
    Refused,
    Scope,
    ScopeInfo,
    Snapshot,
    Store,
    StoreUsage,
)
from vist2_memory.store.records import (
    SealedMessage,
    differs,
    from_record,
    kept_twice,
    moved_on,
    reading_sealed,
    rewritten,
    to_records,
)
from vist2_memory.store.seals import Seal, Signature, parse_keys
from vist2_memory.types import Message

KEY_VARIABLE = "VIST2_STORE_KEY"
ENCRYPTION_VARIABLE = "VIST2_ENCRYPTION_KEYS"

_OUTBOX = b"outbox"
"""The place that answers are sealed for which wait on this machine."""

_ATTEMPTS = 60
"""How often an append is tried again after another writer came first."""


def find_seal(
    key: str | Sequence[str] | None = None, encryption_keys: str | Sequence[str] | None = None
) -> Seal | None:
    """The seal of the keys given here or in the environment; None where there are none.

    ``key`` (``VIST2_STORE_KEY``) signs, ``encryption_keys`` (``VIST2_ENCRYPTION_KEYS``) encrypt
    and sign; base64 of 32 bytes each, of several the newest first. Raises `InvalidInputError` for
    keys that are none, for both kinds at once, and where the cryptography package is missing.
    """
    signing = key or os.environ.get(KEY_VARIABLE)
    hiding = encryption_keys or os.environ.get(ENCRYPTION_VARIABLE)
    if signing and hiding:
        raise InvalidInputError(
            f"a key to sign with ({KEY_VARIABLE}) and keys to encrypt with ({ENCRYPTION_VARIABLE}) "
            "are both given: encryption signs too, so give its keys alone"
        )
    if signing:
        return Signature(parse_keys(signing, KEY_VARIABLE))
    if hiding:
        from vist2_memory.store.encryption import Encryption  # an extra

        return Encryption(parse_keys(hiding, ENCRYPTION_VARIABLE))
    return None


class SealedStore(Store):
    """``inner`` keeps what ``seal`` made, and is closed with it."""

    def __init__(self, inner: Store, seal: Seal) -> None:
        super().__init__(ttl=inner.ttl)
        self._inner, self._seal = inner, seal

    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        """See `Store.append`. What is appended to must hold too, so that keys are never mixed."""
        if not messages:
            return self._inner.append(scope, [], expected=expected, revision=revision)
        fresh = _normalised(scope, messages)
        known = self._renamed(fresh)
        count = self._inner.count(scope) if expected is None else expected
        at = revision
        for attempt in range(_ATTEMPTS):
            if known or not self._holds_at(scope, count):
                log = self.snapshot(scope)
                fresh = _unknown(scope, fresh, log.messages)
                if not fresh:
                    return len(log.messages)
                _check_as_seen(scope, log, expected, revision)
                count, at = len(log.messages), log.revision
            sealed = self._sealed(scope, count, fresh)
            try:
                return self._inner.append(scope, sealed, expected=count, revision=at)
            except ConflictError:
                known = True  # an id is there, or another writer was: the log tells
                time.sleep(random.uniform(0, 0.001 * attempt))
        raise ConflictError(f"{scope.key}: other writers came first {_ATTEMPTS} times; try again")

    def rewrite(
        self,
        scope: Scope,
        keep: int,
        messages: Sequence[Message],
        *,
        expected: int,
        last: str,
        revision: int,
        token: str = "",
    ) -> int:
        fresh = _normalised(scope, messages)
        with reading_sealed():
            newest = self._inner.snapshot(scope, max(0, expected - 1)).messages
        opened = self._opened(scope, expected, newest[0]) if len(newest) == 1 else None
        if opened is not None and opened.id == last:
            last = newest[0].id
        if self._renamed(fresh):
            kept = {message.id for message in self.read(scope)[:keep]}
            for message in fresh:
                if message.id in kept:
                    raise InvalidMessageError(kept_twice(scope, message.id.encode()))
        sealed = self._sealed(scope, keep, fresh)
        with reading_sealed():
            return self._inner.rewrite(
                scope, keep, sealed, expected=expected, last=last, revision=revision, token=token
            )

    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        with reading_sealed():
            log = self._inner.snapshot(scope, after)
        opened = [self._opened(scope, after + n, m) for n, m in enumerate(log.messages, 1)]
        return Snapshot(opened, log.revision)

    def count(self, scope: Scope) -> int:
        return self._inner.count(scope)

    def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        return self._inner.scopes(namespace, kind)

    def usage(self, namespace: str) -> StoreUsage:
        return self._inner.usage(namespace)

    def limit(self, namespace: str, quota: Quota | None) -> None:
        """See `Store.limit`. Counted are bytes with their seals, as the inner store has them."""
        self._inner.limit(namespace, quota)

    def quota(self, namespace: str) -> Quota | None:
        return self._inner.quota(namespace)

    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        return self._inner.delete(scope, expected=expected, revision=revision)

    def close(self) -> None:
        self._inner.close()

    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        names = [self._seal.names(scope, chunk) for chunk in chunk_ids]
        found: list[bytes | None] = [None] * len(names)
        for older in range(max(map(len, names), default=1)):
            missing = [n for n, data in enumerate(found) if data is None]
            if missing or not older:
                wanted = [names[n][older] for n in missing]
                stored = self._inner.get_many(scope, fingerprint, wanted)
                for n, data in zip(missing, stored, strict=True):
                    found[n] = data
        return [
            None if data is None else self._checked(scope, fingerprint, chunk, data)
            for chunk, data in zip(chunk_ids, found, strict=True)
        ]

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        sealed = {
            self._seal.names(scope, chunk)[0]: self._seal.close(
                scope, _tensor_place(fingerprint, chunk), data
            )
            for chunk, data in items.items()
        }
        self._inner.put_many(scope, fingerprint, sealed)

    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        return self._inner.drop_many(scope, fingerprint, self._names(scope, chunk_ids))

    def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        """The chunk ids, or, where they are hidden, a `HiddenName` for each tensor."""
        found = self._inner.tensor_ids(scope)
        if not self._seal.hides:
            return found
        return {fingerprint: [HiddenName(n) for n in names] for fingerprint, names in found.items()}

    def listed_as(self, scope: Scope, chunk_id: str) -> tuple[str, ...]:
        """How it is listed that was stored under the newest key, then those under older ones."""
        if isinstance(chunk_id, HiddenName):
            return (chunk_id,)
        return tuple(self._seal.names(scope, chunk_id))

    def touch(self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()) -> None:
        self._inner.touch(scope, fingerprint, self._names(scope, chunk_ids))

    def eviction(self) -> str | None:
        return self._inner.eviction()

    def describe(self) -> str:
        return self._inner.describe()

    def around(self, other: Store) -> SealedStore:
        """Another store under the same keys."""
        return SealedStore(other, self._seal)

    @property
    def bare(self) -> Store:
        """The store that keeps what is sealed here."""
        return self._inner.bare if isinstance(self._inner, SealedStore) else self._inner

    @property
    def identity(self) -> str:
        return self._inner.identity

    def seal(self, scope: Scope, data: bytes) -> bytes:
        return self._seal.close(scope, _OUTBOX, data)

    def unseal(self, scope: Scope, data: bytes) -> bytes:
        return self._seal.open(scope, _OUTBOX, data)

    def reseal(self, scope: Scope) -> int:
        """Seal the log anew under the newest key, in one step; how many were under an older one.

        Raises `ConflictError` when another writer was there meanwhile; nothing is changed then.
        """
        with reading_sealed():
            log = self._inner.snapshot(scope)
        opened = [self._opened(scope, n, message) for n, message in enumerate(log.messages, 1)]
        older = sum(not self._seal.is_newest(_seal_of(message)) for message in log.messages)
        if older:
            seen: Any = {"last": log.messages[-1].id, "revision": log.revision}
            sealed = self._sealed(scope, 0, opened)
            token = uuid.uuid4().hex
            with reading_sealed():
                self._inner.rewrite(scope, 0, sealed, expected=len(sealed), token=token, **seen)
        return older

    def reseal_tensors(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> None:
        """Seal these under the newest key, and drop what is left of them under older ones."""
        known = dict(zip(chunk_ids, self.get_many(scope, fingerprint, chunk_ids), strict=True))
        good = {c: d for c, d in known.items() if d is not None and not isinstance(d, Refused)}
        self.put_many(scope, fingerprint, good)
        older = [name for chunk in chunk_ids for name in self._seal.names(scope, chunk)[1:]]
        self._inner.drop_many(scope, fingerprint, older)

    # ------------------------------------------------------------------------------ inside

    def _names(self, scope: Scope, chunk_ids: Sequence[str]) -> list[str]:
        """All names that tensors of these chunks may have in the inner store."""
        return [str(name) for chunk in chunk_ids for name in self.listed_as(scope, chunk)]

    def _renamed(self, messages: Sequence[Message]) -> bool:
        """Whether a message may be in the log under the name that an older key gave it."""
        return any(
            message.role == "document" and len(self._seal.names(_ANY, message.id)) > 1
            for message in messages
        )

    def _holds_at(self, scope: Scope, count: int) -> bool:
        """Whether the log ends at ``count``; raises if its last message was not sealed by us."""
        if not count:
            return True
        with reading_sealed():
            newest = self._inner.snapshot(scope, count - 1).messages
        if len(newest) != 1:
            return False
        self._opened(scope, count, newest[0])
        return True

    def _sealed(self, scope: Scope, count: int, messages: Sequence[Message]) -> list[SealedMessage]:
        """``messages`` for the positions after ``count``."""
        sealed = []
        for position, message in enumerate(messages, count + 1):
            kept = {field.name: getattr(message, field.name) for field in fields(Message)}
            content = b""
            if self._seal.hides:
                content = _written([message.id, message.text, dict(message.payload)])
                if message.role == "document":  # its id is a digest of its text
                    kept["id"] = self._seal.names(scope, message.id)[0]
                kept |= {"text": "", "payload": {}}
            outer = SealedMessage(**kept)
            seal = self._seal.close(scope, _message_place(position, outer), content)
            sealed.append(replace(outer, seal=b64encode(seal).decode("ascii")))
        return sealed

    def _opened(self, scope: Scope, position: int, message: Message) -> Message:
        try:
            content = self._seal.open(scope, _message_place(position, message), _seal_of(message))
        except (TamperedError, SealedError) as error:
            raise type(error)(f"entry {position} of {scope.key} is refused: {error}") from None
        kept = {field.name: getattr(message, field.name) for field in fields(Message)}
        if self._seal.hides:
            kept["id"], kept["text"], kept["payload"] = json.loads(content)
        return Message(**kept)

    def _checked(self, scope: Scope, fingerprint: str, chunk: str, data: bytes) -> bytes:
        if isinstance(data, Refused):
            return data
        try:
            return self._seal.open(scope, _tensor_place(fingerprint, chunk), data)
        except (TamperedError, SealedError) as error:
            return Refused(f"the tensor of chunk {chunk} in {scope.key} is refused: {error}")


_ANY = Scope("any", "session", "any")


def _normalised(scope: Scope, messages: Sequence[Message]) -> list[Message]:
    """``messages`` as a store gives them back; raises `InvalidMessageError`."""
    records = to_records(messages)
    return [from_record(record.data, scope, n) for n, record in enumerate(records, 1)]


def _unknown(scope: Scope, messages: list[Message], log: Sequence[Message]) -> list[Message]:
    """Those whose id is not in ``log``; raises `ConflictError` if one is there with other words."""
    there = {message.id: message for message in log}
    for message in messages:
        known = there.get(message.id)
        if known is not None and to_records([known])[0].digest != to_records([message])[0].digest:
            raise ConflictError(differs(scope, message.id.encode()))
    return [message for message in messages if message.id not in there]


def _check_as_seen(scope: Scope, log: Snapshot, expected: int | None, revision: int | None) -> None:
    count = len(log.messages)
    if expected is not None and expected != count:
        raise ConflictError(moved_on(scope, expected, count))
    if revision is not None and revision != log.revision:
        raise ConflictError(rewritten(scope, count, revision, log.revision))


def _seal_of(message: Message) -> bytes:
    """Raises no error: what is no seal at all is refused like one that does not hold."""
    try:
        return b64decode(message.seal, validate=True) if isinstance(message, SealedMessage) else b""
    except ValueError:
        return b""


def _message_place(position: int, message: Message) -> bytes:
    """All that is readable of a message and where it lies, in one way of writing it."""
    readable = {field.name: getattr(message, field.name) for field in fields(Message)}
    return _written(["message", position, readable])


def _tensor_place(fingerprint: str, chunk: str) -> bytes:
    return _written(["tensor", fingerprint, chunk])


def _written(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
