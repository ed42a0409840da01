"""Weighs several places of the memory before one of them is quoted.

Word by word the likeliest is not the likeliest whole: a quote's first words stand in many places,
and when the words come that tell these apart, the choice is made. So several ways through a quote
are followed side by side (beam search, as of Lowerre's HARPY, 1976), each as likely as the model
holds all of its words, and the likeliest that is whole is said. Knows ids, logits and what may come
next; what reads them is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from llguidance import LLMatcher
from torch import Tensor

from vist2_memory.engine.closing import allowed
from vist2_memory.engine.tokens import Vocabulary

PLACES = 4
"""Ways that are followed at once, unless said otherwise."""
TRIED = 4
"""Where something speaks for quotes beside their words, so many times as many of the likeliest next
words of each way are looked at."""
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


class Evidence(Protocol):
    """What speaks for a quote beside its words."""

    def __call__(self, said: bytes, whole: bool) -> float:
        """0, or less the less there is; of what is not ``whole``, the most that its end may have.

        ``said``: of a whole one, with what closes it.
        """


def _nothing(said: bytes, whole: bool) -> float:
    """Nothing speaks for one quote more than for another."""
    return 0.0


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
    said: bytes = b""
    """What ``ids`` spell."""
    evidence: float = 0.0
    """What else speaks for it."""

    @property
    def worth(self) -> float:
        """How good it is; of one that is not whole, how good it can be at the most."""
        return self.score + self.evidence


@dataclass(frozen=True, slots=True)
class _Step:
    """A way, and a token that it may go on with; None for a way that is whole."""

    way: _Way
    token: int | None
    said: bytes
    """What it spells then."""
    score: float
    """The logarithm of how likely that is."""
    worth: float
    """How good it can be then at the most."""


def weigh(
    quote: LLMatcher,
    vocabulary: Vocabulary,
    logits: Tensor,
    branches: Branches,
    places: int,
    room: int,
    evidence: Evidence = _nothing,
) -> list[int]:
    """The tokens of the best quote that was found, of at most ``room``; none if none was.

    ``quote``: where a quote has opened, not changed here. ``logits``: of its first token, shape
    (vocabulary,). ``places``: how many ways are followed at once. ``evidence``: what is added to
    the logarithm of how likely a quote is.
    """
    special = torch.tensor(sorted(vocabulary.special))
    ways = [_Way(quote, logits)]
    tried = places if evidence is _nothing else TRIED * places
    while _may_be_beaten(_best(ways, room), ways, room):
        steps = [step for way in ways for step in _steps(way, vocabulary, special, tried, evidence)]
        steps = _distinct(steps)[:places]
        ways = [step.way for step in steps if step.token is None]
        ways += _grown([s for s in steps if s.token is not None], branches, vocabulary, evidence)
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


def _steps(
    way: _Way, vocabulary: Vocabulary, special: Tensor, most: int, evidence: Evidence
) -> list[_Step]:
    """The likeliest next tokens of ``way``; itself if it is whole."""
    if way.logits is None:
        return [_Step(way, None, way.said, way.score, way.worth)]
    size = len(vocabulary)
    may_come = torch.from_numpy(allowed(way.quote, size).copy())
    may_come[special] = False
    scores = way.logits.log_softmax(-1)[:size].cpu().masked_fill(~may_come, -torch.inf)
    best = scores.topk(min(most, int(may_come.sum())))
    steps = []
    for score, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        said = way.said + vocabulary.tokens[token]
        likely = way.score + score
        steps.append(_Step(way, token, said, likely, likely + evidence(said, False)))
    return steps


def _distinct(steps: Sequence[_Step]) -> list[_Step]:
    """The best first; of several that spell the same text, the first alone."""
    best: dict[tuple[bytes, bool], _Step] = {}
    for step in sorted(steps, key=lambda step: -step.worth):
        best.setdefault((step.said, step.token is None), step)
    return list(best.values())


def _grown(
    steps: Sequence[_Step], branches: Branches, vocabulary: Vocabulary, evidence: Evidence
) -> list[_Way]:
    """Each way after its token, and after all that can only follow."""
    quotes: list[LLMatcher] = []
    chains: list[list[int]] = []
    for step in steps:
        assert step.token is not None
        quote = step.way.quote.deep_copy()
        quote.consume_token(step.token)
        forced = [] if quote.is_stopped() else quote.compute_ff_tokens()
        quote.consume_tokens(forced)
        quotes.append(quote)
        chains.append([step.token, *forced])
    read = branches.grow([(s.way.node, chain) for s, chain in zip(steps, chains, strict=True)])
    grown = []
    for step, quote, chain, (node, logits) in zip(steps, quotes, chains, read, strict=True):
        way, followed = step.way, torch.tensor(chain[1:], device=logits.device)
        likely = logits[:-1].log_softmax(-1).gather(1, followed[:, None]).sum().item()
        whole, said = quote.is_stopped(), way.said + vocabulary.bytes_of(chain)
        grown.append(
            _Way(
                quote,
                None if whole else logits[-1],
                (*way.ids, *chain),
                step.score + likely,
                node,
                said,
                evidence(said, whole),
            )
        )
    return grown
