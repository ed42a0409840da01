"""How the C library keeps a server's memory.

Each answer has a thread, and glibc gives each thread a place of its own to allocate from, up to
eight a core; what keys and values of one length leave behind fits those of another badly. Without
this the process grows in its first minutes, mostly by free memory.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from contextlib import suppress

_M_ARENA_MAX = -8  # of glibc's malloc.h
ARENAS = 2
TRIM_EVERY_S = 20.0


def bound_arenas() -> None:
    """Have all threads allocate from few places.

    Does nothing where ``MALLOC_ARENA_MAX`` says how many, or with another C library.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


async def keep_trimmed() -> None:
    """Give free pages back now and then, until cancelled; returns where that cannot be done."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    while True:
        await asyncio.sleep(TRIM_EVERY_S)
        await asyncio.to_thread(trim, 0)
