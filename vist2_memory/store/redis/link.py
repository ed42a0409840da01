"""The one place where commands pass to Redis: deadline, circuit breaker, redirects, trying again.

Trying again is safe because everything that the store writes may be written twice: messages are
told apart by their ids, a tensor is put over itself. A server that is away is asked again, with
growing pauses, until the deadline of the call; that is long enough for a restart or a fail-over
that is quick, and what is not back by then opens the breaker.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ExecAbortError,
    MaxConnectionsError,
    MovedError,
    ReadOnlyError,
    TryAgainError,
)

from vist2_memory.errors import StoreFormatError, StoreUnavailableError
from vist2_memory.store.breaker import Breaker
from vist2_memory.store.deadline import deadline, remaining
from vist2_memory.store.redis.places import Place
from vist2_memory.store.redis.requests import Command, Exchange, Sleep, Steps
from vist2_memory.store.redis.servers import Servers

_AWAY = (redis.ConnectionError, redis.TimeoutError, TimeoutError, ClusterDownError)
"""Nobody is there who could answer."""
_PASSING = (*_AWAY, TryAgainError, ReadOnlyError)
"""What may be over in a moment; `TryAgainError`: keys that are just being moved."""


class Link:
    """To ``servers``, with ``seconds`` for each call. Threads and event loops share one.

    ``closed``: no call goes on.
    """

    def __init__(self, servers: Servers, seconds: float) -> None:
        self._servers, self._seconds = servers, seconds
        self._breakers: dict[str, Breaker] = {}
        self.closed = False

    def check(self) -> Steps[None]:
        """Raise unless the servers answer now; one that still loads its data is waited for."""
        with deadline(self._seconds), self._translated():
            for pause in _pauses():
                try:
                    yield from self._once("", [("PING",)], transaction=False)
                    return
                except BusyLoadingError:
                    if remaining() <= pause:
                        raise
                    yield Sleep(pause)

    def run(self, key: str, *commands: Command, transaction: bool = False) -> Steps[list[Any]]:
        """The replies to ``commands``, all about keys in the slot of ``key``, in one round trip.

        ``transaction``: all are done or none, and nothing comes in between.
        """
        with deadline(self._seconds), self._translated():
            name = self._servers.name(key)
            breaker = self._breakers.setdefault(name, Breaker(f"Redis at {name}"))
            with breaker.guard(_opens):
                return (yield from self._until_settled(key, commands, transaction))

    def gather(self, keyed: Sequence[tuple[str, Command]]) -> Steps[list[Any]]:
        """The reply to each command about its key, in one round trip to each server."""
        by_server: dict[str, list[int]] = {}
        for place, (key, _) in enumerate(keyed):
            by_server.setdefault(self._servers.name(key), []).append(place)
        replies: list[Any] = [None] * len(keyed)
        for places in by_server.values():
            commands = (keyed[place][1] for place in places)
            found = yield from self.run(keyed[places[0]][0], *commands)
            for place, reply in zip(places, found, strict=True):
                replies[place] = reply
        return replies

    def script(
        self, script: str, keys: Sequence[str], arguments: Sequence[Any], *, replicas: int = 0
    ) -> Steps[Any]:
        """What the script returns, once ``replicas`` copies of the server have what it wrote."""
        call = (len(keys), *keys, *arguments)
        if not replicas:
            digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
            try:
                return (yield from self.run(keys[0], ("EVALSHA", digest, *call)))[0]
            except StoreUnavailableError as error:
                if not isinstance(error.__cause__, redis.exceptions.NoScriptError):
                    raise
            return (yield from self.run(keys[0], ("EVAL", script, *call)))[0]
        with deadline(self._seconds):
            # The server waits for half of what is left: then its answer still comes in time.
            wait = ("WAIT", replicas, max(1, int(remaining() * 500)))
            found, copies = yield from self.run(keys[0], ("EVAL", script, *call), wait)
        if copies < replicas:
            raise StoreUnavailableError(
                f"{self._servers.describe()}: {copies} of {replicas} replicas confirmed in time; "
                "a fail-over may lose what was written. Try again: nothing is written twice."
            )
        return found

    def describe(self) -> str:
        """The URL without user and password, and which servers are left alone for how long."""
        where, pause = self._servers.describe(), self._pause()
        return f"{where} (not reached; tried again in {pause:.1f} s)" if pause else where

    @property
    def identity(self) -> str:
        """The URL without user and password."""
        return self._servers.describe()

    # Within

    def _pause(self) -> float:
        """The longest time for which one of the servers is still left alone; 0 for none."""
        return max((breaker.open_for for breaker in list(self._breakers.values())), default=0.0)

    def _until_settled(
        self, key: str, commands: Sequence[Command], transaction: bool
    ) -> Steps[list[Any]]:
        for pause in _pauses():
            try:
                return (yield from self._once(key, commands, transaction))
            except _PASSING as error:
                if isinstance(error, AuthenticationError) or remaining() <= pause:
                    raise
                yield from self._servers.doubt()
                yield Sleep(pause)
        raise AssertionError("the pauses never end")

    def _once(self, key: str, commands: Sequence[Command], transaction: bool) -> Steps[list[Any]]:
        place = yield from self._servers.find(key)
        if transaction:
            return (yield from self._all_or_none(place, commands))
        replies = yield Exchange(place, commands)
        for number, reply in enumerate(replies):
            if isinstance(reply, AskError):
                # One by one: of keys that are being moved, some are there already and some not.
                asking, there = yield from self._follow(reply)
                [*_, replies[number]] = yield Exchange(there, [*asking, commands[number]])
        return _raised(replies)

    def _all_or_none(self, place: Place, commands: Sequence[Command]) -> Steps[list[Any]]:
        within = [("MULTI",), *commands, ("EXEC",)]
        replies = yield Exchange(place, within)
        redirect = next((reply for reply in replies if isinstance(reply, AskError)), None)
        if redirect is not None:  # then nothing was done
            asking, there = yield from self._follow(redirect)
            replies = yield Exchange(there, [*asking, *within])
        if isinstance(replies[-1], ExecAbortError):
            _raised(replies)
        return _raised(_raised(replies)[-1])

    def _follow(self, error: AskError) -> Steps[tuple[list[Command], Place]]:
        """Where a server sends on to, and what is to be said there first."""
        moved = isinstance(error, MovedError)
        if moved:
            yield from self._servers.doubt()
        there = self._servers.at((error.host, error.port))
        return ([] if moved else [("ASKING",)]), there

    @contextmanager
    def _translated(self) -> Iterator[None]:
        where = self._servers.describe()
        if self.closed:
            raise StoreUnavailableError(f"{where} was closed: open it again")
        try:
            yield
        except _AWAY as error:
            late = f" within {self._seconds:g} s" if remaining() <= 0 else ""
            pause = self._pause()
            then = f"; it is left alone for {pause:.1f} s" if pause else ""
            raise StoreUnavailableError(
                f"Redis at {where} cannot be reached{late}: {error}{then}",
                retry_after=pause or None,
            ) from error
        except redis.RedisError as error:
            if "WRONGTYPE" in str(error):
                raise StoreFormatError(
                    f"Redis at {where}: a key of ours holds something else"
                ) from error
            raise StoreUnavailableError(f"Redis at {where} refused: {str(error)[-200:]}") from error


def _opens(error: Exception) -> bool:
    """Whether a server that raised this at the end of a call is left alone for a while."""
    return isinstance(error, _AWAY) and not isinstance(
        error, (AuthenticationError, MaxConnectionsError)
    )


def _raised(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _pauses() -> Iterator[float]:
    pause = 0.02
    while True:
        yield random.uniform(pause / 2, pause)
        pause = min(0.5, 2 * pause)
