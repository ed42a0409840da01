"""An asynchronous store for tests that were written for a synchronous one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from vist2_memory.store import (
    AsyncStore,
    Deleted,
    Kind,
    Quota,
    Scope,
    ScopeInfo,
    Snapshot,
    Store,
    StoreUsage,
    open_async_store,
)
from vist2_memory.types import Message

T = TypeVar("T")


class BackgroundLoop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns; the calling thread waits."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop):
            self._loop.run_forever()


class Waiting(Store):
    """``store``, whose calls run on ``loop`` while the calling thread waits."""

    def __init__(self, store: AsyncStore, loop: BackgroundLoop) -> None:
        super().__init__(ttl=store.ttl)
        self._store, self._loop = store, loop

    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        return self._loop.call(
            self._store.append(scope, messages, expected=expected, revision=revision)
        )

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
        return self._loop.call(
            self._store.rewrite(
                scope, keep, messages, expected=expected, last=last, revision=revision, token=token
            )
        )

    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        return self._loop.call(self._store.snapshot(scope, after))

    def read(self, scope: Scope, after: int = 0) -> list[Message]:
        return self._loop.call(self._store.read(scope, after))

    def count(self, scope: Scope) -> int:
        return self._loop.call(self._store.count(scope))

    def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        return self._loop.call(self._store.scopes(namespace, kind))

    def usage(self, namespace: str) -> StoreUsage:
        return self._loop.call(self._store.usage(namespace))

    def limit(self, namespace: str, quota: Quota | None) -> None:
        self._store.limit(namespace, quota)

    def quota(self, namespace: str) -> Quota | None:
        return self._store.quota(namespace)

    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        return self._loop.call(self._store.delete(scope, expected=expected, revision=revision))

    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        return self._loop.call(self._store.get_many(scope, fingerprint, chunk_ids))

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        self._loop.call(self._store.put_many(scope, fingerprint, items))

    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        return self._loop.call(self._store.drop_many(scope, fingerprint, chunk_ids))

    def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        return self._loop.call(self._store.tensor_ids(scope))

    def listed_as(self, scope: Scope, chunk_id: str) -> tuple[str, ...]:
        return self._store.listed_as(scope, chunk_id)

    def touch(self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()) -> None:
        self._loop.call(self._store.touch(scope, fingerprint, chunk_ids))

    def eviction(self) -> str | None:
        return self._loop.call(self._store.eviction())

    def describe(self) -> str:
        return self._store.describe()

    def close(self) -> None:
        self._loop.call(self._store.close())


def open_waiting(url: str) -> Store:
    """What `open_store` opens, as an asynchronous store on an event loop of its own."""
    loop = BackgroundLoop()
    try:
        return WithLoop(loop.call(open_async_store(url)), loop)
    except BaseException:
        loop.stop()
        raise


class WithLoop(Waiting):
    """One that stops its event loop when it is closed."""

    def close(self) -> None:
        super().close()
        self._loop.stop()
