"""Which server holds a key, and what to do when that is no longer so.

redis-py has clients for Sentinel and Cluster. They are not used to send commands: each tries again
by rules of its own, for many timeouts, and a pipeline over a cluster has no transactions. What is
needed of them is little: to ask who the master is, or who has which slot, by the same connections
and under the same deadline as everything else.
"""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeAlias
from urllib.parse import quote

import redis
from redis.crc import key_slot

Address: TypeAlias = tuple[str, int]
Connect: TypeAlias = Callable[[str, int], redis.Redis]


class Servers(ABC):
    """The servers of one store. Safe with several threads."""

    @abstractmethod
    def name(self, key: str) -> str:
        """Which server ``key`` is thought to be on, without asking; equal for equal servers."""

    @abstractmethod
    def find(self, key: str) -> redis.Redis:
        """The client of the server that holds ``key``; asks who it is where that is in doubt."""

    @abstractmethod
    def at(self, address: Address) -> redis.Redis:
        """The client of the server at ``address``, which another one has named."""

    @abstractmethod
    def doubt(self) -> None:
        """What is known may be out of date: ask again before the next command."""

    @abstractmethod
    def describe(self) -> str:
        """The URL, without user and password."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections."""


class OneServer(Servers):
    """A single server, or a proxy or name that stands for whoever is the master."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def name(self, key: str) -> str:
        return self.describe()

    def find(self, key: str) -> redis.Redis:
        return self._client

    def at(self, address: Address) -> redis.Redis:
        raise redis.ResponseError(
            f"it is a node of a cluster and sends on to {address[0]}:{address[1]}: open it as "
            "redis+cluster://"
        )

    def doubt(self) -> None:
        self._client.connection_pool.disconnect(inuse_connections=False)

    def describe(self) -> str:
        options = self._client.connection_pool.connection_kwargs
        database = options.get("db") or 0
        if options.get("path"):
            return f"unix://{quote(str(options['path']))}?db={database}"
        scheme = "rediss" if is_tls(self._client.connection_pool) else "redis"
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        return f"{scheme}://{host}:{port}/{database}"

    def close(self) -> None:
        self._client.connection_pool.disconnect()


class SentinelServers(Servers):
    """The master called ``service``, as ``sentinels`` name it.

    A server is used only if it says itself that it is a master: one that is just being promoted
    may be named before it knows, and would answer from a copy that is not yet whole.
    """

    def __init__(
        self, service: str, sentinels: Sequence[redis.Redis], connect: Connect, url: str
    ) -> None:
        self._service, self._sentinels, self._connect = service, sentinels, connect
        self._url = url
        self._known: dict[Address, redis.Redis] = {}
        self._master: Address | None = None
        self._lock = threading.Lock()

    def name(self, key: str) -> str:
        return self._url

    def find(self, key: str) -> redis.Redis:
        address = self._master
        if address is None:
            address = self._ask()
            [role] = exchange(self.at(address), [("ROLE",)])
            if isinstance(role, Exception):
                raise role
            if role[0] not in (b"master", "master"):
                raise redis.ConnectionError(f"{address[0]}:{address[1]} is not a master yet")
            self._master = address
        return self.at(address)

    def at(self, address: Address) -> redis.Redis:
        with self._lock:
            if address not in self._known:
                self._known[address] = self._connect(*address)
            return self._known[address]

    def doubt(self) -> None:
        self._master = None
        with self._lock:
            clients = list(self._known.values())
        for client in clients:
            client.connection_pool.disconnect(inuse_connections=False)

    def describe(self) -> str:
        return self._url

    def close(self) -> None:
        for client in chain(self._sentinels, self._known.values()):
            client.connection_pool.disconnect()

    def _ask(self) -> Address:
        reasons = []
        for sentinel in random.sample(self._sentinels, len(self._sentinels)):
            try:
                [found] = exchange(
                    sentinel, [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)]
                )
            except (redis.ConnectionError, redis.TimeoutError) as error:
                reasons.append(str(error))
                continue
            if isinstance(found, Exception):
                reasons.append(str(found))
            elif found is not None:
                return text(found[0]), int(found[1])
        raise redis.ConnectionError(
            f"no Sentinel names a master called {self._service!r}"
            + (f" ({'; '.join(sorted(set(reasons)))})" if reasons else "")
        )


class ClusterServers(Servers):
    """The shards of a cluster, learned from any node that answers, ``seeds`` first."""

    def __init__(
        self,
        seeds: Iterable[Address],
        connect: Connect,
        url: str,
        remap: Callable[[str, int], Address] = lambda host, port: (host, port),
    ) -> None:
        self._seeds, self._connect, self._url, self._remap = list(seeds), connect, url, remap
        self._known: dict[Address, redis.Redis] = {}
        self._slots: list[tuple[int, int, Address]] = []
        self._doubted = True
        self._lock = threading.Lock()

    def name(self, key: str) -> str:
        address = self._owner(key)
        return f"{self._url} ({address[0]}:{address[1]})" if address else self._url

    def find(self, key: str) -> redis.Redis:
        if self._doubted:
            self._learn()
        address = self._owner(key)
        if address is None:
            raise redis.exceptions.ClusterDownError(f"no node has slot {_slot(key)}")
        return self.at(address)

    def at(self, address: Address) -> redis.Redis:
        address = self._remap(*address)
        with self._lock:
            if address not in self._known:
                self._known[address] = self._connect(*address)
            return self._known[address]

    def doubt(self) -> None:
        self._doubted = True

    def describe(self) -> str:
        return self._url

    def close(self) -> None:
        for client in self._known.values():
            client.connection_pool.disconnect()

    def _owner(self, key: str) -> Address | None:
        slot = _slot(key)
        return next((node for first, last, node in self._slots if first <= slot <= last), None)

    def _learn(self) -> None:
        """Ask the masters we know, then the seeds, until one answers."""
        masters = list(dict.fromkeys(node for _, _, node in self._slots))
        random.shuffle(masters)
        reasons = []
        for address in dict.fromkeys((*masters, *self._seeds)):
            try:
                [found] = exchange(self.at(address), [("CLUSTER", "SLOTS")])
            except redis.AuthenticationError:
                raise
            except (redis.ConnectionError, redis.TimeoutError) as error:
                reasons.append(str(error))
                continue
            if isinstance(found, Exception):
                raise found
            # A node without a name of its own is the one that was asked.
            self._slots = [
                (int(first), int(last), (text(master[0]) or address[0], int(master[1])))
                for first, last, master, *_ in found
            ]
            self._doubted = False
            return
        raise redis.ConnectionError(f"no node of the cluster answers ({'; '.join(reasons)})")


def exchange(client: redis.Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The replies to ``commands``, sent in one round trip; errors of the server are among them."""
    with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        return list(pipe.execute(raise_on_error=False))


def is_tls(pool: redis.ConnectionPool) -> bool:
    return issubclass(pool.connection_class, redis.SSLConnection)


def text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _slot(key: str) -> int:
    return int(key_slot(key.encode("utf-8")))
