"""A circuit breaker: a server that is down costs one deadline, not one for each call.

After a failure calls are refused at once for a while (*open*). Then one call is let through to try
(*half-open*): if it is answered, all are again (*closed*); if not, the next while is twice as long.
The time is drawn at random from its upper half, so that clients do not come back all at once.
The pattern is Michael Nygard's (Release It!, 2007). It knows nothing of what it guards.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vist2_memory.errors import StoreUnavailableError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds that a breaker stays open after the first failure, and at most."""


class Breaker:
    """Guards the calls to one server, which messages call ``name``. Safe with several threads."""

    def __init__(
        self,
        name: str,
        *,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._name = name
        self._first, self._longest = first_pause, longest_pause
        self._clock, self._draw = clock, draw
        self._lock = threading.Lock()
        self._failures = 0  # in a row; 0: closed
        self._until = 0.0
        self._trying = False
        self._reason = ""

    @property
    def open_for(self) -> float:
        """Seconds for which calls are still refused; 0 when one may try."""
        with self._lock:
            return max(0.0, self._until - self._clock()) if self._failures else 0.0

    @contextmanager
    def guard(self, failed: Callable[[Exception], bool]) -> Iterator[None]:
        """Around one call; ``failed`` says which exceptions mean that nobody answered.

        Raises `StoreUnavailableError` at once while the breaker is open.
        """
        trial = self._enter()
        try:
            yield
        except Exception as error:
            if failed(error):
                self._open(error, trial)
            else:
                self._close()
            raise
        except BaseException:  # interrupted: that says nothing about the server
            if trial:
                self._trying = False
            raise
        self._close()

    def _enter(self) -> bool:
        """Whether this call is the one that tries; raises if it may not go on."""
        with self._lock:
            if not self._failures:
                return False
            left = self._until - self._clock()
            if left <= 0 and not self._trying:
                self._trying = True
                return True
            when = f"in {left:.1f} s" if left > 0 else "by another call just now"
            raise StoreUnavailableError(
                f"{self._name} cannot be reached and is tried again {when}: {self._reason}",
                retry_after=max(0.0, left),
            )

    def _open(self, error: Exception, trial: bool) -> None:
        with self._lock:
            if self._failures and not trial:
                return  # of several calls that failed at the same time, the first counts
            self._failures += 1
            pause = min(self._longest, self._first * 2.0 ** min(self._failures - 1, 30))
            self._until = self._clock() + self._draw(pause / 2, pause)
            self._trying = False
            self._reason = str(error)

    def _close(self) -> None:
        with self._lock:
            self._failures, self._trying = 0, False
