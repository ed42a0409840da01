"""What keeps a namespace in order: old tensors dropped, tensors made ahead for a new model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vist2_memory.engine.base import Engine
from vist2_memory.errors import ModelError
from vist2_memory.memory.carrying import Cut
from vist2_memory.store.base import Scope, Store
from vist2_memory.store.codec import encode

_AT_ONCE = 64
"""Chunks whose visual tokens are held at once."""

Progress = Callable[[int, int], None]
"""Called with the number done and the number in all."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection of garbage did, in counts."""

    scopes: int = 0
    """Sessions and collections that were looked at."""
    kept: int = 0
    """Tensors that are left."""
    old: int = 0
    """Dropped: made by another model, or under other settings."""
    unused: int = 0
    """Dropped: of chunks that are in the session or collection no more."""

    @property
    def dropped(self) -> int:
        """Tensors dropped."""
        return self.old + self.unused


@dataclass(frozen=True, slots=True)
class Reencoded:
    """What encoding ahead of time did, in counts."""

    scopes: int = 0
    chunks: int = 0
    """Chunks of all of them, equal ones of a scope counted once."""
    encoded: int = 0
    """Those that had no tensor of this model."""


def collect(
    store: Store, engine: Engine, scopes: Sequence[Scope], cut: Cut, progress: Progress
) -> Collected:
    """Drop the tensors of ``scopes`` that ``engine`` will not ask for."""
    kept = old = unused = 0
    for done, scope in enumerate(scopes, 1):
        # Listed before the log is read: a tensor that comes later is not dropped.
        for fingerprint, ids in store.tensor_ids(scope).items():
            if fingerprint != engine.spec.fingerprint:
                old += store.drop_many(scope, fingerprint, ids)
                continue
            used = {name for c in cut(scope) for name in store.listed_as(scope, c.id)}
            unused += store.drop_many(scope, fingerprint, [i for i in ids if i not in used])
            kept += sum(i in used for i in ids)
        progress(done, len(scopes))
    return Collected(len(scopes), kept, old, unused)


def reencode(
    store: Store, engine: Engine, scopes: Sequence[Scope], cut: Cut, progress: Progress
) -> Reencoded:
    """Encode the chunks of ``scopes`` that ``engine`` has no tensor of; begins where it ended.

    A failure to store raises, unlike in answering, where it only costs time.
    """
    if not engine.spec.answers:
        raise ModelError(
            f"the memory was opened with {engine.spec.model!r}, which makes no visual tokens: open "
            "it with a model that does"
        )
    total = encoded = 0
    for done, scope in enumerate(scopes, 1):
        chunks = {chunk.id: chunk for chunk in cut(scope)}
        there = set(store.tensor_ids(scope).get(engine.spec.fingerprint, ()))
        missing = [c for id, c in chunks.items() if there.isdisjoint(store.listed_as(scope, id))]
        for start in range(0, len(missing), _AT_ONCE):
            made = engine.encode(missing[start : start + _AT_ONCE])
            data = {item.chunk_id: encode(item, scope, engine.spec.tensors) for item in made}
            store.put_many(scope, engine.spec.fingerprint, data)
        total += len(chunks)
        encoded += len(missing)
        progress(done, len(scopes))
    return Reencoded(len(scopes), total, encoded)
