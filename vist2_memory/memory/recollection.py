"""Chunks to visual tokens: from the store where they are good, from the text where they are not.

A tensor that is missing, damaged, foreign or out of reach is a miss: it is encoded again and put
back. What was more than an ordinary miss is told in ``degraded``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vist2_memory.engine.base import Engine
from vist2_memory.errors import (
    CodecError,
    EncodingError,
    InvalidInputError,
    StoreError,
    Vist2Error,
)
from vist2_memory.memory.behind import WriteBehind
from vist2_memory.memory.lately import LatelyUsed
from vist2_memory.store.base import Scope, Store
from vist2_memory.store.codec import decode, encode
from vist2_memory.store.sealed import SealedStore
from vist2_memory.tracing import span
from vist2_memory.types import Chunk, VisualTokens

_PREPARED = 64
"""Chunks whose visual tokens are held at once where nobody waits for them: with features for layers
of their own, a page of a large model takes some 30 MB."""
_AGAIN = 16 * 2**20
"""Bytes of visual tokens that the store did not take, that are put again with one use of them."""


@dataclass(frozen=True, slots=True)
class Recollection:
    """The visual tokens of some chunks, and what it took to get them."""

    visual: tuple[VisualTokens, ...]
    cached_visual_tokens: int = 0
    degraded: tuple[str, ...] = ()
    load_s: float = 0.0
    encode_s: float = 0.0


class Tensors:
    """The visual tokens of one memory: used lately, else in the store, else encoded again.

    ``lately`` and ``behind`` may be left out: then all is read from and written to the store while
    the caller waits.
    """

    def __init__(
        self, store: Store, lately: LatelyUsed | None = None, behind: WriteBehind | None = None
    ) -> None:
        self._store = store
        self._lately = lately or LatelyUsed(0)
        self._behind = behind

    def recollect(self, engine: Engine, scope: Scope, chunks: Sequence[Chunk]) -> Recollection:
        """The visual tokens of ``chunks``, in order; those that were missing are stored.

        An engine without a model has none to make.
        """
        found = self._recollect(engine, scope, chunks)
        return replace(found, degraded=(*found.degraded, *self._notes(scope)))

    def carry_over(
        self, engine: Engine, source: Scope, target: Scope, chunks: Sequence[Chunk]
    ) -> None:
        """Store the visual tokens of ``chunks`` of one scope under another, bound to that one."""
        for start in range(0, len(chunks), _PREPARED):
            found = self._recollect(engine, source, chunks[start : start + _PREPARED])
            self.remember(engine, target, found.visual)

    def prepare(self, engine: Engine, scope: Scope, chunks: Sequence[Chunk]) -> None:
        """See that the visual tokens of ``chunks`` are stored, holding those of a few at a time."""
        for start in range(0, len(chunks), _PREPARED):
            self._recollect(engine, scope, chunks[start : start + _PREPARED])

    def remember(self, engine: Engine, scope: Scope, tokens: Sequence[VisualTokens]) -> list[str]:
        """Keep visual tokens that others hold too; what went wrong of late, in words."""
        own = [replace(item, values=item.values.copy()) for item in tokens]
        return self._keep(engine, scope, own) + self._notes(scope)

    def forget(self, scope: Scope) -> None:
        """Hold nothing of ``scope``, and write nothing of it that still waits: it was deleted."""
        if self._behind is not None:
            self._behind.forget(scope)
        self._lately.forget(scope)

    def drop(self, engine: Engine, scope: Scope, chunk_ids: Sequence[str]) -> None:
        """Delete these, here and in the store; raises ``StoreError`` where that cannot be done."""
        if chunk_ids:
            self.flush(scope)  # else one that waits would come afterwards
            self._lately.drop(scope, engine.spec.fingerprint, chunk_ids)
            self._store.drop_many(scope, engine.spec.fingerprint, chunk_ids)

    def reseal(self, engine: Engine, scope: Scope, chunks: Sequence[Chunk]) -> int:
        """Seal the log of ``scope``, and the visual tokens of ``chunks``, under the newest key.

        Returns how many messages were under an older one. Raises ``InvalidInputError`` for a store
        without keys.
        """
        store = self._store
        if not isinstance(store, SealedStore):
            raise InvalidInputError(
                f"{store.describe()} was opened without keys: there is nothing to seal with"
            )
        self.flush(scope)  # whoever then finds a log that was sealed anew drops what waits
        ids = list(dict.fromkeys(chunk.id for chunk in chunks))
        older = store.reseal(scope)
        for start in range(0, len(ids), _PREPARED):
            store.reseal_tensors(scope, engine.spec.fingerprint, ids[start : start + _PREPARED])
        return older

    def waiting(self, scope: Scope) -> bool:
        """Whether visual tokens of ``scope`` wait to be written."""
        return self._behind is not None and self._behind.waiting(scope)

    def flush(self, scope: Scope | None = None) -> None:
        """Wait until visual tokens, all or those of ``scope``, are written or have failed to be."""
        if self._behind is not None:
            self._behind.flush(scope)

    def _recollect(self, engine: Engine, scope: Scope, chunks: Sequence[Chunk]) -> Recollection:
        if not chunks or not engine.spec.answers:
            return Recollection(())
        started = time.perf_counter()
        known, degraded = self._find(engine.spec.fingerprint, scope, chunks)
        cached = sum(len(known[chunk.id]) for chunk in chunks if chunk.id in known)
        loaded = time.perf_counter()
        missing = list({chunk.id: chunk for chunk in chunks if chunk.id not in known}.values())
        fresh = _encoded(engine, missing) if missing else []
        encoded = time.perf_counter()
        degraded += self._keep(engine, scope, fresh)
        refused = self._lately.to_store_again(scope, engine.spec.fingerprint, known, _AGAIN)
        degraded += self._keep(engine, scope, refused)
        known.update((tokens.chunk_id, tokens) for tokens in fresh)
        return Recollection(
            visual=tuple(known[chunk.id] for chunk in chunks),
            cached_visual_tokens=cached,
            degraded=tuple(degraded),
            load_s=loaded - started,
            encode_s=encoded - loaded,
        )

    def _find(
        self, fingerprint: str, scope: Scope, chunks: Sequence[Chunk]
    ) -> tuple[dict[str, VisualTokens], list[str]]:
        """The good tensors by chunk id, and what was refused or out of reach."""
        ids = list(dict.fromkeys(chunk.id for chunk in chunks))
        known = self._lately.get(scope, fingerprint, ids)
        if self._store.ttl and self._behind is not None:
            due = self._lately.unused_since(scope, fingerprint, known, self._store.ttl / 10)
            if due:
                self._behind.touch(scope, fingerprint, due)
        rest = [chunk_id for chunk_id in ids if chunk_id not in known]
        if not rest:
            return known, []
        if self._behind is not None and self._behind.waits_for(scope, fingerprint, rest):
            self._behind.flush(scope)  # else they would be encoded twice
        with span("store", what="tensors", wanted=len(rest)) as outcome:
            read, degraded = _read(self._store, fingerprint, scope, rest)
            outcome["found"] = len(read)
        self._lately.put(scope, read.values())
        return known | read, degraded

    def _keep(self, engine: Engine, scope: Scope, tokens: Sequence[VisualTokens]) -> list[str]:
        """Put visual tokens into the store; what went wrong, in words. They are only a cache."""
        if not tokens:
            return []
        fingerprint = engine.spec.fingerprint
        with span("store", what="tensors", written=len(tokens)):
            data = {item.chunk_id: encode(item, scope, engine.spec.tensors) for item in tokens}
            self._lately.put(scope, tokens)
            if self._behind is not None:
                self._behind.put(scope, fingerprint, data)
                return []
            try:
                self._store.put_many(scope, fingerprint, data)
            except StoreError as error:
                self._lately.not_stored(scope, fingerprint, data)
                return [f"visual tokens were not cached: {error}"]
        return []

    def _notes(self, scope: Scope) -> list[str]:
        return [] if self._behind is None else self._behind.notes(scope)


def recollect(store: Store, engine: Engine, scope: Scope, chunks: Sequence[Chunk]) -> Recollection:
    """`Tensors.recollect` out of ``store`` itself."""
    return Tensors(store).recollect(engine, scope, chunks)


def _encoded(engine: Engine, chunks: Sequence[Chunk]) -> list[VisualTokens]:
    """What ``engine`` makes of ``chunks``; raises ``EncodingError`` where it fails."""
    try:
        return engine.encode(chunks)
    except Vist2Error:
        raise
    except Exception as error:
        raise EncodingError(
            f"{engine.spec.model} failed to encode {len(chunks)} chunks: "
            f"{type(error).__name__}: {error}"
        ) from error


def _read(
    store: Store, fingerprint: str, scope: Scope, ids: Sequence[str]
) -> tuple[dict[str, VisualTokens], list[str]]:
    """The good tensors in the store by chunk id, and what was refused or out of reach."""
    try:
        stored = store.get_many(scope, fingerprint, ids)
    except StoreError as error:
        return {}, [f"visual tokens were not read and are encoded again: {error}"]
    known: dict[str, VisualTokens] = {}
    degraded: list[str] = []
    for chunk_id, data in zip(ids, stored, strict=True):
        if data is None:
            continue
        try:
            known[chunk_id] = decode(data, scope=scope, fingerprint=fingerprint, chunk_id=chunk_id)
        except CodecError as error:
            degraded.append(f"a stored tensor was refused and is encoded again: {error}")
    return known, degraded
