"""How long a call may take as a whole: every wait within it asks here what is left.

The end is kept in a context variable, so that it reaches sockets deep inside a client library
without being passed through it, and each thread and task has its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_end: ContextVar[float] = ContextVar("end", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Waits inside end after ``seconds``, or with the deadline around it if that is sooner."""
    token = _end.set(min(_end.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(token)


def remaining() -> float:
    """Seconds until the deadline, negative after it, infinite without one."""
    return _end.get() - time.monotonic()
