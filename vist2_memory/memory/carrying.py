"""Messages and tensors from one place into another: files, other programs' histories, stores.

A stored tensor is bound to its scope. Where that stays the same its bytes are taken as they are;
where not, they are decoded under the old one and encoded under the new. What does not decode is
left behind: it is a cache, and encoded again when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vist2_memory.errors import CodecError, ConflictError
from vist2_memory.memory.exports import ExportedTensors, said
from vist2_memory.store.base import Scope, Store
from vist2_memory.store.codec import decode, encode
from vist2_memory.types import Message

AT_ONCE = 64
"""Tensors that are held at once."""


def take_in(store: Store, scope: Scope, messages: Sequence[Message]) -> int:
    """Store those of ``messages`` that the scope lacks, after those that it has; how many.

    Raises ``ConflictError``, and stores nothing, where it holds other messages.
    """
    there, wanted = said(store.read(scope)), said(messages)
    if there[: len(wanted)] == wanted:
        return 0  # taken in before, and perhaps gone on since
    if wanted[: len(there)] != there:
        raise ConflictError(
            f"{scope.kind} {scope.name!r} exists already with {len(there)} messages, and they are "
            "others: delete it, or import under another id"
        )
    return store.append(scope, messages, expected=len(there)) - len(there)


def carry(data: Mapping[str, bytes], fingerprint: str, of: Scope, into: Scope, store: Store) -> int:
    """Store the good ones of ``data``, stored bytes by chunk id, under ``into``; how many."""
    good: dict[str, bytes] = {}
    for chunk, stored in data.items():
        try:
            tokens = decode(stored, scope=of, fingerprint=fingerprint, chunk_id=chunk)
        except CodecError:
            continue
        good[chunk] = stored if of == into else encode(tokens, into)
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


def copy_tensors(source: Store, of: Scope, target: Store, into: Scope) -> int:
    """Copy all good tensors of a scope that the target lacks; how many."""
    copied = 0
    there = target.tensor_ids(into)
    for fingerprint, ids in source.tensor_ids(of).items():
        missing = sorted(set(ids) - set(there.get(fingerprint, ())))
        for start in range(0, len(missing), AT_ONCE):
            data = read_good(source, of, fingerprint, missing[start : start + AT_ONCE])
            copied += carry(data, fingerprint, of, into, target)
    return copied
