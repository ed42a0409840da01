"""The figures of a run: sums of a step, the log they go into, and when they mean divergence."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vist2_memory.training.batches import Batch

SUMS = ("text", "right", "glyph", "glyphs_right", "find", "found", "found_next")
"""What a student's forward pass returns, in this order."""
COUNTS = ("loss", *SUMS, "weight", "asked", "cells", "seekers", "seeking", "text_tokens", "chunks",
          "tokens")  # fmt: skip


def count(batch: Batch, loss: Tensor, out: Mapping[str, Tensor]) -> Tensor:
    """The figures of a micro-batch, shape (len(COUNTS),), on the device, none waited for."""
    known = [
        batch.weights.sum(),
        len(batch.targets),
        batch.glyphs.numel(),
        len(batch.seekers),
        batch.seeking.sum(),
        batch.text_tokens,
        batch.chunks,
        batch.input_ids.numel(),
    ]
    values = [loss.detach(), *(out[name].detach() for name in SUMS)]
    values += [torch.as_tensor(value, device=loss.device) for value in known]
    return torch.stack([value.double() for value in values])


def summarize(tasks: Iterable[str], sums: Tensor, world: int) -> dict[str, Any]:
    """The metrics of a step from its sums, shape (tasks, len(COUNTS)), over ``world`` processes."""
    rows = {
        task: dict(zip(COUNTS, row, strict=True))
        for task, row in zip(tasks, sums.tolist(), strict=True)
    }
    metrics: dict[str, Any] = {
        "loss": round(sum(row["loss"] for row in rows.values()) / world, 4),
        "tasks": {
            task: {
                "text": round(row["text"] / row["weight"], 4),
                "right": round(row["right"] / row["asked"], 4),
                "text_tokens": int(row["text_tokens"]),
                "chunks": int(row["chunks"]),
                **_finding(row),
            }
            for task, row in rows.items()
        },
        "tokens": int(sum(row["tokens"] for row in rows.values())),
    }
    if cells := sum(row["cells"] for row in rows.values()):  # none where nothing is drawn
        for name in ("glyph", "glyphs_right"):
            metrics[name] = round(sum(row[name] for row in rows.values()) / cells, 4)
    return metrics


def _finding(row: Mapping[str, float]) -> dict[str, float]:
    """The mean loss of finding, and how often most of the attention is where it should be."""
    if not row["find"]:  # of no weight, or nothing to find
        return {}
    shares = {name: round(row[name] / row["seekers"], 4) for name in ("found", "found_next")}
    return {"find": round(row["find"] / row["seeking"], 4), **shares}


class MetricsLog:
    """JSON lines, one for each task of a logged step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, common: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """A line for each of ``tasks``, which all say what is ``common``."""
        with self.path.open("a") as log:
            for task, own in tasks.items():
                log.write(json.dumps({**common, "task": task, **own}) + "\n")

    @property
    def size(self) -> int:
        """Bytes so far; a checkpoint remembers them."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut(self, size: int) -> None:
        """Forget what was logged after the checkpoint from which the run goes on."""
        if self.size > size:
            with self.path.open("r+b") as log:
                log.truncate(size)


@dataclass(slots=True)
class Divergence:
    """Watches the loss of a stage: it diverged when its running mean has risen far."""

    mean: float = 0.0
    least: float = math.inf
    seen: int = 0
    KEEP = 0.98

    def add(self, loss: float) -> bool:
        """Whether the running mean, over some 50 steps, is above twice its least value plus 3.

        Wide enough for a curriculum that grows harder; a model that collapsed is beyond it.
        """
        self.seen += 1
        self.mean = self.KEEP * self.mean + (1 - self.KEEP) * loss
        mean = self.mean / (1 - self.KEEP**self.seen)  # as in Adam: unbiased from the first step
        self.least = min(self.least, mean)
        return mean > 2 * self.least + 3
