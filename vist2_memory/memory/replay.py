"""Answers out of the outbox into the log: in order, once, and only after their question.

Works on the store alone, so that no model is loaded for it: the answer is logged without cuts, and
whoever reads it cuts it. Several processes may replay the same answer at the same time: its id
makes that one message.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from vist2_memory.errors import ConflictError, StoreFormatError, TamperedError
from vist2_memory.store.base import Scope, Store
from vist2_memory.store.outbox import Kept, Outbox
from vist2_memory.store.records import to_records
from vist2_memory.types import Message

_ATTEMPTS = 20
"""How often one is tried again after another writer came first."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the answers in an outbox."""

    logged: int = 0
    """In the log now."""
    waiting: int = 0
    """Left, since the store did not take them."""
    aside: int = 0
    """Left for somebody to decide on: they cannot be logged."""


def replay(store: Store, outbox: Outbox, scope: Scope, *, aside: bool = False) -> Replayed:
    """Log the answers that wait for ``scope``; with ``aside`` those that could not be, too.

    Raises what the store raises; what was not logged by then is left in the outbox.
    """
    logged = left = 0
    for kept in outbox.entries(store.identity, scope):
        if kept.aside and not aside:
            left += 1
            continue
        why = _log(store, kept)
        if why:
            outbox.set_aside(kept.number, why)
            left += 1
        else:
            outbox.remove(kept.number)
            logged += 1
    return Replayed(logged=logged, aside=left)


def _log(store: Store, kept: Kept) -> str:
    """Log the answer; why it cannot be logged, if so."""
    try:
        answer = kept.answer(store)
    except (StoreFormatError, TamperedError) as error:
        return str(error)
    for attempt in range(_ATTEMPTS):
        time.sleep(0.002 * attempt)
        seen = store.snapshot(kept.scope)
        log = seen.messages
        if any(message.id == kept.id and _digest(message) == kept.digest for message in log):
            return ""
        why = _against(log, kept, answer)
        if why:
            return why
        try:
            store.append(kept.scope, [answer], expected=len(log), revision=seen.revision)
        except ConflictError:
            continue
        return ""
    raise ConflictError(
        f"session {kept.scope.name!r}: other writers came first {_ATTEMPTS} times; an answer waits "
        "in the outbox, try again"
    )


def _against(log: Sequence[Message], kept: Kept, answer: Message) -> str:
    """What speaks against logging ``answer``; empty if nothing does."""
    if not log:
        return "the session was deleted before the answer could be logged"
    question = next((m for m in log if m.id == kept.question), None)
    if question is None:
        return "its question is not in the log any more: it was taken back or lost"
    if _digest(question) != kept.asked:
        return "its question is another one in the log: it was edited"
    after = log[log.index(question) + 1 :]
    for message in after:
        if message.id == answer.id or (
            answer.turn and message.turn == answer.turn and message.role == answer.role
        ):
            return "another answer to its turn was logged"
    return ""


def _digest(message: Message) -> bytes:
    [record] = to_records([message])
    return record.digest
