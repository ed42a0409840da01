"""Checkpoints of a run: all that decides its next step, in one file that is whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from vist2_memory.errors import Vist2Error

VERSION = 2


class CheckpointError(Vist2Error):
    """A checkpoint is damaged, or of another version, recipe or number of processes."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file that then takes the place of ``path``; a crash leaves the old."""
    new = path.with_name(path.name + ".new")
    write(new)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(new, path)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values."""
    write_atomically(path, lambda new: torch.save({**state, "version": VERSION}, new))


def load_state(path: Path) -> dict[str, Any]:
    """What :func:`save_state` wrote, on the CPU; unpickles tensors and plain values only.

    Raises ``CheckpointError`` for a file that holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError:
        raise
    except Exception as error:  # damaged bytes raise whatever they lead to
        raise CheckpointError(f"{path} is no checkpoint that can be read: {error!r}") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise CheckpointError(
            f"{path} was not written by this version of vist2_memory: start in a new folder"
        )
    return state
