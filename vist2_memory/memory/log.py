"""The log of one session as this process knows it: its transcript, kept up with other writers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from vist2_memory.engine.base import Engine
from vist2_memory.errors import ConflictError, LogLostError
from vist2_memory.memory.transcript import Transcript
from vist2_memory.store.base import Deleted, Scope, Store
from vist2_memory.types import Message

_ATTEMPTS = 20
"""How often an append is tried again after another writer came first."""


class SessionLog:
    """The log under ``scope``, cut for the engine that ``engine`` gives when it is first needed.

    ``lock`` is held through every call; who needs two calls to see the same log holds it too.
    ``forget`` is called when the log is deleted, here or elsewhere.
    """

    def __init__(
        self,
        store: Store,
        engine: Callable[[], Engine],
        scope: Scope,
        forget: Callable[[Scope], None] = lambda scope: None,
    ) -> None:
        self.store = store
        self.scope = scope
        self.lock = threading.RLock()
        self._engine = engine
        self._forget = forget
        self._known: Transcript | None = None
        self._read_at = 0.0

    def messages(self) -> list[Message]:
        """All messages as the store holds them now."""
        return self.store.read(self.scope)

    def delete(self) -> Deleted:
        """Delete the log and the tensors of all models."""
        with self.lock:
            self._known = None
            self._forget(self.scope)
            return self.store.delete(self.scope)

    def refresh(self) -> Transcript:
        """The transcript as the log holds it now."""
        with self.lock:
            if self._known is None:
                engine = self._engine()
                self._known = Transcript(engine.chunker, engine.spec.layout, engine.spec.tail_limit)
            known = self._known.messages
            new = self.store.read(self.scope, after=max(0, len(known) - 1))
            if known and (not new or new[0].id != known[-1].id):
                self._known = None  # deleted, and perhaps begun anew, by another process
                self._forget(self.scope)
                self._check_not_rolled_back(known)
                return self.refresh()
            self._known.take(new[1:] if known else new)
            self._read_at = time.monotonic()
            return self._known

    def append(self, message: Message, ends: Iterable[int] = (), seen: int = -1) -> Message:
        """Log ``message`` with its cuts, after whatever other writers logged in between.

        ``ends``: cuts that were made while the answer was generated; they hold only if the log
        still has the ``seen`` messages that the generation started from.
        """
        for attempt in range(_ATTEMPTS):
            time.sleep(0.002 * attempt)
            state = self.refresh()
            known = next((m for m in state.messages if m.id == message.id), None)
            if known is not None and (known.role, known.text) == (message.role, message.text):
                return known
            count = len(state.messages)
            cuts = state.cuts_after(message, ends if count == seen else ())
            entry = replace(message, cuts=cuts, layout=state.layout)
            try:
                self.store.append(self.scope, [entry], expected=count)
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

    def _check_not_rolled_back(self, known: Sequence[Message]) -> None:
        """Refuse a log that begins as it was seen and lacks what was seen later.

        That is what a fail-over leaves of a log whose newest messages no replica had yet.
        """
        kept, stored = 0, self.messages()
        if not stored:
            self._check_not_evicted(len(known))
        for there, seen in zip(stored, known, strict=False):
            if there.id != seen.id:
                break
            kept += 1
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
