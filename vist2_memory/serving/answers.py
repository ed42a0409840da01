"""What the last answer of each session was read from, for whoever looks at memory.

Kept in this process alone, for a while; the log holds what was said, not what was read to say it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace

from vist2_memory.memory.answering import FROM_THE_LOG
from vist2_memory.types import Finished

CHUNKS_KEPT = 10_000
"""Of all answers that are kept, together."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a request said of what is to be read; ``pins``: how many."""

    selection: str | None = None
    include: tuple[str, ...] = ()
    pins: int = 0
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer without its text. ``at``: seconds since the epoch."""

    turn: str
    end: Finished
    reading: Reading
    at: float


class LastAnswers:
    """By session; the oldest go when they are too many."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Answered] = OrderedDict()
        self._chunks = 0

    def note(self, session: str, turn: str, end: Finished, reading: Reading) -> None:
        """``turn`` of ``session`` was answered; what was given out once more changes nothing."""
        if FROM_THE_LOG in end.degraded:
            return
        self.forget(session)
        self._known[session] = Answered(turn, replace(end, text="", calls=()), reading, time.time())
        self._chunks += len(end.chunks)
        while self._chunks > CHUNKS_KEPT and len(self._known) > 1:
            self.forget(next(iter(self._known)))

    def of(self, session: str) -> Answered | None:
        """The last answer of ``session``, if it was given here and not too long ago."""
        return self._known.get(session)

    def forget(self, session: str) -> None:
        """``session`` was deleted."""
        known = self._known.pop(session, None)
        if known is not None:
            self._chunks -= len(known.end.chunks)
