"""Visual tokens that were used lately, decoded, in this process: what is asked again is not read
and checked again.

An entry is known by scope, fingerprint and chunk together, so nothing is ever served across
sessions or models. It knows no store; what it holds is what the store's bytes decode to.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vist2_memory.store.base import Scope
from vist2_memory.types import VisualTokens

_Key: TypeAlias = tuple[Scope, str, str]


@dataclass(slots=True)
class _Entry:
    tokens: VisualTokens
    used: float
    """When the store was last told of a use."""
    stored: bool = True
    """Whether the store has it, or is about to."""


class LatelyUsed:
    """At most ``limit`` bytes of values, the least recently used go first; 0 holds nothing.

    Safe with several threads. Values are made read-only: all who ask get the same array.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._bytes = 0

    def get(self, scope: Scope, fingerprint: str, ids: Sequence[str]) -> dict[str, VisualTokens]:
        """Those of the chunks ``ids`` that are here."""
        found: dict[str, VisualTokens] = {}
        with self._lock:
            for chunk_id in ids:
                key = (scope, fingerprint, chunk_id)
                if key in self._entries:
                    self._entries.move_to_end(key)
                    found[chunk_id] = self._entries[key].tokens
        return found

    def put(self, scope: Scope, tokens: Iterable[VisualTokens]) -> None:
        """Keep ``tokens``, which the store was just asked for or given."""
        now = self._clock()
        with self._lock:
            for item in tokens:
                item.values.flags.writeable = False
                if item.values.nbytes > self._limit:
                    continue
                key = (scope, item.fingerprint, item.chunk_id)
                self._drop(key)
                self._entries[key] = _Entry(item, now)
                self._bytes += item.values.nbytes
            while self._bytes > self._limit:
                self._drop(next(iter(self._entries)))

    def unused_since(
        self, scope: Scope, fingerprint: str, ids: Iterable[str], seconds: float
    ) -> list[str]:
        """Those of ``ids`` of whose use the store was not told for ``seconds``; it will be now."""
        now, due = self._clock(), []
        with self._lock:
            for chunk_id in ids:
                entry = self._entries.get((scope, fingerprint, chunk_id))
                if entry is not None and now - entry.used >= seconds:
                    entry.used = now
                    due.append(chunk_id)
        return due

    def not_stored(self, scope: Scope, fingerprint: str, ids: Iterable[str]) -> None:
        """Note that the store did not take these."""
        with self._lock:
            for chunk_id in ids:
                entry = self._entries.get((scope, fingerprint, chunk_id))
                if entry is not None:
                    entry.stored = False

    def to_store_again(
        self, scope: Scope, fingerprint: str, ids: Iterable[str], limit: int
    ) -> list[VisualTokens]:
        """Those of ``ids`` that the store did not take, about ``limit`` bytes; it is asked now."""
        found: list[VisualTokens] = []
        with self._lock:
            for chunk_id in ids:
                entry = self._entries.get((scope, fingerprint, chunk_id))
                if entry is not None and not entry.stored and limit > 0:
                    entry.stored = True
                    limit -= entry.tokens.values.nbytes
                    found.append(entry.tokens)
        return found

    def drop(self, scope: Scope, fingerprint: str, ids: Iterable[str]) -> None:
        """Hold these no more."""
        with self._lock:
            for chunk_id in ids:
                self._drop((scope, fingerprint, chunk_id))

    def forget(self, scope: Scope) -> None:
        """Drop all of ``scope``."""
        with self._lock:
            for key in [key for key in self._entries if key[0] == scope]:
                self._drop(key)

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.tokens.values.nbytes
