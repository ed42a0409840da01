"""What holds whoever chooses: pins first, never over the budget, order in time, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import index
from typing import TypeAlias

from vist2_memory.errors import ContextOverflowError, InvalidInputError
from vist2_memory.store.base import Scope
from vist2_memory.types import Chunk


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that may enter the context."""

    chunk: Chunk
    cost: int
    """Visual tokens, or whatever the budget counts."""
    source: Scope
    """The session or the collection that it is of."""
    document: str = ""
    """The id of the document that it is of; empty for what was said in a conversation."""
    pinned: bool = False
    """It enters whatever else does, and no policy is asked."""

    def precedes(self, other: Candidate) -> bool:
        """Whether ``other`` goes on where this one ends."""
        end = self.chunk.start + len(self.chunk.text)
        same = (self.document, self.source) == (other.document, other.source)
        return same and end == other.chunk.start


@dataclass(frozen=True, slots=True)
class Selection:
    """Places in the candidates, each in ascending order; no place is in both, none is missing."""

    kept: tuple[int, ...]
    left_out: tuple[int, ...]


Policy: TypeAlias = Callable[[Sequence[Candidate], int, str], Iterable[int]]
"""``policy(candidates, budget, question)``: the places of those that are to be kept.

``candidates`` stand in the order in which they would be read: documents, then the conversation,
each oldest first. What is kept may cost ``budget`` at most, all together. ``question`` is what is
to be answered, or empty.
"""


def choose(
    candidates: Sequence[Candidate], budget: int, question: str, policy: Policy
) -> Selection:
    """Choose what enters a context with room for ``budget``.

    Where all fit, all are kept. Otherwise those that are pinned are, and ``policy`` is asked for
    the rest, with what is left of the budget. Raises ``ContextOverflowError`` where the pinned ones
    alone are too much, and ``InvalidInputError`` for a policy's answer that cannot be followed.
    """
    if sum(candidate.cost for candidate in candidates) <= budget:
        return Selection(tuple(range(len(candidates))), ())
    pinned = [place for place, candidate in enumerate(candidates) if candidate.pinned]
    left = budget - sum(candidates[place].cost for place in pinned)
    if left < 0:
        raise ContextOverflowError(
            f"what is pinned takes {budget - left} of the {budget} that there is room for: pin less"
        )
    free = [place for place, candidate in enumerate(candidates) if not candidate.pinned]
    asked = [candidates[place] for place in free]
    answer = _checked(policy, policy(asked, left, question), asked, left)
    kept = {*pinned, *(free[place] for place in answer)}
    left_out = (place for place in range(len(candidates)) if place not in kept)
    return Selection(tuple(sorted(kept)), tuple(left_out))


def _checked(
    policy: Policy, answer: Iterable[int], candidates: Sequence[Candidate], budget: int
) -> set[int]:
    """The places that ``policy`` answered with, if there are such, once each, within the budget."""
    places: set[int] = set()
    try:
        answers = list(answer)
    except TypeError:
        raise _refused(policy, f"returned {answer!r}, which is no list of places") from None
    for given in answers:
        try:
            place = -1 if isinstance(given, bool) else index(given)
        except TypeError:
            place = -1
        if not 0 <= place < len(candidates):
            raise _refused(
                policy,
                f"returned {given!r}: places of its candidates are 0 to {len(candidates) - 1}",
            )
        if place in places:
            raise _refused(policy, f"returned the place {place} twice")
        places.add(place)
    spent = sum(candidates[place].cost for place in places)
    if spent > budget:
        raise _refused(policy, f"kept chunks that cost {spent}, its budget was {budget}")
    return places


def _refused(policy: Policy, what: str) -> InvalidInputError:
    name = getattr(policy, "__qualname__", repr(policy))
    return InvalidInputError(f"the selection policy {name} {what}")
