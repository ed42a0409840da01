"""The store for event loops: `AsyncStore`, and any `Store` as one.

The methods are those of `vist2_memory.store.base.Store`, as coroutines, and promise the same; what
is said there of each is not said again here. A call that is cancelled may have been done or not, as
one that raised `StoreUnavailableError`; nothing is ever half-written.
"""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from vist2_memory.store.base import (
    Deleted,
    Kind,
    Limited,
    Quota,
    Scope,
    ScopeInfo,
    Snapshot,
    Store,
    StoreUsage,
    validated_ttl,
)
from vist2_memory.types import Message

P = ParamSpec("P")
T = TypeVar("T")


class AsyncStore(Limited, ABC):
    """Log and cache in one place, for event loops. ``ttl``: as in `Store`."""

    def __init__(self, *, ttl: int | None = None) -> None:
        self.ttl = validated_ttl(ttl)
        self._quotas = {}

    def synchronous(self) -> Store:
        """The same store for threads, closed with this one; `TypeError` if there is none."""
        raise TypeError(
            f"a {type(self).__name__} has no synchronous side: give a store of the kind "
            "vist2_memory.store.Store"
        )

    @abstractmethod
    async def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        """`MemoryStore.append`."""

    @abstractmethod
    async def rewrite(
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
        """`MemoryStore.rewrite`."""

    @abstractmethod
    async def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        """`MemoryStore.snapshot`."""

    async def read(self, scope: Scope, after: int = 0) -> list[Message]:
        """`MemoryStore.read`."""
        return (await self.snapshot(scope, after)).messages

    @abstractmethod
    async def count(self, scope: Scope) -> int:
        """`MemoryStore.count`."""

    @abstractmethod
    async def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        """`MemoryStore.scopes`."""

    @abstractmethod
    async def usage(self, namespace: str) -> StoreUsage:
        """`MemoryStore.usage`."""

    @abstractmethod
    async def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        """`MemoryStore.delete`."""

    @abstractmethod
    async def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        """`TokenStore.get_many`."""

    @abstractmethod
    async def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        """`TokenStore.put_many`."""

    @abstractmethod
    async def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        """`TokenStore.drop_many`."""

    @abstractmethod
    async def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        """`TokenStore.tensor_ids`."""

    def listed_as(self, scope: Scope, chunk_id: str) -> tuple[str, ...]:
        """`TokenStore.listed_as`."""
        return (chunk_id,)

    async def touch(
        self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()
    ) -> None:
        """`Store.touch`."""
        await self.get_many(scope, fingerprint, chunk_ids)

    async def eviction(self) -> str | None:
        """`Store.eviction`."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """The store's URL, without user and password."""

    @abstractmethod
    async def close(self) -> None:
        """Give back connections; a second call does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class Adapted(AsyncStore):
    """``store`` for event loops, each call on the spot: for one that never waits."""

    def __init__(self, store: Store) -> None:
        super().__init__(ttl=store.ttl)
        self._store = store

    def synchronous(self) -> Store:
        return self._store

    async def _call(self, method: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        return method(*args, **options)

    async def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        call = functools.partial(self._store.append, scope, messages)
        return await self._call(call, expected=expected, revision=revision)

    async def rewrite(
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
        call = functools.partial(self._store.rewrite, scope, keep, messages)
        return await self._call(call, expected=expected, last=last, revision=revision, token=token)

    async def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        return await self._call(self._store.snapshot, scope, after)

    async def read(self, scope: Scope, after: int = 0) -> list[Message]:
        return await self._call(self._store.read, scope, after)

    async def count(self, scope: Scope) -> int:
        return await self._call(self._store.count, scope)

    async def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        return await self._call(self._store.scopes, namespace, kind)

    async def usage(self, namespace: str) -> StoreUsage:
        return await self._call(self._store.usage, namespace)

    def limit(self, namespace: str, quota: Quota | None) -> None:
        """See `Store.limit`; the synchronous side keeps to it too."""
        self._store.limit(namespace, quota)

    def quota(self, namespace: str) -> Quota | None:
        return self._store.quota(namespace)

    async def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        call = functools.partial(self._store.delete, scope)
        return await self._call(call, expected=expected, revision=revision)

    async def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        return await self._call(self._store.get_many, scope, fingerprint, chunk_ids)

    async def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        await self._call(self._store.put_many, scope, fingerprint, items)

    async def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        return await self._call(self._store.drop_many, scope, fingerprint, chunk_ids)

    async def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        return await self._call(self._store.tensor_ids, scope)

    def listed_as(self, scope: Scope, chunk_id: str) -> tuple[str, ...]:
        return self._store.listed_as(scope, chunk_id)

    async def touch(
        self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()
    ) -> None:
        await self._call(self._store.touch, scope, fingerprint, chunk_ids)

    async def eviction(self) -> str | None:
        return await self._call(self._store.eviction)

    def describe(self) -> str:
        return self._store.describe()

    async def close(self) -> None:
        await self._call(self._store.close)


class InThreads(Adapted):
    """``store`` for event loops, each call in a thread: for one that waits, and cannot otherwise.

    A call that is cancelled goes on in its thread to its end.
    """

    async def _call(self, method: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        return await asyncio.to_thread(method, *args, **options)


def asynchronous(store: Store) -> AsyncStore:
    """``store`` for event loops: its own asynchronous side, or each call in a thread."""
    return store.asynchronous() or InThreads(store)
