"""Which server holds a key, and what to do when that is no longer so.

redis-py has clients for Sentinel and Cluster. They are not used to send commands: each tries again
by rules of its own, for many timeouts, and a pipeline over a cluster has no transactions. What is
needed of them is little: to ask who the master is, or who has which slot, by the same connections
and under the same deadline as everything else.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias
from urllib.parse import quote

import redis
from redis.crc import key_slot

from vist2_memory.store.redis.places import Place, Settings
from vist2_memory.store.redis.requests import DropIdle, Exchange, Steps

Address: TypeAlias = tuple[str, int]


class Servers(ABC):
    """The servers of one store, all reached by ``settings``. Safe with several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def name(self, key: str) -> str:
        """Which server ``key`` is thought to be on, without asking; equal for equal servers."""

    @abstractmethod
    def find(self, key: str) -> Steps[Place]:
        """The server that holds ``key``; asks who it is where that is in doubt."""

    def at(self, address: Address) -> Place:
        """The server at ``address``, which another one has named."""
        return Place(self.settings, *address)

    @abstractmethod
    def doubt(self) -> Steps[None]:
        """What is known may be out of date: ask again before the next command."""

    @abstractmethod
    def describe(self) -> str:
        """The URL, without user and password."""


class OneServer(Servers):
    """A single server, or a proxy or name that stands for whoever is the master."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._place = Place(settings)

    def name(self, key: str) -> str:
        return self.describe()

    def find(self, key: str) -> Steps[Place]:
        yield from ()
        return self._place

    def at(self, address: Address) -> Place:
        raise redis.ResponseError(
            f"it is a node of a cluster and sends on to {address[0]}:{address[1]}: open it as "
            "redis+cluster://"
        )

    def doubt(self) -> Steps[None]:
        yield DropIdle()

    def describe(self) -> str:
        options = self.settings.options
        database = options.get("db") or 0
        if options.get("path"):
            return f"unix://{quote(str(options['path']))}?db={database}"
        scheme = "rediss" if self.settings.is_tls else "redis"
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        return f"{scheme}://{host}:{port}/{database}"


class SentinelServers(Servers):
    """The master called ``service``, as ``sentinels`` name it.

    A server is used only if it says itself that it is a master: one that is just being promoted
    may be named before it knows, and would answer from a copy that is not yet whole.
    """

    def __init__(
        self, service: str, sentinels: Sequence[Place], settings: Settings, url: str
    ) -> None:
        super().__init__(settings)
        self._service, self.sentinels, self._url = service, sentinels, url
        self._master: Address | None = None

    def name(self, key: str) -> str:
        return self._url

    def find(self, key: str) -> Steps[Place]:
        address = self._master
        if address is None:
            address = yield from self._ask()
            [role] = yield Exchange(self.at(address), [("ROLE",)])
            if isinstance(role, Exception):
                raise role
            if role[0] not in (b"master", "master"):
                raise redis.ConnectionError(f"{address[0]}:{address[1]} is not a master yet")
            self._master = address
        return self.at(address)

    def doubt(self) -> Steps[None]:
        self._master = None
        yield DropIdle()

    def describe(self) -> str:
        return self._url

    def _ask(self) -> Steps[Address]:
        reasons = []
        for sentinel in random.sample(self.sentinels, len(self.sentinels)):
            asking = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            try:
                [found] = yield Exchange(sentinel, [asking])
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
        settings: Settings,
        url: str,
        remap: Callable[[str, int], Address] = lambda host, port: (host, port),
    ) -> None:
        super().__init__(settings)
        self._seeds, self._url, self._remap = list(seeds), url, remap
        self._slots: list[tuple[int, int, Address]] = []
        self._doubted = True

    def name(self, key: str) -> str:
        address = self._owner(key)
        return f"{self._url} ({address[0]}:{address[1]})" if address else self._url

    def find(self, key: str) -> Steps[Place]:
        if self._doubted:
            yield from self._learn()
        address = self._owner(key)
        if address is None:
            raise redis.exceptions.ClusterDownError(f"no node has slot {_slot(key)}")
        return self.at(address)

    def at(self, address: Address) -> Place:
        return super().at(self._remap(*address))

    def doubt(self) -> Steps[None]:
        self._doubted = True
        yield from ()

    def describe(self) -> str:
        return self._url

    def _owner(self, key: str) -> Address | None:
        slot = _slot(key)
        return next((node for first, last, node in self._slots if first <= slot <= last), None)

    def _learn(self) -> Steps[None]:
        """Ask the masters we know, then the seeds, until one answers."""
        masters = list(dict.fromkeys(node for _, _, node in self._slots))
        random.shuffle(masters)
        reasons = []
        for address in dict.fromkeys((*masters, *self._seeds)):
            try:
                [found] = yield Exchange(self.at(address), [("CLUSTER", "SLOTS")])
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


def text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _slot(key: str) -> int:
    return int(key_slot(key.encode("utf-8")))
