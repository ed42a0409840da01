"""The store's input and output on event loops, without threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio

from vist2_memory.store.deadline import remaining
from vist2_memory.store.redis.async_connections import TimedPool, timed_pool
from vist2_memory.store.redis.places import Place
from vist2_memory.store.redis.requests import (
    Command,
    Compute,
    Exchange,
    Request,
    Sleep,
    Steps,
)

T = TypeVar("T")

CONNECTIONS = 32
"""Connections to one server from one event loop, at most; who finds all busy waits its turn."""
AT_ONCE = 1000
"""Messages that are read out of their JSON on the event loop, some 10 ms; more are in a thread."""


class AsyncWire:
    """Connections to all servers of a store, of one event loop."""

    def __init__(self) -> None:
        self._clients: dict[Place, tuple[redis.asyncio.Redis, asyncio.Semaphore]] = {}

    async def run(self, steps: Steps[T]) -> T:
        """Do what ``steps`` ask for, one after another; what they return."""
        try:
            request = next(steps)
            while True:
                try:
                    reply = await self._do(request)
                except BaseException as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    async def close(self) -> None:
        """Close all connections; calls that are under way fail."""
        clients, self._clients = self._clients, {}
        for client, _ in clients.values():
            await _pool(client).end()

    async def _do(self, request: Request) -> Any:
        if isinstance(request, Exchange):
            return await self._exchange(request.place, request.commands)
        if isinstance(request, Compute):
            if request.items < AT_ONCE:
                return request.function()
            return await asyncio.to_thread(request.function)
        if isinstance(request, Sleep):
            await asyncio.sleep(request.seconds)
            return None
        for client, _ in list(self._clients.values()):
            await _pool(client).drop_idle()
        return None

    async def _exchange(self, place: Place, commands: Sequence[Command]) -> list[Any]:
        if place not in self._clients:
            client = redis.asyncio.Redis(connection_pool=timed_pool(place))
            limit = min(CONNECTIONS, place.settings.limit or CONNECTIONS)
            self._clients[place] = client, asyncio.Semaphore(limit)
        client, free = self._clients[place]
        left, waiting = remaining(), True
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        try:
            async with asyncio.timeout(left if left < 1e9 else None), free:
                waiting = False
                async with client.pipeline(transaction=False) as pipe:
                    for command in commands:
                        pipe.execute_command(*command)
                    return list(await pipe.execute(raise_on_error=False))
        except TimeoutError:
            if waiting:  # says nothing about the server
                raise redis.exceptions.MaxConnectionsError(
                    "all connections of this event loop were busy until the deadline"
                ) from None
            raise TimeoutError("the deadline has passed") from None


class AsyncWires:
    """One wire for each event loop that the store is used from.

    A loop that ends as `asyncio.run` ends it closes its wire's connections first: the wire is held
    by an asynchronous generator of the loop, and a loop closes those when it shuts down.
    """

    def __init__(self) -> None:
        self._wires: dict[asyncio.AbstractEventLoop, tuple[AsyncWire, AsyncGenerator[None, None]]]
        self._wires = {}
        self._lock = threading.Lock()

    async def here(self) -> AsyncWire:
        """The wire of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._wires:
            wire = AsyncWire()
            held = self._held(loop, wire)
            with self._lock:
                for ended in [other for other in self._wires if other.is_closed()]:
                    del self._wires[ended]
                self._wires[loop] = wire, held
            await anext(held)
        return self._wires[loop][0]

    async def close(self) -> None:
        """Close the connections of the running loop, and let other loops close theirs."""
        self.close_from_outside(asyncio.get_running_loop())
        here = self._wires.get(asyncio.get_running_loop())
        if here is not None:
            await here[1].aclose()

    def close_from_outside(self, but: asyncio.AbstractEventLoop | None = None) -> None:
        """Let each loop that runs, ``but`` one, close its connections; the rest do as they end."""
        with self._lock:
            wires = list(self._wires.items())
        for loop, (_, held) in wires:
            if loop is not but and loop.is_running():
                asyncio.run_coroutine_threadsafe(held.aclose(), loop)

    async def _held(
        self, loop: asyncio.AbstractEventLoop, wire: AsyncWire
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                self._wires.pop(loop, None)
            await wire.close()


def _pool(client: redis.asyncio.Redis) -> TimedPool:
    pool = client.connection_pool
    assert isinstance(pool, TimedPool)
    return pool
