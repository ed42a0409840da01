"""Chunks to visual tokens: from the store where they are good, from the text where they are not.

A tensor that is missing, damaged, foreign or out of reach is a miss: it is encoded again and put
back. What was more than an ordinary miss is told in ``degraded``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from vist2_memory.engine.base import Engine
from vist2_memory.errors import CodecError, InvalidInputError, StoreError
from vist2_memory.store.base import Scope, Store
from vist2_memory.store.codec import decode, encode
from vist2_memory.store.sealed import SealedStore
from vist2_memory.types import Chunk, VisualTokens

_PREPARED = 64
"""Chunks whose visual tokens are held at once where nobody waits for them: with features for layers
of their own, a page of a large model takes some 30 MB."""


@dataclass(frozen=True, slots=True)
class Recollection:
    """The visual tokens of some chunks, and what it took to get them."""

    visual: tuple[VisualTokens, ...]
    cached_visual_tokens: int = 0
    degraded: tuple[str, ...] = ()
    load_s: float = 0.0
    encode_s: float = 0.0


def recollect(store: Store, engine: Engine, scope: Scope, chunks: Sequence[Chunk]) -> Recollection:
    """The visual tokens of ``chunks``, in order; those that were missing are stored.

    An engine without a model has none to make.
    """
    if not chunks or not engine.spec.answers:
        return Recollection(())
    started = time.perf_counter()
    known, degraded = _read(store, engine, scope, chunks)
    cached = sum(len(known[chunk.id]) for chunk in chunks if chunk.id in known)
    loaded = time.perf_counter()
    missing = list({chunk.id: chunk for chunk in chunks if chunk.id not in known}.values())
    fresh = engine.encode(missing)
    encoded = time.perf_counter()
    degraded += remember(store, engine, scope, fresh)
    known.update((tokens.chunk_id, tokens) for tokens in fresh)
    return Recollection(
        visual=tuple(known[chunk.id] for chunk in chunks),
        cached_visual_tokens=cached,
        degraded=tuple(degraded),
        load_s=loaded - started,
        encode_s=encoded - loaded,
    )


def prepare(store: Store, engine: Engine, scope: Scope, chunks: Sequence[Chunk]) -> None:
    """See that the visual tokens of ``chunks`` are stored, holding those of a few at a time."""
    for start in range(0, len(chunks), _PREPARED):
        recollect(store, engine, scope, chunks[start : start + _PREPARED])


def carry_over(
    store: Store, engine: Engine, source: Scope, target: Scope, chunks: Sequence[Chunk]
) -> None:
    """Store the visual tokens of ``chunks`` of one scope under another, bound to that one."""
    for start in range(0, len(chunks), _PREPARED):
        found = recollect(store, engine, source, chunks[start : start + _PREPARED])
        remember(store, engine, target, found.visual)


def remember(
    store: Store, engine: Engine, scope: Scope, tokens: Sequence[VisualTokens]
) -> list[str]:
    """Put visual tokens into the store; what went wrong, in words. They are only a cache."""
    if not tokens:
        return []
    try:
        data = {item.chunk_id: encode(item, scope, engine.spec.tensors) for item in tokens}
        store.put_many(scope, engine.spec.fingerprint, data)
    except StoreError as error:
        return [f"visual tokens were not cached: {error}"]
    return []


def reseal(store: Store, engine: Engine, scope: Scope, chunks: Sequence[Chunk]) -> int:
    """Seal the log of ``scope``, and the visual tokens of ``chunks``, under the newest key.

    Returns how many messages were under an older one. Raises ``InvalidInputError`` for a store
    without keys.
    """
    if not isinstance(store, SealedStore):
        raise InvalidInputError(
            f"{store.describe()} was opened without keys: there is nothing to seal with"
        )
    ids = list(dict.fromkeys(chunk.id for chunk in chunks))
    older = store.reseal(scope)
    for start in range(0, len(ids), _PREPARED):
        store.reseal_tensors(scope, engine.spec.fingerprint, ids[start : start + _PREPARED])
    return older


def _read(
    store: Store, engine: Engine, scope: Scope, chunks: Sequence[Chunk]
) -> tuple[dict[str, VisualTokens], list[str]]:
    """The good tensors by chunk id, and what was refused or out of reach."""
    fingerprint = engine.spec.fingerprint
    ids = list(dict.fromkeys(chunk.id for chunk in chunks))
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
