"""The stages of training, as a table; ``trainer`` is the one loop that runs them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage: what is learned, on what, how long."""

    name: str
    """What logs and checkpoints call it."""
    tasks: Mapping[str, float]
    """The tasks of ``tasks.TASKS`` in every step: each one's share of the tokens and of the loss,
    relative to the others."""
    steps: int
    """Optimizer steps."""
    chunks: tuple[int, int]
    """Fewest and most chunks in a memory; drawn log-uniformly for each sample."""
    learning_rate: float
    """Peak of the schedule: warm-up, flat, and a linear decay over the last part."""
    decay: float = 0.2
    """Share of the steps in which the rate falls to a tenth."""
    warmup: int = 50
    """Steps over which the rate rises from nothing."""
    glyph_weight: float = 0.5
    """Weight of the auxiliary loss: name the glyphs under each visual token."""
    tokens: int = 4096
    """About how many tokens, visual ones included, an optimizer step reads."""

    def __post_init__(self) -> None:
        if not 1 <= self.chunks[0] <= self.chunks[1]:
            raise ValueError(f"stage {self.name}: chunks={self.chunks!r} must rise from at least 1")
        if self.steps < 1 or not self.tasks:
            raise ValueError(f"stage {self.name}: it has no steps or no tasks")

    def rate(self, step: int) -> float:
        """The learning rate at ``step`` of this stage."""
        falling = max(1.0, self.steps * self.decay)
        left = min(1.0, (self.steps - step) / falling)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * (0.1 + 0.9 * left)


RECIPES: dict[str, tuple[Stage, ...]] = {
    "tiny": (
        Stage("read", {"read": 1}, 3600, (1, 1), 2e-3, decay=0.25, glyph_weight=1.0),
        Stage("answer", {"read": 0.3, "recite": 0.15, "recall": 0.55}, 2000, (1, 4), 1.2e-3,
              decay=0.0, glyph_weight=0.3),
        Stage("extend", {"read": 0.2, "recite": 0.15, "recall": 0.65}, 1300, (2, 24), 1.2e-3,
              decay=1.0, glyph_weight=0.3),
        Stage("settle", {"read": 0.3, "recite": 0.1, "recall": 0.6}, 850, (1, 12), 7e-4,
              decay=1.0, glyph_weight=0.3),
    ),
    "smoke": (
        Stage("read", {"read": 1.0}, 4, (1, 1), 1e-3, tokens=256),
        Stage("recall", {"read": 1, "recite": 1, "continue": 1, "recall": 1}, 4, (2, 4), 1e-3,
              tokens=256),
    ),
}  # fmt: skip
