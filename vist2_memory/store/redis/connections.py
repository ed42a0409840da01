"""Connections of redis-py whose every wait ends with the deadline of the call.

redis-py limits each read of a socket, tries again by itself, and so can make one call last many
timeouts. Here a connection never tries again, and asks `vist2_memory.store.deadline` before each
read and write how long it may wait: a server that hangs, or sends a byte a second, ends in time.
"""

from __future__ import annotations

import functools
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from vist2_memory.store.deadline import remaining

CONNECT_TIMEOUT = 2.0
"""Seconds for a connection to be made, within the deadline."""

READ_BYTES = 2**18
"""How much is taken off a socket at once; tensors come by the megabyte."""

_REPLACED = {
    "retry", "retry_on_error", "retry_on_timeout", "health_check_interval", "socket_timeout",
    "socket_connect_timeout", "connection_pool", "himport_registry", "event_dispatcher",
    "cache", "cache_config",
}  # fmt: skip
_OF_THEIR_POOL = ("maint_notifications_", "oss_cluster_", "orig_")


class _TimedSocket:
    """``sock``, with ``patience``: the longest silence in seconds before it counts as dead."""

    def __init__(self, sock: Any, patience: float) -> None:
        self._sock, self._patience = sock, patience
        self._asked = patience

    def recv(self, *arguments: Any) -> bytes:
        return bytes(self._timed().recv(*arguments))

    def recv_into(self, *arguments: Any) -> int:
        return int(self._timed().recv_into(*arguments))

    def sendall(self, data: Any) -> None:
        self._timed().sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        """Wait shorter than that, if the client asks for it: 0 to see what is there already."""
        self._asked = self._patience if seconds is None else seconds

    def _timed(self) -> Any:
        self._sock.settimeout(min(self._asked, _allowed(self._patience)))
        return self._sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Timed:
    """Mixed into a connection class of redis-py."""

    def __init__(self, *, patience: float, **options: Any) -> None:
        self._patience = patience
        super().__init__(**options)

    def _connect(self) -> Any:
        self.socket_connect_timeout = _allowed(min(CONNECT_TIMEOUT, self._patience))
        self.socket_timeout = self.socket_connect_timeout  # for the TLS handshake
        sock = super()._connect()  # type: ignore[misc]
        self.socket_timeout = self._patience
        return _TimedSocket(sock, self._patience)


def timed_client(
    settings: redis.ConnectionPool, patience: float, host: str = "", port: int = 0
) -> redis.Redis:
    """A client of our own that connects as ``settings`` do, to ``host`` if one is given."""
    kind = settings.connection_class
    if issubclass(kind, SentinelManagedConnection):  # we ask Sentinel ourselves
        tls = issubclass(kind, SentinelManagedSSLConnection)
        kind = redis.SSLConnection if tls else redis.Connection
    if settings.connection_kwargs.get("decode_responses"):
        raise ValueError(
            "client was made with decode_responses=True and would damage tensors, which are "
            "bytes: make it with decode_responses=False"
        )
    options = {
        name: value
        for name, value in settings.connection_kwargs.items()
        if name not in _REPLACED and not name.startswith(_OF_THEIR_POOL)
    }
    if host:
        options |= {"host": host, "port": port}
    pool = redis.ConnectionPool(
        connection_class=_timed(kind),
        max_connections=settings.max_connections,
        retry=Retry(NoBackoff(), 0),
        patience=patience,
        **{"socket_read_size": READ_BYTES} | options,
    )
    return redis.Redis(connection_pool=pool)


@functools.cache
def _timed(kind: type[Any]) -> type[Any]:
    return type(f"Timed{kind.__name__}", (_Timed, kind), {})


def _allowed(patience: float) -> float:
    """Seconds to wait now; raises `TimeoutError` if the deadline has passed."""
    left = min(patience, remaining())
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left
