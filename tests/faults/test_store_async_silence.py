"""A server that hangs never holds up the event loop, and costs each call one deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from vist2_memory.errors import StoreUnavailableError
from vist2_memory.store import Scope, open_async_store
from vist2_memory.types import Message

T = TypeVar("T")
SCOPE = Scope("n", "session", "s")
SAID = Message("user", "My cat is called Miso.", id="m1")
DEADLINE = 1.5
LATE = 5.0
"""What a crowded machine may add to a deadline."""
LARGE = {f"c{n}": b"x" * 2**20 for n in range(24)}
"""More than the buffers of a connection hold: sending it hangs too."""


@asynccontextmanager
async def ticking() -> AsyncIterator[list[float]]:
    """How long the event loop was busy with one thing, each time, in seconds."""
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            gaps.append(time.monotonic() - began)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    yield gaps
    ticker.cancel()


@pytest.mark.parametrize("what", ["read", "large put", "many"])
async def test_the_event_loop_goes_on_while_a_server_hangs(what: str, redis_server: Any) -> None:
    async with await open_async_store(f"{redis_server.url}?deadline={DEADLINE}") as store:
        await store.append(SCOPE, [SAID])
        redis_server.pause()
        async with ticking() as gaps:
            began = time.monotonic()
            calls = {
                "read": lambda: [store.read(SCOPE)],
                "large put": lambda: [store.put_many(SCOPE, "f", LARGE)],
                "many": lambda: [store.count(SCOPE) for _ in range(500)],
            }
            ended = await asyncio.gather(*calls[what](), return_exceptions=True)
            took = time.monotonic() - began
        assert all(isinstance(error, StoreUnavailableError) for error in ended)
        assert DEADLINE / 2 < took < DEADLINE + LATE
        assert len(gaps) > 5  # a call that blocked would hold up the first one until it ended
        redis_server.resume()
        assert await again(lambda: store.read(SCOPE)) == [SAID]
        tensors = await again(lambda: store.get_many(SCOPE, "f", list(LARGE)))
        assert set(tensors) <= {None, LARGE["c0"]}


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """What ``call`` returns, once the breaker has closed."""
    end = time.monotonic() + 20
    while True:
        try:
            return await call()
        except StoreUnavailableError as error:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(error.retry_after or 0.01)


async def test_a_dead_server_is_known_to_threads_and_event_loops_alike(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocks(seconds: float) -> None:
        raise AssertionError(f"the event loop was to wait {seconds} s")

    async with await open_async_store(f"{redis_server.url}?deadline={DEADLINE}") as store:
        blocking = store.synchronous()
        redis_server.kill()
        with monkeypatch.context() as patch:
            patch.setattr(time, "sleep", blocks)  # between one attempt and the next
            with pytest.raises(StoreUnavailableError, match="cannot be reached"):
                await store.read(SCOPE)
        with pytest.raises(StoreUnavailableError, match="tried again in") as caught:
            blocking.read(SCOPE)
        assert caught.value.retry_after is not None
        redis_server.start()
        assert await again(lambda: store.read(SCOPE)) == []
        assert blocking.count(SCOPE) == 0
