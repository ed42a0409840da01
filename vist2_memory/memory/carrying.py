"""Messages and tensors from one place into another: files, other programs' histories, stores.

A stored tensor is bound to its scope. Where that stays the same its bytes are taken as they are;
where not, they are bound to the new one, values and format as they were. What does not decode is
left behind: it is a cache, and encoded again when it is needed. Keys are the stores' concern: what
they give out here is open, what they are given they seal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vist2_memory.errors import CodecError, ConflictError
from vist2_memory.memory.exports import ExportedTensors, said
from vist2_memory.store.base import HiddenName, Scope, Store
from vist2_memory.store.codec import bound, decode
from vist2_memory.types import Chunk, Message

AT_ONCE = 64
"""Tensors that are held at once."""

Cut = Callable[[Scope], Sequence[Chunk]]
"""The chunks of a scope, as its log and the engine have them now."""


def take_in(store: Store, scope: Scope, messages: Sequence[Message]) -> int:
    """Store those of ``messages`` that the scope lacks, after those that it has; how many.

    Raises ``ConflictError``, and stores nothing, where it holds other messages.
    """
    log = store.snapshot(scope)
    there, wanted = said(log.messages), said(messages)
    if there[: len(wanted)] == wanted:
        return 0  # taken in before, and perhaps gone on since
    if wanted[: len(there)] != there:
        raise ConflictError(
            f"{scope.kind} {scope.name!r} exists already with {len(there)} messages, and they are "
            "others: delete it, or import under another id"
        )
    count = store.append(scope, messages, expected=len(there), revision=log.revision)
    return count - len(there)


def carry(data: Mapping[str, bytes], fingerprint: str, of: Scope, into: Scope, store: Store) -> int:
    """Store the good ones of ``data``, stored bytes by chunk id, under ``into``; how many."""
    good: dict[str, bytes] = {}
    for chunk, stored in data.items():
        try:
            decode(stored, scope=of, fingerprint=fingerprint, chunk_id=chunk)
        except CodecError:
            continue
        good[chunk] = stored if of == into else bound(stored, into)
    if good:
        store.put_many(into, fingerprint, good)
    return len(good)


def take_tensors(
    store: Store, scope: Scope, tensors: ExportedTensors, chunk_ids: Sequence[str]
) -> int:
    """Store those of ``chunk_ids`` that were exported and are whole; how many."""
    taken = 0
    for start in range(0, len(chunk_ids), AT_ONCE):
        data = tensors.read(chunk_ids[start : start + AT_ONCE])
        taken += carry(data, tensors.fingerprint, tensors.scope, scope, store)
    return taken


def read_good(
    store: Store, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
) -> dict[str, bytes]:
    """The stored bytes of those chunks whose tensors are there and whole."""
    found = zip(chunk_ids, store.get_many(scope, fingerprint, chunk_ids), strict=True)
    good: dict[str, bytes] = {}
    for chunk, stored in found:
        if stored is None:
            continue
        try:
            decode(stored, scope=scope, fingerprint=fingerprint, chunk_id=chunk)
        except CodecError:
            continue
        good[chunk] = stored
    return good


def copy_tensors(source: Store, of: Scope, target: Store, into: Scope, cut: Cut) -> int:
    """Copy all good tensors of a scope that the target lacks; how many.

    A source that hides chunk ids can tell only those of the chunks that ``cut`` gives.
    """
    copied = 0
    there = target.tensor_ids(into)
    for fingerprint, listed in source.tensor_ids(of).items():
        ids = set(listed)
        if any(isinstance(name, HiddenName) for name in listed):
            known = {chunk.id for chunk in cut(of)}
            ids = {chunk for chunk in known if not ids.isdisjoint(source.listed_as(of, chunk))}
        held = set(there.get(fingerprint, ()))
        missing = sorted(c for c in ids if held.isdisjoint(target.listed_as(into, c)))
        for start in range(0, len(missing), AT_ONCE):
            data = read_good(source, of, fingerprint, missing[start : start + AT_ONCE])
            copied += carry(data, fingerprint, of, into, target)
    return copied
