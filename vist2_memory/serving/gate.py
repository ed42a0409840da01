"""Who may come in now: rates, requests at once, and the queue before the model."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from vist2_memory.serving.keys import Key


class BusyError(Exception):
    """There is no room now; ``retry_after``: seconds until there may be."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Gate:
    """Lets requests in, each key within its bounds, and so many at once to the model."""

    def __init__(self, concurrency: int, queue: int) -> None:
        self._room = asyncio.Semaphore(concurrency)
        self._concurrency, self._queue = concurrency, queue
        self._rates = MovingWindowRateLimiter(MemoryStorage())
        self._inside: Counter[str] = Counter()
        self.waiting = 0
        """Requests that wait for the model."""
        self.running = 0
        """Answers that are generated now."""
        self._took_s = 1.0  # what an answer took of late

    @asynccontextmanager
    async def request(self, key: Key) -> AsyncIterator[None]:
        """A request of ``key``; raises ``BusyError`` beyond its rate or its requests at once."""
        item = parse(key.rate)
        if not await self._rates.hit(item, key.id):
            stats = await self._rates.get_window_stats(item, key.id)
            raise BusyError(
                f"more requests than {key.rate} with this key",
                max(1.0, stats.reset_time - time.time()),
            )
        if self._inside[key.id] >= key.concurrent:
            raise BusyError(
                f"this key has {key.concurrent} requests in progress, as many as it may",
                self._expected(),
            )
        self._inside[key.id] += 1
        try:
            yield
        finally:
            self._inside[key.id] -= 1
            if not self._inside[key.id]:
                del self._inside[key.id]

    @asynccontextmanager
    async def answer(self) -> AsyncIterator[float]:
        """A turn at the model; gives the seconds waited. Raises ``BusyError`` for a full queue."""
        if self.waiting >= self._queue and self._room.locked():
            raise BusyError(f"{self.waiting} requests wait for the model already", self._expected())
        began = time.monotonic()
        self.waiting += 1
        try:
            await self._room.acquire()
        finally:
            self.waiting -= 1
        admitted = time.monotonic()
        self.running += 1
        try:
            yield admitted - began
        finally:
            self.running -= 1
            self._room.release()
            self._took_s += 0.1 * (time.monotonic() - admitted - self._took_s)

    def _expected(self) -> float:
        """Seconds until a place is likely to be free."""
        turns = (self.waiting + self._concurrency) / self._concurrency
        return min(60.0, max(1.0, turns * self._took_s))
