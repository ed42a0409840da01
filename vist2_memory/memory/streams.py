"""A blocking iterator as an asynchronous one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class _End:
    """Told apart from every value."""


def from_thread(make: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
    """Run ``make()`` in a thread of its own and give out what it yields.

    The iterator is advanced only when the next value is wanted, and closed when the consumer goes
    away, so that a cancelled stream stops its generation. Context variables are those of the call
    of this function.
    """
    return _steps(make, copy_context())


async def _steps(make: Callable[[], Iterator[T]], context: Context) -> AsyncGenerator[T, None]:
    loop = asyncio.get_running_loop()
    step: Callable[..., Any] = next
    thread = ThreadPoolExecutor(1, thread_name_prefix="vist2-stream")
    try:
        iterator = await loop.run_in_executor(thread, context.run, make)
        try:
            while True:
                value = await loop.run_in_executor(thread, context.run, step, iterator, _End)
                if value is _End:
                    return
                yield value
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                thread.submit(close)  # after the step that may still run
    finally:
        thread.shutdown(wait=False)  # never holds up the event loop
