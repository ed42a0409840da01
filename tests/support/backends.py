"""Places to store, each as the contract suite sees it."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel as SentinelClient

from tests.support.async_stores import BackgroundLoop, Waiting
from vist2_memory.store import (
    InMemoryStore,
    JoinedStore,
    Scope,
    Store,
    open_async_store,
    open_store,
)
from vist2_memory.store.asynchronous import asynchronous
from vist2_memory.store.sealed import SealedStore
from vist2_memory.store.seals import Key, Seal
from vist2_memory.store.sqlite import SQLiteStore
from vist2_memory.types import Message


def key(number: int) -> Key:
    """Always the same one for a number."""
    return Key(bytes([number]) * 32)


def say(number: int | str, text: str = "My cat is called Miso.") -> Message:
    return Message("user", text, id=f"m{number}", turn=f"t{number}", time=1.5)


class Backend:
    """One place to store; every `open` is another client of it, with ``seal`` around it.

    ``loop``: where stores are opened for event loops, and each call runs on this one.
    """

    loop: BackgroundLoop | None = None
    seal: Seal | None = None

    def __init__(self) -> None:
        self.namespace = f"test {uuid.uuid4().hex}"
        self.now = 1_700_000_000.0
        self._opened: list[Store] = []

    def scope(self, name: str = "cats") -> Scope:
        return Scope(self.namespace, "session", name)

    def open(self, ttl: int | None = None) -> Store:
        store = self._open(ttl)
        if self.loop is not None and not isinstance(store, Waiting):
            store = Waiting(asynchronous(store), self.loop)
        if self.seal is not None:
            store = SealedStore(store, self.seal)
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()

    def _open(self, ttl: int | None) -> Store:
        raise NotImplementedError

    def leftovers(self) -> list[str]:
        """All that is stored of this test's namespace, in any form."""
        raise NotImplementedError


class InMemory(Backend):
    def __init__(self) -> None:
        super().__init__()
        self.store = InMemoryStore(clock=lambda: self.now)

    def _open(self, ttl: int | None) -> Store:
        self.store.ttl = ttl
        return self.store

    def leftovers(self) -> list[str]:
        return [str(scope) for scope in self.store._shelves]


class SQLite(Backend):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _open(self, ttl: int | None) -> Store:
        return SQLiteStore(self.path, ttl=ttl, clock=lambda: self.now)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def leftovers(self) -> list[str]:
        return [
            f"{table}: {row}"
            for table in ("scopes", "messages", "tensors")
            for row in self.execute(f"SELECT * FROM {table}")
        ]


class Redis(Backend):
    """``client`` looks at what a store did through ``url``."""

    def __init__(self, url: str, client: redis.Redis | RedisCluster) -> None:
        super().__init__()
        self.url = url
        self.client: Any = client

    def _open(self, ttl: int | None) -> Store:
        # A deadline that a crowded machine keeps too.
        url = f"{self.url}{'&' if '?' in self.url else '?'}deadline=30"
        if self.loop is not None:
            return Waiting(self.loop.call(open_async_store(url, ttl=ttl)), self.loop)
        return open_store(url, ttl=ttl)

    def keys(self, part: str = "") -> list[bytes]:
        tag = self.namespace.replace(" ", "%20")
        return sorted(self.client.scan_iter(match=f"*{tag}*{part}", count=1000))

    def remove(self, keys: list[bytes]) -> None:
        for key in keys:
            self.client.delete(key)

    def leftovers(self) -> list[str]:
        return [key.decode() for key in self.keys()]

    def close(self) -> None:
        super().close()
        self.remove(self.keys())
        self.client.close()


class Joined(Backend):
    """The log in ``log``, tensors in ``tensors``, which share the clock."""

    def __init__(self, log: Backend, tensors: Backend) -> None:
        self.parts = (log, tensors)
        super().__init__()
        tensors.namespace = log.namespace = self.namespace

    @property
    def now(self) -> float:
        return self.parts[0].now

    @now.setter
    def now(self, value: float) -> None:
        for part in self.parts:
            part.now = value

    def _open(self, ttl: int | None) -> Store:
        return JoinedStore(*(part._open(ttl) for part in self.parts))

    def leftovers(self) -> list[str]:
        return [found for part in self.parts for found in part.leftovers()]

    def close(self) -> None:
        super().close()
        for part in self.parts:
            part.close()


def cluster_client(url: str) -> RedisCluster:
    """redis-py's own client for a redis+cluster:// URL."""
    places = url.partition("://")[2].split(",")
    nodes = [ClusterNode(host, int(port)) for host, port in (p.split(":") for p in places)]
    return RedisCluster(startup_nodes=nodes)


def redis_of(request: pytest.FixtureRequest, kind: str) -> Redis:
    """A place of this kind on the servers of the run."""
    if kind == "cluster":
        url = request.getfixturevalue("redis_cluster").url
        return Redis(url, cluster_client(url))
    if kind == "sentinel":
        sentinel = request.getfixturevalue("redis_sentinel")
        asked = SentinelClient([("127.0.0.1", sentinel.sentinel.port)])
        return Redis(sentinel.url, asked.master_for("main"))
    doors = request.getfixturevalue("redis_doors")
    url = {"redis": doors.url, "unix": doors.unix_url, "tls": doors.tls_url}[kind]
    return Redis(url, redis.Redis.from_url(doors.url))
