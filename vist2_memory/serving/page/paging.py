"""Long lists in pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paged(Generic[T]):
    """Some of a list. ``number`` of ``of`` pages, from 1; ``first``: the place of the first row."""

    rows: tuple[T, ...]
    number: int
    of: int
    first: int
    total: int


def paged(found: Sequence[T], number: int | None, size: int) -> Paged[T]:
    """The page ``number`` of ``found``, the last if None; the nearest one where there is none."""
    of = max(1, -(-len(found) // size))
    number = min(max(1, of if number is None else number), of)
    first = (number - 1) * size
    return Paged(tuple(found[first : first + size]), number, of, first, len(found))
