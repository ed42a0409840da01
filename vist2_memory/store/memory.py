"""The store in a dictionary: the reference for the others, and what tests and trials use.

It keeps the very bytes that the others keep, so what does not survive there does not survive here.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vist2_memory.errors import ConflictError, InvalidMessageError, StoreUnavailableError
from vist2_memory.store.asynchronous import Adapted, AsyncStore
from vist2_memory.store.base import (
    Deleted,
    Kind,
    Scope,
    ScopeInfo,
    Snapshot,
    Store,
    StoreUsage,
    validated_after,
    validated_name,
    validated_rewrite,
)
from vist2_memory.store.quotas import Size, check_namespace, check_scope, size_of
from vist2_memory.store.records import (
    Record,
    differs,
    from_record,
    kept_twice,
    moved_on,
    rewritten,
    to_records,
)
from vist2_memory.types import Message


@dataclass
class _Shelf:
    """All of one scope."""

    created: float
    updated: float
    expires: float | None = None
    revision: int = 0
    token: str = ""
    log: list[Record] = field(default_factory=list)
    digests: dict[bytes, bytes] = field(default_factory=dict)
    tensors: dict[tuple[str, str], bytes] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        return size_of(self.log)


class InMemoryStore(Store):
    """Safe with several threads. What it holds ends with the process."""

    def __init__(self, *, ttl: int | None = None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(ttl=ttl)
        self._clock = clock
        self._shelves: dict[Scope, _Shelf] = {}
        self._lock = threading.RLock()
        self._closed = False
        self._identity = f"memory://#{uuid.uuid4().hex}"

    def asynchronous(self) -> AsyncStore:
        return Adapted(self)

    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        records = to_records(messages)
        with self._lock:
            shelf = self._find(scope)
            digests = shelf.digests if shelf else {}
            count = len(digests)
            for record in records:
                if digests.get(record.id, record.digest) != record.digest:
                    raise ConflictError(differs(scope, record.id))
            fresh = [record for record in records if record.id not in digests]
            found = shelf.revision if shelf else 0
            if fresh or not records:
                if expected is not None and expected != count:
                    raise ConflictError(moved_on(scope, expected, count))
                if revision is not None and revision != found:
                    raise ConflictError(rewritten(scope, count, revision, found))
            if fresh:
                self._check_room(scope, shelf, size_of(fresh))
                self._write(shelf or self._new(scope), fresh)
            return count + len(fresh)

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
        validated_rewrite(keep, expected, revision)
        records = to_records(messages)
        with self._lock:
            shelf = self._find(scope)
            if shelf is None:
                raise ConflictError(moved_on(scope, expected, 0))
            if token and shelf.token == token:
                return len(shelf.log)
            if len(shelf.log) != expected:
                raise ConflictError(moved_on(scope, expected, len(shelf.log)))
            if shelf.revision != revision or shelf.log[-1].id.decode() != last:
                raise ConflictError(rewritten(scope, expected, revision, shelf.revision))
            kept = {record.id for record in shelf.log[:keep]}
            for record in records:
                if record.id in kept:
                    raise InvalidMessageError(kept_twice(scope, record.id))
            self._check_room(scope, shelf, size_of(records) - size_of(shelf.log[keep:]))
            for record in shelf.log[keep:]:
                del shelf.digests[record.id]
            del shelf.log[keep:]
            self._write(shelf, records)
            shelf.revision, shelf.token = revision + 1, token
            return len(shelf.log)

    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        validated_after(after)
        with self._lock:
            shelf = self._find(scope)
            records = shelf.log[after:] if shelf else []
            revision = shelf.revision if shelf else 0
        messages = [from_record(r.data, scope, n) for n, r in enumerate(records, start=after + 1)]
        return Snapshot(messages, revision)

    def count(self, scope: Scope) -> int:
        with self._lock:
            shelf = self._find(scope)
            return len(shelf.log) if shelf else 0

    def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        validated_name("namespace", namespace)
        with self._lock:
            self._check_open()
            for scope in list(self._shelves):
                self._drop_if_expired(scope)
            return sorted(
                (
                    ScopeInfo(scope, len(shelf.log), shelf.created, shelf.updated)
                    for scope, shelf in self._shelves.items()
                    if (scope.namespace, scope.kind) == (namespace, kind) and shelf.log
                ),
                key=lambda info: info.scope.name,
            )

    def usage(self, namespace: str) -> StoreUsage:
        size = self._size(validated_name("namespace", namespace))
        sessions, collections = (
            len(self.scopes(namespace, kind)) for kind in ("session", "collection")
        )
        return StoreUsage(size.messages, size.bytes, sessions, collections)

    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        with self._lock:
            shelf = self._find(scope)
            count = len(shelf.log) if shelf else 0
            if expected is not None and expected != count:
                raise ConflictError(moved_on(scope, expected, count))
            found = shelf.revision if shelf else 0
            if revision is not None and revision != found:
                raise ConflictError(rewritten(scope, count, revision, found))
            shelf = self._shelves.pop(scope, None)
        if shelf is None:
            return Deleted()
        chunks = {chunk for _, chunk in shelf.tensors}
        return Deleted(len(shelf.log), len(chunks), len(shelf.tensors))

    def close(self) -> None:
        with self._lock:
            self._shelves.clear()
            self._closed = True

    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        with self._lock:
            shelf = self._find(scope)
            tensors = shelf.tensors if shelf else {}
            return [tensors.get((fingerprint, chunk)) for chunk in chunk_ids]

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        with self._lock:
            shelf = self._find(scope)
            if not items:
                return
            if shelf is None:
                shelf = self._new(scope)
                shelf.expires = shelf.created + self.ttl if self.ttl else None
            shelf.tensors.update(((fingerprint, c), bytes(data)) for c, data in items.items())

    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        with self._lock:
            shelf = self._find(scope)
            tensors = shelf.tensors if shelf else {}
            dropped = [tensors.pop((fingerprint, chunk), None) for chunk in chunk_ids]
        return sum(data is not None for data in dropped)

    def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        with self._lock:
            shelf = self._find(scope)
            found: dict[str, list[str]] = {}
            for fingerprint, chunk in sorted(shelf.tensors if shelf else ()):
                found.setdefault(fingerprint, []).append(chunk)
            return found

    def touch(self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()) -> None:
        with self._lock:
            self._find(scope)

    def describe(self) -> str:
        return "memory://"

    @property
    def identity(self) -> str:
        return self._identity

    def _new(self, scope: Scope) -> _Shelf:
        now = self._clock()
        return self._shelves.setdefault(scope, _Shelf(created=now, updated=now))

    def _check_room(self, scope: Scope, shelf: _Shelf | None, more: Size) -> None:
        quota = self.quota(scope.namespace)
        if quota is not None:
            check_scope(quota, scope, shelf.size if shelf else Size(), more)
            check_namespace(quota, scope, self._size(scope.namespace), more)

    def _size(self, namespace: str) -> Size:
        """What the namespace holds now."""
        with self._lock:
            self._check_open()
            for scope in list(self._shelves):
                self._drop_if_expired(scope)
            shelves = (shelf for s, shelf in self._shelves.items() if s.namespace == namespace)
            return sum((shelf.size for shelf in shelves), Size())

    def _write(self, shelf: _Shelf, records: Sequence[Record]) -> None:
        shelf.log.extend(records)
        shelf.digests.update((record.id, record.digest) for record in records)
        shelf.updated = self._clock()
        shelf.expires = shelf.updated + self.ttl if self.ttl else None

    def _find(self, scope: Scope) -> _Shelf | None:
        """The shelf of the scope; to look for it is to use it."""
        self._check_open()
        self._drop_if_expired(scope)
        shelf = self._shelves.get(scope)
        if shelf is not None and shelf.expires is not None and self.ttl:
            shelf.expires = self._clock() + self.ttl
        return shelf

    def _drop_if_expired(self, scope: Scope) -> None:
        shelf = self._shelves.get(scope)
        if shelf is not None and shelf.expires is not None and shelf.expires <= self._clock():
            del self._shelves[scope]

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError("this store was closed: open it again")
