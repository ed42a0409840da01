"""How far two texts are apart, in characters."""

from __future__ import annotations

import numpy as np


def distance(a: str, b: str) -> int:
    """The Levenshtein distance: insertions, deletions and substitutions that turn a into b."""
    codes = np.array([ord(character) for character in b], dtype=np.int64)
    row = np.arange(len(b) + 1)
    steps = np.arange(len(b) + 1)
    for i, character in enumerate(a, 1):
        changed = row[:-1] + (codes != ord(character))
        best = np.concatenate(([i], np.minimum(changed, row[1:] + 1)))
        row = np.minimum.accumulate(best - steps) + steps  # insertions run along the row
    return int(row[-1])
