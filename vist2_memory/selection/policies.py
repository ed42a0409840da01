"""Ways to choose, all of the form of :data:`Policy`; ``functools.partial`` sets what they offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from vist2_memory.errors import InvalidInputError
from vist2_memory.selection.budget import newest_that_fit, share
from vist2_memory.selection.choosing import Candidate, Policy
from vist2_memory.selection.words import whole_words

BESIDE = 0.5
"""What a chunk's relevance counts for the chunks beside it, where its sentences may go on."""


def recent(candidates: Sequence[Candidate], budget: int, question: str = "") -> list[int]:
    """The newest of the conversation and the newest documents, each without a gap.

    Each may use what the other leaves; where both want more, they get a half of the budget each.
    """
    documents = [i for i, one in enumerate(candidates) if one.document]
    said = [i for i, one in enumerate(candidates) if not one.document]
    costs, costs_said = ([candidates[i].cost for i in group] for group in (documents, said))
    own, theirs = share(sum(costs_said), sum(costs), budget)
    return documents[newest_that_fit(costs, theirs) :] + said[newest_that_fit(costs_said, own) :]


def relevant(candidates: Sequence[Candidate], budget: int, question: str) -> list[int]:
    """Those with words of the question (BM25), then what is `recent`. Needs the extra ``rag``.

    A chunk beside one with such words counts too, for half.
    """
    return _fill(candidates, [], _ranked(candidates, _relevance(candidates, question)), budget)


def mixed(
    candidates: Sequence[Candidate], budget: int, question: str, *, newest: float = 0.5
) -> list[int]:
    """The newest of the conversation for a share of the budget, and the rest as in `relevant`."""
    if not 0 <= newest <= 1:
        raise InvalidInputError(f"newest={newest!r} is not allowed: a share of the budget, 0 to 1")
    said = [i for i, one in enumerate(candidates) if not one.document]
    costs = [candidates[i].cost for i in said]
    first = said[newest_that_fit(costs, int(budget * newest)) :]
    ranked = _ranked(candidates, _relevance(candidates, question))
    return _fill(candidates, first, ranked, budget)


def by_score(score: Callable[[Candidate], float]) -> Policy:
    """A policy like `relevant`, by a relevance of the caller's own; 0 is not relevant at all."""

    def scored(candidates: Sequence[Candidate], budget: int, question: str) -> list[int]:
        scores = [score(candidate) for candidate in candidates]
        return _fill(candidates, [], _ranked(candidates, scores), budget)

    return scored


POLICIES: dict[str, Policy] = {"recent": recent, "relevant": relevant, "mixed": mixed}
"""The policies that have a name."""


def find_policy(policy: Policy | str) -> Policy:
    """``policy``, or the one that is called so.

    Raises ``InvalidInputError`` for an unknown name, and for one whose package is not installed:
    when it is chosen, not some day when the budget is short.
    """
    found = POLICIES.get(policy) if isinstance(policy, str) else policy
    if not callable(found):
        raise InvalidInputError(
            f"selection={policy!r} is not allowed: one of {', '.join(POLICIES)}, or a function of "
            "candidates, budget and question"
        )
    if getattr(found, "func", found) in (relevant, mixed):
        import vist2_memory.selection.bm25  # noqa: F401  (raises where its package is missing)
    return found


def _relevance(candidates: Sequence[Candidate], question: str) -> list[float]:
    """How relevant each is to ``question``; 0 where no word is the same."""
    from vist2_memory.selection.bm25 import WordIndex

    if not question.strip():
        return [0.0] * len(candidates)
    texts = whole_words([candidate.chunk for candidate in candidates])
    scores: list[float] = WordIndex(texts).scores(question).tolist()
    return scores


def _ranked(candidates: Sequence[Candidate], scores: Sequence[float]) -> list[int]:
    """The places of those that are relevant at all, the most relevant and newest first.

    What is beside a relevant one is, too.
    """
    total = list(scores)
    for place, (before, after) in enumerate(pairwise(candidates)):
        if (scores[place] or scores[place + 1]) and before.precedes(after):
            total[place] += BESIDE * scores[place + 1]
            total[place + 1] += BESIDE * scores[place]
    found = (place for place, score in enumerate(total) if score > 0)
    return sorted(found, key=lambda place: (total[place], place), reverse=True)


def _fill(
    candidates: Sequence[Candidate], first: Iterable[int], wanted: Iterable[int], budget: int
) -> list[int]:
    """``first``, those of ``wanted`` that fit then, and what is recent for what is left."""
    kept = dict.fromkeys(first)
    left = budget - sum(candidates[place].cost for place in kept)
    for place in wanted:
        if place not in kept and candidates[place].cost <= left:
            kept[place] = None
            left -= candidates[place].cost
    rest = [place for place in range(len(candidates)) if place not in kept]
    newest = recent([candidates[place] for place in rest], left)
    return [*kept, *(rest[place] for place in newest)]
