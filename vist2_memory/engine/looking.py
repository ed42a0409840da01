"""Where a model looks when a quote opens, as evidence for what it is about to quote.

A layer that was trained to look at what is quoted (``training.finding``) often looks at the right
words while others come out likelier, since the layers behind it have yet to read there. So a quote
counts by both: how likely its words are, and how much of the attention lies on them. Knows
characters and numbers, no model.

Source of the idea: pointer networks, which answer with a place of what they read, by its attention
(Vinyals et al., arXiv 1506.03134).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""Characters, from and to."""

WEIGHT = 4.0
"""How much the logarithm of the attention on a quote counts beside that of its likelihood."""
LEAST = 1e-3
"""What is added to the attention: where there is next to none, less still says nothing more."""


class Seen:
    """A text, and how much attention lies on each part of it."""

    def __init__(
        self,
        text: str,
        ends: Sequence[int],
        spans: Sequence[Span],
        attention: Sequence[float],
    ) -> None:
        """``ends``: where sentences of ``text`` end, in order. ``spans``: the characters that each
        token which the model reads stands for, and ``attention`` on it; of tokens that are more
        than spans, or stand for nothing, none counts.
        """
        self._text, self._stops = _small(text), [*ends, len(text)]
        stands = [(*span, on) for span, on in zip(spans, attention, strict=False)]
        stands = [each for each in stands if each[0] < each[1]]
        self._firsts = [first for first, _, _ in stands]
        self._ends = [end for _, end, _ in stands]
        self._sums = [0.0, *accumulate(on for _, _, on in stands)]

    def on(self, quote: str, whole: bool = True) -> float:
        """The attention on ``quote``, 0 to 1: where it stands in several places, the most.

        Of what is not ``whole``, that from its beginning to the end of its sentence: so much is on
        what it may become, at the most. It begins where a word does.
        """
        wanted, most = _small(quote), 0.0
        at = self._text.find(wanted) if wanted else -1
        while at >= 0:
            if not self._text[at - 1 : at].isalnum():
                end = at + len(wanted)
                end = end if whole else self._stops[bisect_left(self._stops, end)]
                most = max(most, self._between(at, end))
            at = self._text.find(wanted, at + 1)
        return most

    def _between(self, first: int, end: int) -> float:
        """The attention on the characters ``first`` to ``end``."""
        low, high = bisect_right(self._ends, first), bisect_left(self._firsts, end)
        return self._sums[max(low, high)] - self._sums[low]

    def evidence(self, quote: str, whole: bool = True) -> float:
        """What speaks for ``quote``, as ``weighing.Evidence`` has it."""
        return WEIGHT * min(0.0, math.log(self.on(quote, whole) + LEAST))


def _small(text: str) -> str:
    """``text`` in small letters, character by character, so that all stay where they are."""
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(one if len(one.lower()) > 1 else one.lower() for one in text)
