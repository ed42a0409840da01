"""What a server's process takes while it is under load, as Linux tells it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent

MIB = 2**20
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process. ``at``: seconds since its first one; ``cpu``: seconds until then."""

    at: float
    rss: int
    threads: int
    files: int
    cpu: float


def look(pid: int, began: float) -> Sample | None:
    """How the process is now; None where it has ended."""
    try:
        folder = Path(f"/proc/{pid}")
        fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        stat = (folder / "stat").read_text().rpartition(")")[2].split()
        return Sample(
            time.monotonic() - began,
            int(fields["VmRSS"].split()[0]) * 1024,
            int(fields["Threads"]),
            len(os.listdir(folder / "fd")),
            (int(stat[11]) + int(stat[12])) / _TICKS,
        )
    except (OSError, KeyError):
        return None


class Watch:
    """Looks at a process again and again, each of its lives apart."""

    def __init__(self, pid: Callable[[], int | None], every_s: float) -> None:
        self._pid, self._every = pid, every_s
        self.lives: list[list[Sample]] = []
        self._known: int | None = None
        self._began = 0.0
        self._looking = gevent.spawn(self._look)

    def stop(self) -> None:
        self._looking.kill()

    def now(self) -> Sample | None:
        """Look once more."""
        pid = self._pid()
        if pid is None:
            return None
        if pid != self._known:
            self._known, self._began = pid, time.monotonic()
            self.lives.append([])
        sample = look(pid, self._began)
        if sample is not None:
            self.lives[-1].append(sample)
        return sample

    def _look(self) -> None:
        while True:
            self.now()
            gevent.sleep(self._every)


def slope(samples: Sequence[Sample], warm_s: float) -> float | None:
    """Bytes a second by which memory grew after ``warm_s`` seconds: least squares."""
    warm = [sample for sample in samples if sample.at >= warm_s]
    if len(warm) < 10:
        return None
    return statistics.linear_regression([s.at for s in warm], [s.rss for s in warm]).slope


def summary(samples: Sequence[Sample], warm_s: float) -> dict[str, Any]:
    """One life of a process."""
    grows = slope(samples, warm_s)
    step = max(1, len(samples) // 60)
    quarter = len(samples) // 4 or 1
    second, last = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    return {
        "seconds": round(samples[-1].at, 1),
        "cpu_seconds": round(samples[-1].cpu, 1),
        "warm_up_seconds": warm_s,
        "rss_slope_mib_per_minute": None if grows is None else round(grows * 60 / MIB, 3),
        "rss_mib": [[round(s.at), round(s.rss / MIB, 1)] for s in samples[::step]],
        "rss_mib_most": round(max(s.rss for s in samples) / MIB, 1),
        "files_most": {part: max(s.files for s in of) for part, of in _parts(second, last)},
        "threads_most": {part: max(s.threads for s in of) for part, of in _parts(second, last)},
    }


def _parts(
    second: Sequence[Sample], last: Sequence[Sample]
) -> tuple[tuple[str, Sequence[Sample]], ...]:
    return ("second_quarter", second), ("last_quarter", last)
