"""The heads of a language model that learned to look at what an answer is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finder:
    """Some neighbouring heads of one layer; see ``training.finding`` for how they learn."""

    layer: int
    """Which layer they are of, counted from 0."""
    first: int
    """The first of them, counted from 0..."""
    end: int
    """... and the one behind the last."""

    @property
    def heads(self) -> slice:
        """Them, of all heads of the layer."""
        return slice(self.first, self.end)
