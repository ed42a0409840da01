"""The drivers of stores alone, to measure ours against: the same bytes, in the same batches.

What they leave out is all that a store is for: no lists of names, no transactions with them, no
deadlines.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import redis

from vist2_memory.store.base import Scope
from vist2_memory.store.redis.tensors import BATCH_BYTES, WRITE_BYTES
from vist2_memory.store.redis.urls import split_options


class Driver(ABC):
    """Values under keys, as the client library writes and reads them."""

    @abstractmethod
    def put(self, items: Mapping[str, bytes]) -> None:
        """Write all items."""

    @abstractmethod
    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read all keys."""

    def stored(self, scope: Scope) -> dict[str, int] | None:
        """Bytes that the server holds of our ``scope``, of tensors and of the log, if it tells."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Remove what was written."""


class RedisDriver(Driver):
    """redis-py: pipelines of SET, and MGET."""

    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(split_options(url)[0])
        self._prefix = f"vist2-bench:{uuid4().hex}:"
        self._keys: set[str] = set()

    def put(self, items: Mapping[str, bytes]) -> None:
        self._keys.update(self._prefix + key for key in items)
        pipe, size = self._client.pipeline(transaction=False), 0
        for key, data in items.items():
            if size and size + len(data) > WRITE_BYTES:
                pipe.execute()
                size = 0
            pipe.set(self._prefix + key, data)
            size += len(data)
        pipe.execute()

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = []
        batch = 16
        while len(found) < len(keys):
            some = keys[len(found) : len(found) + batch]
            found += self._client.mget([self._prefix + key for key in some])
            largest = max((len(data) for data in found if data is not None), default=1)
            batch = max(1, BATCH_BYTES // largest)
        return found

    def stored(self, scope: Scope) -> dict[str, int]:
        sizes = {"tensors": 0, "log": 0}
        start = f"vist2:{{{scope.key}}}:"
        for key in self._client.scan_iter(match=f"{start}*", count=1000):
            part = key.decode("ascii").removeprefix(start).partition(":")[0]
            of = "tensors" if part in ("t", "tensors") else "log"
            sizes[of] += self._client.memory_usage(key, samples=0) or 0
        return sizes

    def close(self) -> None:
        for key in self._keys:
            self._client.unlink(key)
        self._client.close()


class SQLiteDriver(Driver):
    """sqlite3 with a table of its own in a file beside ours, as safely written."""

    def __init__(self, folder: Path) -> None:
        self._folder = TemporaryDirectory(dir=folder)
        self._connection = sqlite3.connect(Path(self._folder.name) / "raw.db", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE raw (key TEXT PRIMARY KEY, data BLOB NOT NULL)",
        ):
            self._connection.execute(statement)

    def put(self, items: Mapping[str, bytes]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        statement = "INSERT OR REPLACE INTO raw VALUES (?,?)"
        self._connection.executemany(statement, list(items.items()))
        self._connection.execute("COMMIT")

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        query = "SELECT data FROM raw WHERE key=?"
        rows = (self._connection.execute(query, (key,)).fetchone() for key in keys)
        return [row[0] if row else None for row in rows]

    def close(self) -> None:
        self._connection.close()
        self._folder.cleanup()


def driver_of(url: str) -> Driver | None:
    """The driver alone, at the place that ``url`` names; None where there is none to compare to."""
    scheme, _, rest = url.partition("://")
    if scheme in ("redis", "rediss", "unix"):
        return RedisDriver(url)
    if scheme == "sqlite":
        return SQLiteDriver(Path(rest[1:]).expanduser().absolute().parent)
    return None
