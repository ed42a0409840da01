"""Timing of several ways in turns, so that what the machine does meanwhile falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch

Way = Callable[[], float]
"""Does its work once, and gives the seconds that it took."""
Timings = dict[str, list[float]]
"""Seconds of each way, turn by turn."""


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of wall-clock time that ``work`` takes, until ``device`` is done with it."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def in_turns(
    ways: Mapping[str, Way], repeats: int, done: Callable[[], None] = lambda: None
) -> Timings:
    """The seconds of ``ways``, each done once in each of ``repeats`` turns; ``done`` after each."""
    seconds: Timings = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(way())
            done()
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def ratios(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """``over`` by ``under`` of the same turns, as a spread."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
