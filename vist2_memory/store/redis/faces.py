"""`RedisStore` and `AsyncRedisStore`: one store's logic, run in threads and on event loops.

Both faces of a store share what is known of the servers (who has which slot, who is left alone) and
have connections of their own. Closing one closes both.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import redis
import redis.asyncio
from redis.cluster import RedisCluster

from vist2_memory.errors import StoreError, StoreUnavailableError, StoreURLError, StoreWarning
from vist2_memory.store.asynchronous import AsyncStore
from vist2_memory.store.base import (
    Deleted,
    Kind,
    Scope,
    ScopeInfo,
    Snapshot,
    Store,
    StoreUsage,
    validated_ttl,
)
from vist2_memory.store.redis.async_wire import AsyncWires
from vist2_memory.store.redis.requests import Steps, T
from vist2_memory.store.redis.store import RedisLogic
from vist2_memory.store.redis.urls import FORMS, servers_of_client, servers_of_url, split_options
from vist2_memory.store.redis.wire import Wire
from vist2_memory.types import Message

DEADLINE = 5.0
"""Seconds that a call may take as a whole (``?deadline=`` in the URL)."""


class RedisStore(Store):
    """``client``: a synchronous `redis.Redis` (``Sentinel.master_for`` too) or `RedisCluster`.

    It says where and how to connect. The store makes connections of its own, which keep to
    ``deadline`` (seconds for a call as a whole), and closes only those. ``replicas``: how many must
    confirm a message before it counts as written; with 0 a fail-over may lose the newest ones.
    """

    def __init__(
        self,
        client: redis.Redis | RedisCluster,
        *,
        ttl: int | None = None,
        deadline: float = DEADLINE,
        replicas: int = 0,
    ) -> None:
        if not isinstance(client, (redis.Redis, RedisCluster)):
            raise TypeError(
                f"client is a {_kind(client)}: RedisStore takes a synchronous redis.Redis or "
                "redis.cluster.RedisCluster; for a client of redis.asyncio make an AsyncRedisStore"
            )
        super().__init__(ttl=ttl)
        self._join(RedisLogic(servers_of_client(client, deadline), ttl, deadline, replicas))

    @classmethod
    def from_url(cls, url: str, *, ttl: int | None = None, away: bool = False) -> Self:
        """Connect as the URL says (forms: `vist2_memory.store.redis.urls`) and see who answers.

        Options of our own: ``deadline`` (seconds) and ``replicas``, as in the class. ``away``: that
        nobody answers is only a `StoreWarning`.
        """
        store = cls._of(_logic_of_url(url, ttl))
        try:
            store._wire.run(store._logic.link.check())
        except TypeError as error:
            raise StoreURLError(f"the URL of the store has an unknown option: {error}") from None
        except StoreUnavailableError as error:
            if not away:
                store.close()
                raise
            warnings.warn(f"{error} (tried again when it is used)", StoreWarning, stacklevel=2)
        return store

    @classmethod
    def _of(cls, logic: RedisLogic, wires: AsyncWires | None = None) -> Self:
        store = cls.__new__(cls)
        Store.__init__(store, ttl=logic.ttl)
        store._join(logic, wires)
        return store

    def _join(self, logic: RedisLogic, wires: AsyncWires | None = None) -> None:
        self._logic, self._wire, self._wires = logic, Wire(), wires or AsyncWires()
        self._quotas = logic.quotas

    def asynchronous(self) -> AsyncStore | None:
        if self._logic.servers.settings.asyncio is None:  # redis-py cannot connect so
            return None
        return AsyncRedisStore._of(self._logic, self._wires, self)

    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        steps = self._logic.append(scope, messages, expected=expected, revision=revision)
        return self._wire.run(steps)

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
        steps = self._logic.rewrite(
            scope, keep, messages, expected=expected, last=last, revision=revision, token=token
        )
        return self._wire.run(steps)

    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        return self._wire.run(self._logic.snapshot(scope, after))

    def count(self, scope: Scope) -> int:
        return self._wire.run(self._logic.count(scope))

    def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        return self._wire.run(self._logic.scopes(namespace, kind))

    def usage(self, namespace: str) -> StoreUsage:
        return self._wire.run(self._logic.usage(namespace))

    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        return self._wire.run(self._logic.delete(scope, expected=expected, revision=revision))

    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        return self._wire.run(self._logic.get_many(scope, fingerprint, chunk_ids))

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        self._wire.run(self._logic.put_many(scope, fingerprint, items))

    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        return self._wire.run(self._logic.drop_many(scope, fingerprint, chunk_ids))

    def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        return self._wire.run(self._logic.tensor_ids(scope))

    def touch(self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()) -> None:
        self._wire.run(self._logic.touch(scope, fingerprint, chunk_ids))

    def eviction(self) -> str | None:
        return self._wire.run(self._logic.eviction())

    def server_version(self) -> str:
        """What the server says of its version; "unknown" where a provider forbids asking."""
        return self._wire.run(self._logic.server_version())

    def describe(self) -> str:
        return self._logic.link.describe()

    @property
    def identity(self) -> str:
        return self._logic.link.identity

    def close(self) -> None:
        """Give back connections; event loops that run close theirs, others as they end."""
        if not self._logic.link.closed:
            self._logic.link.closed = True
            self._wire.close()
            self._wires.close_from_outside()


class AsyncRedisStore(AsyncStore):
    """``client``: a `redis.asyncio.Redis` (``Sentinel.master_for`` too) or ``RedisCluster``.

    All else as in `RedisStore`. One store may be used from several event loops; each has
    connections of its own, which are closed when `asyncio.run` ends, or with the store.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis | redis.asyncio.RedisCluster,
        *,
        ttl: int | None = None,
        deadline: float = DEADLINE,
        replicas: int = 0,
    ) -> None:
        if not isinstance(client, (redis.asyncio.Redis, redis.asyncio.RedisCluster)):
            raise TypeError(
                f"client is a {_kind(client)}: AsyncRedisStore takes a redis.asyncio.Redis or "
                "redis.asyncio.RedisCluster; for a synchronous client make a RedisStore"
            )
        super().__init__(ttl=ttl)
        logic = RedisLogic(servers_of_client(client, deadline), ttl, deadline, replicas)
        self._join(logic, AsyncWires(), None)

    @classmethod
    async def from_url(cls, url: str, *, ttl: int | None = None) -> Self:
        """Connect as the URL says and see who answers; as `RedisStore.from_url`."""
        store = cls._of(_logic_of_url(url, ttl), AsyncWires(), None)
        try:
            await store._run(store._logic.link.check())
        except TypeError as error:
            raise StoreURLError(f"the URL of the store has an unknown option: {error}") from None
        except StoreError:
            await store.close()
            raise
        return store

    @classmethod
    def _of(cls, logic: RedisLogic, wires: AsyncWires, blocking: RedisStore | None) -> Self:
        store = cls.__new__(cls)
        AsyncStore.__init__(store, ttl=logic.ttl)
        store._join(logic, wires, blocking)
        return store

    def _join(self, logic: RedisLogic, wires: AsyncWires, blocking: RedisStore | None) -> None:
        self._logic, self._wires, self._blocking = logic, wires, blocking
        self._quotas = logic.quotas

    def synchronous(self) -> RedisStore:
        """The same store for threads; `TypeError` where redis-py can connect by asyncio only."""
        if self._logic.servers.settings.blocking is None:
            raise TypeError(
                "the client of this AsyncRedisStore connects in a way that only asyncio can "
                "(connection_class, parser_class or redis_connect_func): make a RedisStore of a "
                "synchronous redis.Redis for use from synchronous code"
            )
        if self._blocking is None:
            self._blocking = RedisStore._of(self._logic, self._wires)
        return self._blocking

    async def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        steps = self._logic.append(scope, messages, expected=expected, revision=revision)
        return await self._run(steps)

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
        steps = self._logic.rewrite(
            scope, keep, messages, expected=expected, last=last, revision=revision, token=token
        )
        return await self._run(steps)

    async def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        return await self._run(self._logic.snapshot(scope, after))

    async def count(self, scope: Scope) -> int:
        return await self._run(self._logic.count(scope))

    async def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        return await self._run(self._logic.scopes(namespace, kind))

    async def usage(self, namespace: str) -> StoreUsage:
        return await self._run(self._logic.usage(namespace))

    async def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        return await self._run(self._logic.delete(scope, expected=expected, revision=revision))

    async def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        return await self._run(self._logic.get_many(scope, fingerprint, chunk_ids))

    async def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        await self._run(self._logic.put_many(scope, fingerprint, items))

    async def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        return await self._run(self._logic.drop_many(scope, fingerprint, chunk_ids))

    async def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        return await self._run(self._logic.tensor_ids(scope))

    async def touch(
        self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()
    ) -> None:
        await self._run(self._logic.touch(scope, fingerprint, chunk_ids))

    async def eviction(self) -> str | None:
        return await self._run(self._logic.eviction())

    async def server_version(self) -> str:
        """What the server says of its version; "unknown" where a provider forbids asking."""
        return await self._run(self._logic.server_version())

    def describe(self) -> str:
        return self._logic.link.describe()

    async def close(self) -> None:
        """Give back connections; other event loops that run close theirs, the rest as they end."""
        self._logic.link.closed = True
        if self._blocking is not None:
            self._blocking._wire.close()
        await self._wires.close()

    async def _run(self, steps: Steps[T]) -> T:
        return await (await self._wires.here()).run(steps)


def _logic_of_url(url: str, ttl: int | None) -> RedisLogic:
    validated_ttl(ttl)
    try:
        place, options = split_options(url)
        deadline = float(options.get("deadline", DEADLINE))
        servers = servers_of_url(place, deadline)
        return RedisLogic(servers, ttl, deadline, int(options.get("replicas", 0)))
    except ValueError as error:
        if isinstance(error, StoreError):
            raise
        # The reason may quote a password that was not percent-encoded: it is not passed on.
        scheme = url.partition("://")[0]
        raise StoreURLError(
            f"the {scheme}:// URL of the store cannot be used: the form is {FORMS[scheme]} "
            "(percent-encode the password), options as in redis.Redis.from_url, without "
            "decode_responses, and deadline=SECONDS, replicas=NUMBER"
        ) from None


def _kind(client: Any) -> str:
    return f"{type(client).__module__}.{type(client).__qualname__}"
