"""Connections of redis-py's asyncio side, under the same rules as those in `connections`.

None tries again by itself. The deadline of a call is kept around the whole exchange by
`async_wire`; here is kept how long a server may be silent. A connection that is given up in the
middle of anything is cut off, so that no later call can read an answer that was meant for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from vist2_memory.store.redis.connections import CONNECT_TIMEOUT, READ_BYTES
from vist2_memory.store.redis.places import Place


class _TimedReader:
    """``stream``, with ``patience``: the longest silence in seconds before it counts as dead."""

    def __init__(self, stream: asyncio.StreamReader, patience: float) -> None:
        self._timed_stream, self._patience = stream, patience

    async def read(self, size: int = -1) -> bytes:
        async with asyncio.timeout(self._patience):
            return await self._timed_stream.read(size)

    async def readexactly(self, size: int) -> bytes:
        async with asyncio.timeout(self._patience):
            return await self._timed_stream.readexactly(size)

    async def readline(self) -> bytes:
        async with asyncio.timeout(self._patience):
            return await self._timed_stream.readline()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._timed_stream, name)


class _Timed:
    """Mixed into a connection class of redis-py."""

    _reader: Any
    _writer: Any
    ssl_context: Any

    def __init__(self, *, patience: float, shared: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self._patience = patience
        if hasattr(self, "ssl_context"):  # reading certificates takes long: once for all
            self.ssl_context = shared.setdefault("ssl_context", self.ssl_context)

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[misc]
        self._reader = _TimedReader(self._reader, self._patience)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        sending = super().send_packed_command(command, check_health)  # type: ignore[misc]
        try:
            async with asyncio.timeout(self._patience):
                await sending
        except TimeoutError:
            raise redis.TimeoutError("Timeout writing to socket") from None

    async def disconnect(self, nowait: bool = False, **options: Any) -> None:
        if nowait:
            self.cut_off()
        await super().disconnect(nowait=nowait, **options)  # type: ignore[misc]

    def cut_off(self) -> None:
        """End the connection now, whatever is still to be sent or read."""
        if self._writer is not None:
            self._writer.transport.abort()


class TimedPool(redis.asyncio.ConnectionPool):
    """Connections of our own to one server."""

    async def drop_idle(self) -> None:
        """Close those that nobody uses; redis-py would leave them where others take them."""
        idle, self._available_connections = self._available_connections, []
        for connection in idle:
            await connection.disconnect(nowait=True)

    async def end(self) -> None:
        """Close all; a call that is under way fails."""
        in_use: list[Any] = list(self._in_use_connections)
        for connection in in_use:
            connection.cut_off()
        idle, self._available_connections = self._available_connections, []
        for connection in idle:
            with contextlib.suppress(redis.RedisError, OSError):  # it is of no use any more
                await connection.disconnect()


def timed_pool(place: Place) -> TimedPool:
    """Connections of our own to ``place``, on the event loop that runs."""
    return TimedPool(
        connection_class=_timed(place.settings.asyncio),
        max_connections=place.settings.limit,
        retry=Retry(NoBackoff(), 0),
        patience=place.settings.patience,
        shared={},
        socket_timeout=None,
        socket_connect_timeout=min(CONNECT_TIMEOUT, place.settings.patience),
        **{"socket_read_size": READ_BYTES} | place.options,
    )


@functools.cache
def _timed(kind: type[Any]) -> type[Any]:
    return type(f"Timed{kind.__name__}", (_Timed, kind), {})
