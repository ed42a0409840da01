"""The store's input and output in the calling thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import redis

from vist2_memory.store.redis.connections import timed_client
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


class Wire:
    """Connections to all servers of a store. Safe with several threads."""

    def __init__(self) -> None:
        self._clients: dict[Place, redis.Redis] = {}
        self._lock = threading.Lock()

    def run(self, steps: Steps[T]) -> T:
        """Do what ``steps`` ask for, one after another; what they return."""
        try:
            request = next(steps)
            while True:
                try:
                    reply = self._do(request)
                except BaseException as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            clients = list(self._clients.values())
        for client in clients:
            client.connection_pool.disconnect()

    def _do(self, request: Request) -> Any:
        if isinstance(request, Exchange):
            return exchange(self._client(request.place), request.commands)
        if isinstance(request, Compute):
            return request.function()
        if isinstance(request, Sleep):
            time.sleep(request.seconds)
            return None
        with self._lock:
            clients = list(self._clients.values())
        for client in clients:
            client.connection_pool.disconnect(inuse_connections=False)
        return None

    def _client(self, place: Place) -> redis.Redis:
        client = self._clients.get(place)
        if client is None:
            with self._lock:
                client = self._clients.setdefault(place, timed_client(place))
        return client


def exchange(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """The replies to ``commands``, sent in one round trip; errors of the server are among them."""
    with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        return list(pipe.execute(raise_on_error=False))
