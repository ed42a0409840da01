"""Weighs several places of the memory before one of them is quoted.

Word by word the likeliest is not the likeliest whole: a quote's first words stand in many places,
and when the words come that tell these apart, the choice is made. So several ways through a quote
are followed side by side (beam search, as of Lowerre's HARPY, 1976), each as likely as the model
holds all of its words, and the likeliest that is whole is said. Knows ids, logits and what may come
next; what reads them is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from llguidance import LLMatcher
from torch import Tensor

from vist2_memory.engine.closing import allowed
from vist2_memory.engine.tokens import Vocabulary

PLACES = 4
"""Ways that are followed at once, unless said otherwise."""
ROOT = -1
"""The node that stands for all that was read before."""


class Branches(Protocol):
    """Reads tokens that go on in several ways from what was read before."""

    def look(self, token: int) -> Tensor | None:
        """How much ``token``, the last that was read, attends to each that was: shape (tokens,).

        None where no heads of the model were trained to look at what is quoted. Before any growth.
        """

    def grow(self, ways: Sequence[tuple[int, Sequence[int]]]) -> list[tuple[int, Tensor]]:
        """Read the tokens of each of ``ways`` behind its node, ``ROOT`` or one that was given.

        Returns for each the node of its last token, and the logits after each of its tokens, shape
        (tokens, vocabulary), float32.
        """


Evidence = Callable[[Sequence[int]], float]
"""What speaks for a whole quote beside its words: 0, or less the less there is."""
Begin = Callable[[], Branches]
"""Makes branches of what has been read."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A beginning of a quote."""

    quote: LLMatcher
    logits: Tensor | None
    """Those of what comes next, shape (vocabulary,); None where the quote is whole."""
    ids: tuple[int, ...] = ()
    score: float = 0.0
    """The logarithm of how likely ``ids`` are."""
    node: int = ROOT
    evidence: float = 0.0
    """What is added for a whole one."""

    @property
    def worth(self) -> float:
        """How good it is; of one that is not whole, how good it can be at the most."""
        return self.score + self.evidence


def weigh(
    quote: LLMatcher,
    vocabulary: Vocabulary,
    logits: Tensor,
    branches: Branches,
    places: int,
    room: int,
    evidence: Evidence | None = None,
) -> list[int]:
    """The tokens of the best quote that was found, of at most ``room``; none if none was.

    ``quote``: where a quote has opened, not changed here. ``logits``: of its first token, shape
    (vocabulary,). ``places``: how many ways are followed at once. ``evidence`` is added to the
    score of those that are whole.
    """
    special = torch.tensor(sorted(vocabulary.special))
    ways = [_Way(quote, logits)]
    while _may_be_beaten(_best(ways, room), ways, room):
        steps = [step for way in ways for step in _steps(way, vocabulary, special, places)]
        steps = _distinct(steps, vocabulary)[:places]
        ways = [way for _, way, token in steps if token is None]
        grown = _grown([(score, way, t) for score, way, t in steps if t is not None], branches)
        ways += [_judged(way, evidence) for way in grown]
    best = _best(ways, room)
    return [] if best is None else list(best.ids)


def _best(ways: Sequence[_Way], room: int) -> _Way | None:
    """The best that is whole and fits."""
    whole = [way for way in ways if way.logits is None and len(way.ids) <= room]
    return max(whole, key=lambda way: way.worth, default=None)


def _may_be_beaten(best: _Way | None, ways: Sequence[_Way], room: int) -> bool:
    """Whether any of ``ways`` may end better than ``best``: none becomes better as it goes."""
    least = -torch.inf if best is None else best.worth
    return any(w.logits is not None and w.worth > least and len(w.ids) < room for w in ways)


def _judged(way: _Way, evidence: Evidence | None) -> _Way:
    """``way``, with what speaks for it if it is whole."""
    if evidence is None or way.logits is not None:
        return way
    return replace(way, evidence=evidence(way.ids))


def _steps(
    way: _Way, vocabulary: Vocabulary, special: Tensor, most: int
) -> list[tuple[float, _Way, int | None]]:
    """The likeliest next tokens of ``way``, each with the score after it; None if it is whole."""
    if way.logits is None:
        return [(way.score, way, None)]
    size = len(vocabulary)
    may_come = torch.from_numpy(allowed(way.quote, size).copy())
    may_come[special] = False
    scores = way.logits.log_softmax(-1)[:size].cpu().masked_fill(~may_come, -torch.inf)
    best = scores.topk(min(most, int(may_come.sum())))
    told = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return [(way.score + score, way, token) for score, token in told]


def _distinct(
    steps: Sequence[tuple[float, _Way, int | None]], vocabulary: Vocabulary
) -> list[tuple[float, _Way, int | None]]:
    """Those of the highest scores first; of several that spell the same text, the first alone."""
    best: dict[tuple[bytes, bool], tuple[float, _Way, int | None]] = {}
    for step in sorted(steps, key=lambda step: -step[0]):
        _, way, token = step
        ids = way.ids if token is None else (*way.ids, token)
        best.setdefault((vocabulary.bytes_of(ids), token is None), step)
    return list(best.values())


def _grown(steps: Sequence[tuple[float, _Way, int]], branches: Branches) -> list[_Way]:
    """Each way after its token, and after all that can only follow."""
    quotes, chains = [], []
    for _, way, token in steps:
        quote = way.quote.deep_copy()
        quote.consume_token(token)
        forced = [] if quote.is_stopped() else quote.compute_ff_tokens()
        quote.consume_tokens(forced)
        quotes.append(quote)
        chains.append((token, *forced))
    read = branches.grow([(way.node, c) for (_, way, _), c in zip(steps, chains, strict=True)])
    grown = []
    for (score, way, _), quote, chain, (node, logits) in zip(
        steps, quotes, chains, read, strict=True
    ):
        followed = torch.tensor(chain[1:], device=logits.device)
        likely = logits[:-1].log_softmax(-1).gather(1, followed[:, None]).sum().item()
        after = None if quote.is_stopped() else logits[-1]
        grown.append(_Way(quote, after, way.ids + chain, score + likely, node))
    return grown
