"""Time to the first token: of a history as text, and of the same history as visual tokens.

Cold: nothing is cached, so it is drawn, encoded and stored too. Warm: visual tokens are read from
the store and checked. With prefix reuse: the next turn of a conversation whose keys and values are
still held. Text is read cold, and with its own prefix cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from transformers import Cache

from vist2_memory.benchmark.speed_limits import peak_bytes
from vist2_memory.benchmark.speed_models import History, question
from vist2_memory.benchmark.speed_text import TextTwin, length, set_length
from vist2_memory.benchmark.turns import Timings, in_turns, timed
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.memory.recollection import recollect
from vist2_memory.store import Scope, Store
from vist2_memory.tracing import Ended, watching
from vist2_memory.types import Context, Finished, GenerationParams, VisualTokens

ANSWER = 4
"""Tokens of an answer, where only its first one is looked at."""
TEXT, COLD, WARM, PREFIX = "text", "cold", "warm", "prefix"


@dataclass
class Stages:
    """An observer that sums up the seconds of spans, by their names."""

    seconds: dict[str, float] = field(default_factory=dict)

    def __call__(self, name: str, attributes: Mapping[str, Any]) -> Ended:
        stage = "read" if name == "store" and "wanted" in attributes else name
        started = time.perf_counter()

        def ended(error: BaseException | None, outcome: Mapping[str, Any]) -> None:
            passed = time.perf_counter() - started
            self.seconds[stage] = self.seconds.get(stage, 0.0) + passed

        return ended


@dataclass
class FirstTokens:
    """Both sides before the same history, and what was measured of them."""

    engine: TorchEngine
    twin: TextTwin
    history: History
    store: Store
    scope: Scope
    ids: list[int]
    """The history as the text twin reads it."""
    stages: list[dict[str, float]] = field(default_factory=list)
    """Of each cold start: the seconds of its spans."""
    reads: list[float] = field(default_factory=list)
    """Seconds of reading from the store, of each warm start."""
    reused: list[int] = field(default_factory=list)
    """Tokens whose keys and values were held already, of each next turn."""
    new: list[int] = field(default_factory=lambda: [0] * 20)
    """Tokens that the last next turn had to read; the text twin reads as many."""
    peaks: dict[str, int | None] = field(default_factory=dict)
    """Bytes that each way took at most, beside what was held before."""
    held: Cache | None = None
    """The text twin's cache of the history."""
    _numbers: Any = field(default_factory=lambda: count(1))

    def measure(self, repeats: int, ways: Sequence[str], done: Callable[[], None]) -> Timings:
        """Seconds to the first token, of ``ways`` in turns."""
        every = {TEXT: self.text, COLD: self.cold, WARM: self.warm, PREFIX: self.prefix}
        return in_turns({name: every[name] for name in ways}, repeats, done)

    def peaked(self, name: str, work: Callable[[], float]) -> float:
        """What ``work`` gives; the first time, with the memory that it takes noted."""
        if name in self.peaks:
            return work()
        given = list[float]()
        self.peaks[name] = peak_bytes(lambda: given.append(work()), self.twin.device)
        return given[0]

    def text(self) -> float:
        """Text, of which nothing is cached."""

        def read() -> None:
            self.held, _ = self.twin.prefill(self.ids)

        self.held = None
        return self.peaked(TEXT, lambda: timed(read, self.twin.device))

    def text_held(self) -> Cache:
        """The text twin's cache of the history, read now if it was not yet."""
        if self.held is None:
            self.text()
        assert self.held is not None
        return self.held

    def text_prefix(self, held: Cache) -> float:
        """The next turn as text, behind the prefix cache ``held``, which is left as it was."""
        kept, new = length(held), self.new
        try:
            return timed(lambda: self.twin.prefill(new, held), self.twin.device)
        finally:
            set_length(held, kept)

    def cold(self) -> float:
        """Drawing, encoding, storing and prefill."""
        return self.peaked(COLD, self._cold)

    def warm(self) -> float:
        """Visual tokens out of the store, and prefill."""
        return self.peaked(WARM, self._warm)

    def _cold(self) -> float:
        ids = [chunk.id for chunk in self.history.chunks]
        self.store.drop_many(self.scope, self.engine.spec.fingerprint, ids)
        stages = Stages()
        start = time.perf_counter()
        with watching(stages):
            visual = self.recollect()
            first, _ = self._first(visual, self.history.tail, self._unheard())
        self.stages.append(stages.seconds)
        return first - start

    def _warm(self) -> float:
        start = time.perf_counter()
        visual = self.recollect()
        self.reads.append(time.perf_counter() - start)
        first, _ = self._first(visual, self.history.tail, self._unheard())
        return first - start

    def prefix(self) -> float:
        """The next turn, after one whose keys and values the engine may have kept."""
        visual = self.recollect()
        _, before = self._first(visual, self.history.tail, "prefix")
        tail = self.history.tail + before.text + question(next(self._numbers))
        start = time.perf_counter()
        first, end = self._first(visual, tail, "prefix")
        self.reused.append(end.usage.reused_tokens)
        known = max(0, end.usage.reused_tokens - sum(map(len, visual)))
        self.new = self.engine.processor.tokenizer.encode(tail)[known:]
        return first - start

    def recollect(self) -> tuple[VisualTokens, ...]:
        """The history's visual tokens, from the store or encoded."""
        return recollect(self.store, self.engine, self.scope, self.history.chunks).visual

    def _unheard(self) -> str:
        """A salt that nothing was kept under."""
        return f"{next(self._numbers)}"

    def _first(
        self, visual: tuple[VisualTokens, ...], tail: str, salt: str
    ) -> tuple[float, Finished]:
        """When the first token of an answer came, and the answer's end."""
        context = Context("", visual, tail, self.history.chunks, cache_salt=salt)
        events = self.engine.generate(context, GenerationParams(max_tokens=ANSWER))
        next(events)
        first = time.perf_counter()
        *_, end = events
        assert isinstance(end, Finished)
        return first, end
