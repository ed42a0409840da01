"""The log of one session as this process knows it: its transcript, kept up with other writers."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from vist2_memory.engine.base import Engine
from vist2_memory.errors import ConflictError, LogLostError
from vist2_memory.memory.revisions import Made, asked, common, recut
from vist2_memory.memory.transcript import Transcript
from vist2_memory.store.base import Deleted, Scope, Store
from vist2_memory.types import Chunk, Message

_ATTEMPTS = 20
"""How often an append is tried again after another writer came first."""


class SessionLog:
    """The log under ``scope``, cut for the engine that ``engine`` gives when it is first needed.

    ``lock`` is held through every call; who needs two calls to see the same log holds it too.
    """

    def __init__(self, store: Store, engine: Callable[[], Engine], scope: Scope) -> None:
        self.store = store
        self.scope = scope
        self.lock = threading.RLock()
        self._engine = engine
        self._known: Transcript | None = None

    def messages(self) -> list[Message]:
        """All messages as the store holds them now."""
        return self.store.read(self.scope)

    def delete(self) -> Deleted:
        """Delete the log and the tensors of all models."""
        with self.lock:
            self._known = None
            return self.store.delete(self.scope)

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
            if self._known is None:
                engine = self._engine()
                self._known = Transcript(engine.chunker, engine.spec.layout, engine.spec.tail_limit)
            known, revision = self._known.messages, self._known.revision
            log = self.store.snapshot(self.scope, after=max(0, len(known) - 1))
            new = log.messages
            if known and (
                log.revision != revision or not new or new[0].id != known[-1].id
            ):  # rewritten, or deleted and perhaps begun anew, by another process
                self._known = None
                self._check_not_rolled_back(known, revision)
                return self.refresh()
            self._known.revision = log.revision
            self._known.take(new[1:] if known else new)
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
        log; raises ``ConflictError`` if it was taken back.
        """
        for attempt in range(_ATTEMPTS):
            time.sleep(0.002 * attempt)
            state = self.refresh()
            known = next((m for m in state.messages if m.id == message.id), None)
            if known is not None and (known.role, known.text) == (message.role, message.text):
                return known
            if answers and not asked(state.messages, message.turn):
                raise ConflictError(f"the question of turn {message.turn!r} was taken back")
            cuts = state.cuts_after(message, ends if state.seen == seen else ())
            entry = replace(message, cuts=cuts, layout=state.layout)
            revision, count = state.seen
            try:
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

    def revise(
        self, change: Callable[[list[Message]], list[Message]], made: Made | None = None
    ) -> list[Chunk]:
        """Make the log what ``change`` returns of its messages; the chunks that are new then.

        What stands before the first change keeps its cuts, the rest is cut anew. Tensors of chunks
        that are no more are dropped first, so that none outlasts its text. ``change`` is called
        again where another writer came first.
        """
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
            if gone:
                self.store.drop_many(self.scope, self._engine().spec.fingerprint, gone)
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

    def _check_not_rolled_back(self, known: Sequence[Message], revision: int) -> None:
        """Refuse a log that begins as it was seen and lacks what was seen later.

        That is what a fail-over leaves of a log whose newest messages no replica had yet. A log
        that was rewritten has a higher revision; a lower one lost a rewrite.
        """
        log = self.store.snapshot(self.scope)
        if log.revision > revision:
            return
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
