"""What a figure was measured on, and time as one core's work."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterable
from importlib import metadata
from typing import Any


def cpu_seconds() -> float:
    """Processor time of this process and of the children that have ended.

    What one core would take, however busy the machine is. POSIX systems only.
    """
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def machine() -> dict[str, Any]:
    """Processor, system and Python, without names that identify the machine."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed versions of ``packages``, and ours."""
    return {name: metadata.version(name) for name in (*packages, "vist2-memory")}
