"""How to connect, and where: what a pool of redis-py says, for both kinds of connections.

redis-py has each connection class twice, for threads and for asyncio, with nearly the same options.
A store takes either kind of client and can make connections of both, unless the client uses
something that only one kind has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import redis
import redis.asyncio
from redis.asyncio import sentinel as async_sentinel
from redis.sentinel import SentinelManagedConnection

Pool: TypeAlias = "redis.ConnectionPool | redis.asyncio.ConnectionPool"

_TCP = (redis.Connection, redis.asyncio.Connection)
_TLS = (redis.SSLConnection, redis.asyncio.SSLConnection)
_UNIX = (redis.UnixDomainSocketConnection, redis.asyncio.UnixDomainSocketConnection)
_PAIRS: dict[Any, tuple[Any, Any]] = {kind: pair for pair in (_TCP, _TLS, _UNIX) for kind in pair}
_MANAGED = (SentinelManagedConnection, async_sentinel.SentinelManagedConnection)

_REPLACED = {
    "retry", "retry_on_error", "retry_on_timeout", "health_check_interval", "socket_timeout",
    "socket_connect_timeout", "connection_pool", "himport_registry", "event_dispatcher",
    "cache", "cache_config", "response_callbacks",
}  # fmt: skip
_OF_THEIR_POOL = ("maint_notifications_", "oss_cluster_", "orig_")
_OF_ONE_KIND = {
    "command_packer", "encoder_class", "parser_class", "redis_connect_func", "ssl_validate_ocsp",
    "ssl_validate_ocsp_stapled", "ssl_ocsp_context", "ssl_ocsp_expected_cert",
}  # fmt: skip


class Settings:
    """How to connect. ``patience``: seconds of silence after which a server counts as dead.

    ``blocking`` and ``asyncio`` are the connection classes for threads and for event loops, None
    where the one that was given has no counterpart. Raises `ValueError` for a pool that decodes.
    """

    def __init__(
        self, kind: type[Any], options: Mapping[str, Any], limit: int | None, patience: float
    ) -> None:
        if options.get("decode_responses"):
            raise ValueError(
                "client was made with decode_responses=True and would damage tensors, which are "
                "bytes: make it with decode_responses=False"
            )
        self.options = {
            name: value
            for name, value in options.items()
            if name not in _REPLACED and not name.startswith(_OF_THEIR_POOL)
        }
        self.limit, self.patience = limit, patience
        of_asyncio = issubclass(kind, redis.asyncio.connection.AbstractConnection)
        pair: tuple[Any, Any]
        alone: tuple[Any, Any] = (None, kind) if of_asyncio else (kind, None)
        special = [name for name in _OF_ONE_KIND if self.options.get(name)]
        if issubclass(kind, _MANAGED):  # who the master is, is asked by us
            pair = _TLS if issubclass(kind, _TLS) else _TCP
        else:
            pair = _PAIRS.get(kind, alone)
        self.blocking: Any = pair[0]
        self.asyncio: Any = pair[1]
        if special:
            self.blocking, self.asyncio = (None, pair[1]) if of_asyncio else (pair[0], None)
        else:
            self.options = {n: v for n, v in self.options.items() if n not in _OF_ONE_KIND}

    @classmethod
    def of(cls, pool: Pool, patience: float) -> Settings:
        """Those of ``pool``, whose own ``socket_timeout`` counts if it is shorter."""
        options = pool.connection_kwargs
        timeout = options.get("socket_timeout")
        patience = min(patience, timeout) if timeout else patience
        return cls(pool.connection_class, options, pool.max_connections, patience)

    @property
    def is_tls(self) -> bool:
        """Whether connections are encrypted."""
        return issubclass(self.blocking or self.asyncio, _TLS)


class Place(NamedTuple):
    """A server: how to connect to it, and where if ``settings`` do not say it (host "")."""

    settings: Settings
    host: str = ""
    port: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """Those of a connection to this server."""
        where = {"host": self.host, "port": self.port} if self.host else {}
        return self.settings.options | where
