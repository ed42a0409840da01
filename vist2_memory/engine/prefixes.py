"""Keys and values that are kept between generations, found again by what was read.

A generation takes over what holds the beginning of its prompt, or copies that beginning, and reads
the rest alone. The idea is that of prefix caching in serving engines; here a prompt is a sequence
of text tokens and whole chunks. Knows neither a model nor what the tokens mean.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from vist2_memory.engine.kv import KVCache

Item: TypeAlias = int | tuple[str, str, int]
"""The id of a text token; or of a chunk the fingerprint, the id and the visual tokens."""
FEW = 8
"""Tokens that an entry may lose to its next generation; else that one makes a copy."""


def tokens_of(items: Iterable[Item]) -> int:
    """How many tokens ``items`` are."""
    return sum(1 if isinstance(item, int) else item[2] for item in items)


@dataclass(eq=False)
class Entry:
    """Keys and values, and what they are of. It belongs to one generation, or to none."""

    salt: str
    owner: str
    """Whose it is; :meth:`Prefixes.forget` goes by it."""
    cache: KVCache
    items: list[Item] = field(default_factory=list)
    """What the cache holds, in order."""
    fixed: int = 0
    """Items at the beginning that the running generation leaves as they are."""
    running: bool = True
    copied: int = 0
    """Generations that are copying from it now."""
    wanted: bool = True
    """Whether it may be kept."""


class Prefixes:
    """Entries by content, of which those that no generation has are dropped beyond a budget.

    Safe to use from several threads.
    """

    def __init__(
        self,
        budget: int,
        empty: Callable[[], KVCache],
        goes_on: Callable[[Sequence[Item], Sequence[Item]], bool],
    ) -> None:
        """``budget``: bytes, 0 keeps nothing. ``empty``: makes a cache. ``goes_on``: whether of two
        ways to go on from a common beginning the second is the first one's later state.
        """
        self._budget, self._empty, self._goes_on = budget, empty, goes_on
        self._entries: dict[Entry, None] = {}  # the longest unused first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept and in no use."""
        with self._lock:
            return self._idle_bytes()

    def begin(self, salt: str, owner: str, items: Sequence[Item]) -> Entry:
        """An entry for one generation, which holds a beginning of ``items``, short of the end.

        To be given to :meth:`finish`.
        """
        total = tokens_of(items)
        with self._lock:
            found, common = self._longest(salt, items)
            if found is not None:
                self._entries[found] = self._entries.pop(found)  # used last
            if found is None or self._may_take(found, items, common):
                entry = found or Entry(salt, owner, self._empty())
                entry.owner, entry.running, entry.fixed = owner, True, 0
                if self._budget:
                    self._entries[entry] = None
                _shorten(entry, common, total)
                return entry
            found.copied += 1
        try:
            length = min(tokens_of(items[:common]), total - 1)
            entry = Entry(salt, owner, found.cache.fork(length, room=total), list(items[:common]))
            _shorten(entry, common, total)
        finally:
            with self._lock:
                found.copied -= 1
        with self._lock:
            self._entries[entry] = None
        return entry

    def finish(self, entry: Entry) -> None:
        """Keep ``entry`` for others, and drop what is more than the budget."""
        with self._lock:
            entry.running = False
            whole = tokens_of(entry.items) == len(entry.cache) > 0
            if not whole or not entry.wanted:
                self._entries.pop(entry, None)
            elif entry in self._entries:
                self._entries[entry] = self._entries.pop(entry)
            for old in [old for old in self._entries if not old.running]:
                if self._idle_bytes() <= self._budget:
                    break
                del self._entries[old]

    def forget(self, owner: str) -> None:
        """Drop what is kept of ``owner``, and do not keep what runs now."""
        self._drop(lambda entry: entry.owner == owner)

    def close(self) -> None:
        """Drop all, and keep nothing from now on."""
        self._budget = 0
        self._drop(lambda entry: True)

    def _drop(self, which: Callable[[Entry], bool]) -> None:
        with self._lock:
            for entry in [entry for entry in self._entries if which(entry)]:
                entry.wanted = False
                if not entry.running:
                    del self._entries[entry]

    def _idle_bytes(self) -> int:
        return sum(entry.cache.allocated for entry in self._entries if not entry.running)

    def _longest(self, salt: str, items: Sequence[Item]) -> tuple[Entry | None, int]:
        """The entry with the longest beginning in common, and how many items that is."""
        best: Entry | None = None
        common = 0
        sought = list(items)
        for entry in reversed(self._entries):
            if entry.salt != salt or not entry.wanted:
                continue
            held = entry.items[: entry.fixed] if entry.running else entry.items
            if held[: common + 1] != sought[: common + 1]:
                continue
            best, common = entry, _common(held, sought, common)
        return best, common

    def _may_take(self, entry: Entry, items: Sequence[Item], common: int) -> bool:
        """Whether nothing is lost that anyone would want, if ``items`` were read in place."""
        if entry.running or entry.copied:
            return False
        rest = entry.items[common:]
        return len(rest) <= FEW or self._goes_on(rest, items[common:])


def _common(held: Sequence[Item], sought: Sequence[Item], known: int) -> int:
    """How many items both begin with, of which ``known`` are."""
    most = min(len(held), len(sought))
    return next((n for n in range(known, most) if held[n] != sought[n]), most)


def _shorten(entry: Entry, common: int, total: int) -> None:
    """Leave the common items, and of them what is short of all ``total`` tokens."""
    del entry.items[common:]
    entry.cache.crop(min(tokens_of(entry.items), total - 1, len(entry.cache)))
