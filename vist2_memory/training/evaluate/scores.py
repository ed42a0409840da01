"""Scores, and how sure they are: edit distance, shares, intervals of 95%.

Knows no model. What is drawn together is not independent: the questions of one conversation share
its memory, the characters of one chunk its sketch. So intervals come from a bootstrap over clusters
(conversations, chunks, passages), never over single questions or characters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from vist2_memory.types import Chunk

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number done and the number in all."""
Part: TypeAlias = tuple[float, float]
"""What one cluster adds to a ratio: its numerator and its denominator."""
Interval: TypeAlias = tuple[float, float]

RESAMPLES = 2000
_Z = 1.959963984540054  # of the normal distribution, for 95%


def silent(done: int, of: int) -> None:
    """No progress."""


def ratio(parts: Sequence[Part]) -> float | None:
    """The sum of numerators over the sum of denominators, None without a denominator."""
    bottom = math.fsum(of for _, of in parts)
    return math.fsum(part for part, _ in parts) / bottom if bottom else None


def wilson(right: float, of: float) -> Interval:
    """Wilson's score interval of 95% for ``right`` out of ``of`` independent trials."""
    share, square = right / of, _Z**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _Z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(parts: Sequence[Part]) -> Interval:
    """The percentile interval of 95% of :func:`ratio` over clusters drawn again, always alike."""
    array = np.array([part for part in parts if part[1]], dtype=np.float64)  # (clusters, 2)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(array), (RESAMPLES, len(array)))
    sums = array[drawn].sum(axis=1)  # (resamples, 2)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], (2.5, 97.5))
    return float(low), float(high)


def share_interval(parts: Sequence[Part]) -> Interval:
    """The 95% interval of a share: the bootstrap over clusters, widened to Wilson's interval.

    Wilson's alone is too narrow where clusters differ; the bootstrap alone has no width where all
    were right, all were wrong, or there is one cluster.
    """
    right, of = (math.fsum(side) for side in zip(*parts, strict=True))
    spread, least = bootstrap(parts), wilson(right, of)
    return min(spread[0], least[0]), max(spread[1], least[1])


class Report:
    """The figures of one evaluation, each with its interval, or with the reason why it is None."""

    def __init__(self) -> None:
        self._figures: dict[str, Any] = {}
        self._intervals: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}
        self._missing: dict[str, str] = {}

    def note(self, **values: Any) -> None:
        """Values that need no interval: settings and counts."""
        self._figures |= values

    def leave_out(self, why: str, *names: str) -> None:
        """Figures that were not measured."""
        for name in names:
            self._figures[name] = None
            self._missing[name] = why

    def share(self, name: str, parts: Sequence[Part], why: str = "nothing was asked") -> None:
        """A share with its interval; ``why`` it is None when ``parts`` count nothing."""
        value = ratio(parts)
        if value is None:
            self.leave_out(why, name)
            return
        self._figures[name] = value
        self._intervals[name] = list(share_interval(parts))

    def measure(self, name: str, value: float, interval: Interval) -> None:
        """A figure that is no share."""
        self._figures[name] = value
        self._intervals[name] = list(interval)

    def shares(self, name: str, groups: Mapping[str, Sequence[Part]]) -> None:
        """A share for each group that counts something, with how much it counts."""
        counted = {group: parts for group, parts in groups.items() if ratio(parts) is not None}
        self._figures[name] = {group: ratio(parts) for group, parts in counted.items()}
        self._intervals[name] = {g: list(share_interval(parts)) for g, parts in counted.items()}
        self._counts[name] = {g: round(sum(of for _, of in parts)) for g, parts in counted.items()}

    def finish(self, main: str) -> dict[str, Any]:
        """All figures by name, with ``interval95`` (of ``main``), ``intervals95``, ``counts``,
        ``not_measured``."""
        return {
            **self._figures,
            "interval95": self._intervals.get(main),
            "intervals95": self._intervals,
            "counts": self._counts,
            "not_measured": self._missing,
        }


def compression(chunks: Sequence[Chunk], visual_tokens: int) -> dict[str, float | None]:
    """How much shorter memory is than the text it stands for; None where nothing was folded."""
    tokens = sum(chunk.tokens for chunk in chunks)
    characters = sum(len(chunk.text) for chunk in chunks)
    return {
        "compression_ratio": tokens / visual_tokens if visual_tokens else None,
        "characters_per_visual_token": characters / visual_tokens if visual_tokens else None,
    }
