"""The log of one session as this process knows it: its transcript, kept up with other writers."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from vist2_memory.engine.base import Engine
from vist2_memory.errors import (
    AnswerNotLoggedError,
    ConflictError,
    LogLostError,
    QuotaExceededError,
    StoreError,
    StoreUnavailableError,
)
from vist2_memory.memory.recollection import Tensors
from vist2_memory.memory.replay import replay
from vist2_memory.memory.revisions import Made, asked, common, recut
from vist2_memory.memory.transcript import Transcript
from vist2_memory.store.base import Deleted, Scope, Store
from vist2_memory.store.outbox import Outbox
from vist2_memory.tracing import span
from vist2_memory.types import Chunk, Message

_ATTEMPTS = 20
"""How often an append is tried again after another writer came first."""


class _QuestionGoneError(ConflictError):
    """The question of an answer was deleted while the answer was made."""


class SessionLog:
    """The log under ``scope``, cut for the engine that ``engine`` gives when it is first needed.

    ``lock`` is held through every call; who needs two calls to see the same log holds it too. An
    answer that the store does not take goes to ``outbox``, and from there to the log before
    anything else is written; without an outbox it is raised.
    """

    def __init__(
        self,
        store: Store,
        engine: Callable[[], Engine],
        scope: Scope,
        tensors: Tensors,
        outbox: Outbox | None = None,
    ) -> None:
        self.store = store
        self.scope = scope
        self.outbox = outbox
        self.lock = threading.RLock()
        self._engine = engine
        self._tensors = tensors
        self._known: Transcript | None = None
        self._told: set[int] = set()  # which answers that were set aside
        self._read_at = 0.0
        self._settled_at: object = None  # the outbox's stamp when nothing waited there

    @property
    def may_wait(self) -> bool:
        """Whether there is an outbox with something in it, perhaps of this session."""
        return self.outbox is not None and self.outbox.path.exists()

    def messages(self) -> list[Message]:
        """All messages as the store holds them now."""
        self._settle_if_possible()
        return self.store.read(self.scope)

    def delete(self) -> Deleted:
        """Delete the log, the tensors of all models, and what the outbox has for this session."""
        with self.lock:
            self._known = None
            self._tensors.flush(self.scope)  # so that what is deleted is counted
            self._tensors.forget(self.scope)
            deleted = self.store.delete(self.scope)
            if self.outbox is None:
                return deleted
            kept = self.outbox.forget(self.store.identity, self.scope)
            return replace(deleted, outbox=kept)

    def settle(self) -> None:
        """Log what waits in the outbox for this session; raises if the store does not take it."""
        if self.outbox is None:
            return
        with self.lock:
            stamp = self.outbox.stamp()  # before it is read: what comes meanwhile is seen next time
            if stamp is None or stamp != self._settled_at:
                replay(self.store, self.outbox, self.scope)
                self._settled_at = stamp

    def forget(self, *, wait: bool = True) -> bool:
        """Read the whole log again at its next use; False if it may not ``wait`` and must."""
        if not self.lock.acquire(blocking=wait):
            return False
        self._known = None
        self.lock.release()
        return True

    def refresh(self) -> Transcript:
        """The transcript as the log holds it now."""
        with self.lock:
            self._settle_if_possible()
            if self._known is None:
                engine = self._engine()
                self._known = Transcript(engine.chunker, engine.spec.layout, engine.spec.tail_limit)
            known, revision = self._known.messages, self._known.revision
            with span("store", what="log", known=len(known)) as outcome:
                log = self.store.snapshot(self.scope, after=max(0, len(known) - 1))
                outcome["read"] = len(log.messages)
            new = log.messages
            if known and (
                log.revision != revision or not new or new[0].id != known[-1].id
            ):  # rewritten, or deleted and perhaps begun anew, by another process
                self._known = None
                self._tensors.forget(self.scope)
                self._check_not_rolled_back(known, revision)
                return self.refresh()
            self._known.revision = log.revision
            self._known.take(new[1:] if known else new)
            self._read_at = time.monotonic()
            return self._known

    def append(
        self,
        message: Message,
        ends: Iterable[int] = (),
        seen: tuple[int, int] | None = None,
        *,
        answers: bool = False,
    ) -> Message:
        """Log ``message`` with its cuts, after whatever other writers logged in between.

        ``ends``: cuts that were made while the answer was generated; they hold only if the log is
        still as the generation ``seen`` it. ``answers``: a question of the same turn must be in the
        log; raises `_QuestionGoneError` if it was taken back.
        """
        self.settle()
        for attempt in range(_ATTEMPTS):
            time.sleep(0.002 * attempt)
            state = self.refresh()
            known = next((m for m in state.messages if m.id == message.id), None)
            if known is not None and _said(known) == _said(message):
                return known
            if answers and not asked(state.messages, message.turn):
                raise _QuestionGoneError(f"the question of turn {message.turn!r} was taken back")
            cuts = state.cuts_after(message, ends if state.seen == seen else ())
            entry = replace(message, cuts=cuts, layout=state.layout)
            revision, count = state.seen
            try:
                with span("store", what="log", written=1):
                    self.store.append(self.scope, [entry], expected=count, revision=revision)
            except ConflictError:
                if known is not None:
                    raise
                continue
            self.refresh()
            return entry
        raise ConflictError(
            f"session {self.scope.name!r}: other writers came first {_ATTEMPTS} times; nothing of "
            "this message was stored, try again"
        )

    def extend(self, messages: Sequence[Message], after: int) -> list[Chunk]:
        """Log ``messages``, all or none, if the log holds just ``after`` messages; the new chunks.

        Raises ``ConflictError`` where it holds more or fewer.
        """
        self.settle()
        state = self.refresh()
        revision, count = state.seen
        if count != after:
            raise ConflictError(
                f"session {self.scope.name!r} holds {count} messages, not {after}: another writer "
                "came first; look again"
            )
        grown = replace(state, messages=list(state.messages), chunks=list(state.chunks))
        for message in messages:
            cuts = grown.cuts_after(message)
            grown.take([replace(message, cuts=cuts, layout=state.layout)])
        new, entries = grown.chunks[len(state.chunks) :], grown.messages[count:]
        self.store.append(self.scope, entries, expected=count, revision=revision)
        self.refresh()
        return new

    def revise(
        self, change: Callable[[list[Message]], list[Message]], made: Made | None = None
    ) -> list[Chunk]:
        """Make the log what ``change`` returns of its messages; the chunks that are new then.

        What stands before the first change keeps its cuts, the rest is cut anew. Tensors of chunks
        that are no more are dropped first, so that none outlasts its text. ``change`` is called
        again where another writer came first.
        """
        self.settle()
        token = uuid.uuid4().hex
        for attempt in range(_ATTEMPTS):
            time.sleep(0.002 * attempt)
            state = self.refresh()
            revision, count = state.seen
            after = recut(state, change(list(state.messages)), made)
            keep = common(state.messages, after.messages)
            if keep == count == len(after.messages):
                return []
            before, now = ({c.id: c for c in chunks} for chunks in (state.chunks, after.chunks))
            gone = [id for id in before if id not in now]
            self._tensors.drop(self._engine(), self.scope, gone)
            try:
                self.store.rewrite(
                    self.scope,
                    keep,
                    after.messages[keep:],
                    expected=count,
                    last=state.messages[-1].id,
                    revision=revision,
                    token=token,
                )
            except ConflictError:
                continue
            self._known = None
            self.refresh()
            return [chunk for id, chunk in now.items() if id not in before]
        raise ConflictError(
            f"session {self.scope.name!r}: other writers came first {_ATTEMPTS} times; nothing was "
            "changed, try again"
        )

    def close_turn(
        self, question: Message, answer: Message, ends: Iterable[int], seen: tuple[int, int]
    ) -> tuple[bool, list[str]]:
        """Log ``answer``, or keep it; whether it is in the log, and what was out of the ordinary.

        Raises `AnswerNotLoggedError` where the store took it as little as the outbox.
        """
        with self.lock:
            try:
                return True, self._log_answer(question, answer, ends, seen)
            except _QuestionGoneError:
                return False, ["the question was taken back meanwhile; this answer was not logged"]
            except QuotaExceededError as error:  # waiting in the outbox would make no room
                return False, [f"the answer was not logged: {error}"]
            except StoreError as error:
                return False, [self._keep(question, answer, error)]
            except (KeyboardInterrupt, SystemExit):  # while the store did not answer
                self._keep(question, answer, StoreUnavailableError("interrupted"))
                raise

    def asides(self) -> list[str]:
        """The answers of this session that cannot be logged, in words; each is told once."""
        if self.outbox is None:
            return []
        found = [
            kept for kept in self.outbox.entries(self.store.identity, self.scope) if kept.aside
        ]
        new = [kept for kept in found if kept.number not in self._told]
        self._told.update(kept.number for kept in new)
        return [
            f"an earlier answer ({kept.id}) was not logged: {kept.aside}; it is number "
            f"{kept.number} in the outbox {self.outbox.path}, see vist2 outbox"
            for kept in new
        ]

    def _log_answer(
        self, question: Message, answer: Message, ends: Iterable[int], seen: tuple[int, int]
    ) -> list[str]:
        try:
            self.append(answer, ends, seen, answers=True)
        except ConflictError:
            if not any(message.id == answer.id for message in self.refresh().messages):
                raise
            return ["another answer to this turn was logged first; this one was not"]
        return []

    def _keep(self, question: Message, answer: Message, error: StoreError) -> str:
        """Keep an answer that the store did not take because of ``error``; says so."""
        why = "there is no outbox to keep it in"
        if self.outbox is not None:
            try:
                self.outbox.keep(self.store, self.scope, question, answer)
                return (
                    f"the answer is not in the log yet, {self.outbox.path} keeps it until the "
                    f"store takes it: {error}"
                )
            except StoreError as failure:
                why = str(failure)
        raise AnswerNotLoggedError(
            f"the answer to turn {answer.turn!r} of session {self.scope.name!r} was generated and "
            f"is lost unless you keep it (it is this error's .text): {error}; {why}",
            text=answer.text,
            turn=answer.turn,
        ) from error

    def _settle_if_possible(self) -> None:
        """Reading goes on where the store takes nothing: what waits is told by the next write."""
        with suppress(StoreUnavailableError, ConflictError):
            self.settle()

    def _check_not_rolled_back(self, known: Sequence[Message], revision: int) -> None:
        """Refuse a log that begins as it was seen and lacks what was seen later.

        That is what a fail-over leaves of a log whose newest messages no replica had yet. A log
        that was rewritten has a higher revision; a lower one lost a rewrite.
        """
        log = self.store.snapshot(self.scope)
        if log.revision > revision:
            return
        if not log.messages:
            self._check_not_evicted(len(known))
        kept = 0
        for there, seen in zip(log.messages, known, strict=False):
            if there.id != seen.id:
                break
            kept += 1
        if kept and log.revision < revision:
            raise LogLostError(
                f"session {self.scope.name!r} was at revision {revision}, the store has revision "
                f"{log.revision} now: it lost the newest edits, as a fail-over or a restored "
                "backup does. What is left is used from now on; edit again what is missing."
            )
        if kept:
            raise LogLostError(
                f"session {self.scope.name!r} held {len(known)} messages, of which the store has "
                f"{kept} now: it lost the newest ones, as a fail-over or a restored backup does. "
                "What is left is used from now on; say again what is missing."
            )

    def _check_not_evicted(self, seen: int) -> None:
        """Refuse to begin anew where a server drops keys: a deleted log looks the same there."""
        risk = self.store.eviction()
        expired = self.store.ttl is not None and time.monotonic() - self._read_at >= self.store.ttl
        if risk is not None and not expired:
            raise LogLostError(
                f"session {self.scope.name!r} held {seen} messages and is empty now: it was "
                f"deleted elsewhere or evicted. {risk}. The session is begun anew from now on."
            )


def _said(message: Message) -> tuple[Any, ...]:
    return message.role, message.text, message.calls
