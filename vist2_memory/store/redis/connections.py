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

from vist2_memory.store.deadline import remaining
from vist2_memory.store.redis.places import Place

CONNECT_TIMEOUT = 2.0
"""Seconds for a connection to be made, within the deadline."""


READ_BYTES = 2**18
"""How much is taken off a socket at once; tensors come by the megabyte."""


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


def timed_client(place: Place) -> redis.Redis:
    """A client of our own that connects to ``place``."""
    pool = redis.ConnectionPool(
        connection_class=_timed(place.settings.blocking),
        max_connections=place.settings.limit,
        retry=Retry(NoBackoff(), 0),
        patience=place.settings.patience,
        **{"socket_read_size": READ_BYTES} | place.options,
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
