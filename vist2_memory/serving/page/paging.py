"""Long lists in pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vist2_memory.store import ScopeInfo

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


def paged_by_name(
    found: Sequence[ScopeInfo], q: str, number: int | None, size: int
) -> Paged[ScopeInfo]:
    """A page, as :func:`paged` gives it, of those whose names have all words of ``q``.

    Those changed last come first.
    """
    words = q.casefold().split()
    wanted = [info for info in found if all(word in info.scope.name.casefold() for word in words)]
    wanted.sort(key=lambda info: info.updated, reverse=True)
    return paged(wanted, number, size)
