"""What a caller may say about what is read to answer: the options of all that asks the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.collection import Collection
from vist2_memory.selection import Policy, find_policy


class ReadingOptions(TypedDict, total=False):
    """Keyword arguments of ``Session.ask`` and of all methods like it."""

    include: Sequence[Collection]
    """Collections, or excerpts of them, to be read before the conversation."""
    selection: Policy | str | None
    """How to choose where not all that could be read fits: ``"recent"``, ``"relevant"`` (to the
    newest question), ``"mixed"``, or a function, see ``vist2_memory.selection.Policy``. None: as
    the memory was opened."""
    pins: Iterable[str]
    """Ids of messages, documents and chunks that are read whatever else is left out."""
    budget: int | None
    """Tokens that may be read, visual ones and text together. None: what the model can take."""


@dataclass(frozen=True, slots=True)
class Reading:
    """`ReadingOptions`, checked."""

    policy: Policy
    include: tuple[Collection, ...] = ()
    pins: frozenset[str] = frozenset()
    budget: int | None = None


def reading(options: ReadingOptions, default: Policy) -> Reading:
    """``options``, checked before anything is stored.

    Raises ``TypeError`` for an option that is not known, ``InvalidInputError`` for a value that
    cannot be used.
    """
    unknown = sorted(set(options) - ReadingOptions.__optional_keys__)
    if unknown:
        raise TypeError(
            f"the option {unknown[0]!r} is not known: what is read to answer is said by "
            f"{', '.join(sorted(ReadingOptions.__optional_keys__))}"
        )
    selection, pins = options.get("selection"), options.get("pins", ())
    budget = options.get("budget")
    if isinstance(pins, str):
        raise InvalidInputError(f"pins={pins!r} is not allowed: give ids in a list")
    if budget is not None and (type(budget) is not int or budget < 1):
        raise InvalidInputError(f"budget={budget!r} is not allowed: tokens, at least 1, or None")
    return Reading(
        policy=default if selection is None else find_policy(selection),
        include=tuple(options.get("include", ())),
        pins=frozenset(pins),
        budget=budget,
    )
