"""What the machine could do at most, and how much of that each stage takes.

Limits are measured in the run: the rate of a large matrix product in the model's dtype, and the
rate at which memory is read or copied. A stage can be no faster than its operations over the one,
nor than its bytes over the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from vist2_memory.benchmark.turns import timed

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates of one machine."""

    flops_per_s: float
    bytes_per_s: float

    def share(self, seconds: float | None, flops: float = 0.0, size: float = 0.0) -> float | None:
        """The least time that operations and bytes can take, over ``seconds``."""
        if not seconds:
            return None
        return max(flops / self.flops_per_s, size / self.bytes_per_s) / seconds


def measure_limits(
    device: torch.device, dtype: torch.dtype, side: int | None = None, size: int | None = None
) -> Limits:
    """The best rates of a few tries; of square matrices of ``side``, and of ``size`` floats."""
    on_gpu = device.type == "cuda"
    side, size = side or (8192 if on_gpu else 2048), size or (2**30 if on_gpu else 2**27)
    a = torch.randn(side, side, device=device).to(dtype)
    product = min(timed(lambda: a @ a, device) for _ in range(5))
    source = torch.ones(size, device=device)  # float32
    target = torch.empty_like(source)
    copied = min(timed(lambda: target.copy_(source), device) for _ in range(5))
    read = min(timed(source.sum, device) for _ in range(5))
    best = max(2 * source.nbytes / copied, source.nbytes / read)
    return Limits(2 * side**3 / product, best)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """The most memory that ``work`` takes beyond what is held before; of the device's own memory
    on a GPU, of this process on Linux, and None elsewhere."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    try:
        _CLEAR.write_text("5")  # the high-water mark begins anew
    except OSError:
        return None
    before = _in_status("VmRSS")
    work()
    return max(0, _in_status("VmHWM") - before)


def free_bytes(device: torch.device) -> int:
    """Memory that is free for caches."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable"))
        return 1024 * int(found.split()[1])
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _in_status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])
