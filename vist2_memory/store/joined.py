"""The log in one store and the tensors in another, so that nothing that may be lost shares a place
with what must not be: a server that evicts keys then only ever evicts tensors.

A log that is away is an error, tensors that are away are misses to whoever reads them
(`vist2_memory.memory.tensors`), as in every store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from vist2_memory.errors import ConflictError
from vist2_memory.store.base import (
    Deleted,
    Kind,
    Quota,
    Scope,
    ScopeInfo,
    Snapshot,
    Store,
    StoreUsage,
)
from vist2_memory.store.records import moved_on, rewritten
from vist2_memory.types import Message


class JoinedStore(Store):
    """``log`` keeps messages, ``tensors`` keeps tensors; both are closed with it.

    Raises `ValueError` when both are one store, or when one forgets unused scopes after another
    time than the other.
    """

    def __init__(self, log: Store, tensors: Store) -> None:
        if log is tensors:
            raise ValueError(f"log and tensors are both {log.describe()}: use that store alone")
        if log.ttl != tensors.ttl:
            raise ValueError(
                f"the log has ttl={log.ttl} and the tensors have ttl={tensors.ttl}: open both "
                "with the same, so that a session ends as a whole"
            )
        super().__init__(ttl=log.ttl)
        self.log, self.tensors = log, tensors

    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        return self.log.append(scope, messages, expected=expected, revision=revision)

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
        return self.log.rewrite(
            scope, keep, messages, expected=expected, last=last, revision=revision, token=token
        )

    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        return self.log.snapshot(scope, after)

    def count(self, scope: Scope) -> int:
        return self.log.count(scope)

    def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        return self.log.scopes(namespace, kind)

    def usage(self, namespace: str) -> StoreUsage:
        return self.log.usage(namespace)

    def limit(self, namespace: str, quota: Quota | None) -> None:
        """See `Store.limit`: it is the log that is counted."""
        self.log.limit(namespace, quota)

    def quota(self, namespace: str) -> Quota | None:
        return self.log.quota(namespace)

    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        """Tensors first: where their store is away, all is still there and can be deleted again.

        And once more at the end, for what others wrote until the log was gone. A log that is not as
        it was seen keeps its tensors, unless it is written to in this very moment: then they are
        gone, and encoded again.
        """
        self._check_as_seen(scope, expected, revision)
        gone = [
            self._delete_tensors(scope),
            self.log.delete(scope, expected=expected, revision=revision),
            self._delete_tensors(scope),
        ]
        return Deleted(
            messages=sum(part.messages for part in gone),
            chunks=sum(part.chunks for part in gone),
            tensors=sum(part.tensors for part in gone),
        )

    def _delete_tensors(self, scope: Scope) -> Deleted:
        """Whatever is there of the scope but a log: one that lies there too is not ours."""
        try:
            return self.tensors.delete(scope, expected=0)
        except ConflictError:
            ids = self.tensors.tensor_ids(scope)
        gone = sum(self.tensors.drop_many(scope, of, names) for of, names in ids.items())
        return Deleted(chunks=len({name for names in ids.values() for name in names}), tensors=gone)

    def _check_as_seen(self, scope: Scope, expected: int | None, revision: int | None) -> None:
        """Raise `ConflictError` for a log of another length or at another revision."""
        if expected is None and revision is None:
            return
        count = self.log.count(scope)
        found = self.log.snapshot(scope, after=count).revision
        if expected is not None and expected != count:
            raise ConflictError(moved_on(scope, expected, count))
        if revision is not None and revision != found:
            raise ConflictError(rewritten(scope, count, revision, found))

    def close(self) -> None:
        with contextlib.closing(self.tensors):
            self.log.close()

    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        if self.ttl:
            self.log.touch(scope)
        return self.tensors.get_many(scope, fingerprint, chunk_ids)

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        if self.ttl:
            self.log.touch(scope)
        self.tensors.put_many(scope, fingerprint, items)

    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        return self.tensors.drop_many(scope, fingerprint, chunk_ids)

    def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        return self.tensors.tensor_ids(scope)

    def listed_as(self, scope: Scope, chunk_id: str) -> tuple[str, ...]:
        return self.tensors.listed_as(scope, chunk_id)

    def touch(self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()) -> None:
        self.log.touch(scope)
        self.tensors.touch(scope, fingerprint, chunk_ids)

    def eviction(self) -> str | None:
        """Of the log: that tensors may be evicted is what this store is for."""
        return self.log.eviction()

    @property
    def identity(self) -> str:
        """The log's: tensors are no part of it."""
        return self.log.identity

    def seal(self, scope: Scope, data: bytes) -> bytes:
        return self.log.seal(scope, data)

    def unseal(self, scope: Scope, data: bytes) -> bytes:
        return self.log.unseal(scope, data)

    def describe(self) -> str:
        return f"{self.log.describe()}, tensors in {self.tensors.describe()}"
