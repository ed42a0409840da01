"""A session or collection from one store to another, without ever being in neither.

The log is copied verbatim and read back before the source is deleted, and the source is deleted
only if it still holds exactly what was copied. Killed at any point, the same call does the rest.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from vist2_memory.errors import ConflictError, InvalidInputError
from vist2_memory.memory.carrying import Cut, copy_tensors
from vist2_memory.store.base import Scope, Store
from vist2_memory.store.joined import JoinedStore
from vist2_memory.store.sealed import SealedStore
from vist2_memory.types import Message

_PROBE = "vist2-move"
"""A fingerprint that no model has."""
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved, in counts. ``tensors``: those that the target did not have."""

    sessions: int = 0
    collections: int = 0
    messages: int = 0
    tensors: int = 0

    def __add__(self, other: Moved) -> Moved:
        return Moved(
            self.sessions + other.sessions,
            self.collections + other.collections,
            self.messages + other.messages,
            self.tensors + other.tensors,
        )


def move(
    source: Store, of: Scope, target: Store, into: Scope, cut: Cut = lambda scope: ()
) -> Moved:
    """Move ``of`` in ``source`` to ``into`` in ``target``; what was moved.

    ``cut`` is asked for the chunks of ``of`` where the source hides which ones it has tensors of.
    One that was moved already, and is not in the source any more, counts nothing. Raises
    ``InvalidInputError`` where there is nothing to move or both are one place, ``ConflictError``
    where the target holds something else or the source is written all the time.
    """
    tensors = 0
    for _ in range(_ATTEMPTS):
        log, there = source.snapshot(of), target.read(into)
        messages = log.messages
        if not messages:
            if there:  # moved before, but perhaps not to the end
                source.delete(of, expected=0)
                return Moved()
            raise InvalidInputError(
                f"there is no {of.kind} {of.name!r} in {source.describe()}, namespace "
                f"{of.namespace!r}, nor in {target.describe()}"
            )
        _check_begins(messages, there, target, into)
        if of == into:
            _check_apart(source, target, of)
        target.append(into, messages, expected=len(there))
        _check_same(messages, target.read(into), target, into)
        tensors += copy_tensors(source, of, target, into, cut)
        try:
            source.delete(of, expected=len(messages), revision=log.revision)
        except ConflictError:
            continue  # it went on meanwhile
        session = of.kind == "session"
        return Moved(int(session), int(not session), len(messages), tensors)
    raise ConflictError(f"{of.key} is written by others all the time: stop them first")


def _check_begins(
    messages: Sequence[Message], there: Sequence[Message], target: Store, into: Scope
) -> None:
    """Refuse a target that holds something else than the beginning of ``messages``."""
    if list(there) != list(messages[: len(there)]):
        raise ConflictError(
            f"{into.kind} {into.name!r} exists already in {target.describe()} with other messages "
            f"({len(there)}): delete it there, or move to another name; nothing was changed"
        )


def _check_same(
    messages: Sequence[Message], there: Sequence[Message], target: Store, into: Scope
) -> None:
    if list(there) != list(messages):
        raise ConflictError(
            f"{into.key} in {target.describe()} does not hold what was written there just now: "
            "another writer was there; the source is as it was"
        )


def _check_apart(source: Store, target: Store, scope: Scope) -> None:
    """Refuse two stores that are one place, by whatever URLs: its only copy would be deleted."""
    nonce = secrets.token_hex(8)
    at, seen_from = _bare(target), _bare(source)  # with other keys they would see different names
    at.put_many(scope, _PROBE, {nonce: b"1"})
    try:
        [seen] = seen_from.get_many(scope, _PROBE, [nonce])
    finally:
        at.drop_many(scope, _PROBE, [nonce])
    if seen is not None:
        raise InvalidInputError(
            f"{source.describe()} and {target.describe()} are one place: nothing to move"
        )


def _bare(store: Store) -> Store:
    """Where the log of ``store`` lies, without its keys."""
    if isinstance(store, SealedStore):
        return _bare(store.bare)
    return _bare(store.log) if isinstance(store, JoinedStore) else store
