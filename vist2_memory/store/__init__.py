"""Where memory is kept: `open_store` opens a store by its URL.

============================  ==================================================================
``memory://``                 a dictionary in this process
``sqlite:///memory.db``       a file, relative to the working directory; its folder must exist
``sqlite:////var/lib/m.db``   a file by its absolute path (``sqlite:///~/m.db``: in the home folder)
``redis://host:6379/0``       a Redis server; ``rediss://`` over TLS, ``unix:///path/to/socket``
``redis+sentinel://``         the master that Sentinel names: ``host:26379,host2:26379/mymaster/0``
``redis+cluster://``          a Redis Cluster: ``host:6379,host2:6379``
============================  ==================================================================

A path is taken as it is written, without percent-decoding. More on Redis URLs and their options:
`vist2_memory.store.redis.urls`.
"""

from __future__ import annotations

import asyncio

from vist2_memory.errors import StoreURLError
from vist2_memory.store.asynchronous import AsyncStore, asynchronous
from vist2_memory.store.base import (
    Deleted,
    Kind,
    MemoryStore,
    Quota,
    Scope,
    ScopeInfo,
    Snapshot,
    Store,
    StoreUsage,
    TokenStore,
)
from vist2_memory.store.joined import JoinedStore
from vist2_memory.store.memory import InMemoryStore

__all__ = [
    "AsyncStore",
    "Deleted",
    "InMemoryStore",
    "JoinedStore",
    "Kind",
    "MemoryStore",
    "Quota",
    "Scope",
    "ScopeInfo",
    "Snapshot",
    "Store",
    "StoreUsage",
    "TokenStore",
    "open_async_store",
    "open_store",
]

_REDIS = ("redis", "rediss", "unix")
_MANY = tuple(f"{scheme}+{kind}" for scheme in _REDIS[:2] for kind in ("sentinel", "cluster"))
_SCHEMES = "memory://, sqlite:///file.db, redis://, rediss://, unix://, redis+sentinel://, redis+cluster://"


def open_store(url: str, *, ttl: int | None = None, away: bool = False) -> Store:
    """The store at ``url``, ready to use. ``ttl``: seconds after its last use that a scope is kept.

    ``away``: a server that does not answer now is only warned of (`StoreWarning`).

    Raises `StoreURLError` for a URL that names no store, `StoreUnavailableError` if it cannot be
    reached, opened or written, `StoreFormatError` if it is a file of another program, and
    `ValueError` for a ``ttl`` that is not a positive number of whole seconds.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise StoreURLError(
            f"a store URL has a scheme ({_SCHEMES}); for a file write sqlite:///path/to/memory.db"
        )
    if scheme == "memory":
        if rest:
            raise StoreURLError("memory:// takes no name: it is a store of this process alone")
        return InMemoryStore(ttl=ttl)
    if scheme == "sqlite":
        from vist2_memory.store.sqlite import SQLiteStore

        return SQLiteStore(_sqlite_path(rest), ttl=ttl)
    if scheme in (*_REDIS, *_MANY):
        from vist2_memory.store.redis import RedisStore

        return RedisStore.from_url(f"{scheme}://{rest}", ttl=ttl, away=away)
    raise StoreURLError(f"unknown store scheme {scheme!r}: one of {_SCHEMES}")


async def open_async_store(url: str, *, ttl: int | None = None) -> AsyncStore:
    """The store at ``url`` for event loops; all else as `open_store`.

    Redis is asked without threads. A SQLite file is read and written in threads: its library waits.
    """
    if url.partition("://")[0].lower() in (*_REDIS, *_MANY):
        from vist2_memory.store.redis import AsyncRedisStore

        return await AsyncRedisStore.from_url(_lowered(url), ttl=ttl)
    return asynchronous(await asyncio.to_thread(open_store, url, ttl=ttl))


def _lowered(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return scheme.lower() + separator + rest


def _sqlite_path(rest: str) -> str:
    """The path in ``/relative.db`` or ``//absolute.db``, which is what follows ``sqlite://``."""
    path = rest[1:]
    if not rest.startswith("/") or not path:
        raise StoreURLError(
            "a SQLite URL is sqlite:///relative.db or sqlite:////absolute/path.db (three or four "
            f"slashes), not sqlite://{rest}"
        )
    if path == ":memory:":
        raise StoreURLError("sqlite:///:memory: would forget everything: write memory://")
    if "?" in path:
        raise StoreURLError(f"a SQLite URL takes no options: sqlite://{rest}")
    return path
