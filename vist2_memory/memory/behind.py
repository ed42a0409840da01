"""Writing tensors behind: an answer does not wait until its visual tokens are stored.

They are only a cache, so a write that fails costs another encoding later and is told, not raised;
who holds what failed may put it again.
What must hold is that a deleted scope stays deleted: whoever deletes one calls `WriteBehind.flush`
and `WriteBehind.forget` first and lets nobody put anything in between; what other processes delete
is looked for after each write.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from vist2_memory.errors import LogLostError
from vist2_memory.store.base import Scope, Store

_log = logging.getLogger(__name__)

LIMIT = 64 * 2**20
"""Bytes that may wait to be written; who brings more waits."""
_NOTES, _NOTED = 4, 1024
"""Remarks that are kept for a scope until somebody asks, and scopes that they are kept for."""


@dataclass(frozen=True, slots=True)
class _Job:
    """Tensors to put, or, without any, chunks whose tensors were used."""

    scope: Scope
    fingerprint: str
    items: Mapping[str, bytes]
    used: Sequence[str] = ()

    @property
    def size(self) -> int:
        return sum(map(len, self.items.values()))


class WriteBehind:
    """One thread that writes to ``store``; it runs while there is something to write.

    The interpreter waits for it at its end, so what was put is written without `flush` too.
    ``failed`` is called there with what could not be written: scope, fingerprint and chunk ids.
    """

    def __init__(
        self,
        store: Store,
        limit: int = LIMIT,
        *,
        failed: Callable[[Scope, str, Iterable[str]], None] = lambda scope, fingerprint, ids: None,
    ) -> None:
        self._store, self._limit, self._failed = store, limit, failed
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._doing: _Job | None = None
        self._bytes = 0  # of what waits and what is being written
        self._running = False
        self._notes: OrderedDict[Scope, dict[str, None]] = OrderedDict()

    def put(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        """Store ``items`` soon; waits while there is no room."""
        self._add(_Job(scope, fingerprint, items))

    def touch(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> None:
        """Tell the store soon that these were used."""
        self._add(_Job(scope, fingerprint, {}, chunk_ids))

    def flush(self, scope: Scope | None = None) -> None:
        """Wait until all that was put, of ``scope`` if it is given, is written or has failed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._has(scope))

    def waiting(self, scope: Scope) -> bool:
        """Whether something of ``scope`` is not written yet."""
        with self._changed:
            return self._has(scope)

    def waits_for(self, scope: Scope, fingerprint: str, chunk_ids: Iterable[str]) -> bool:
        """Whether one of these tensors is not written yet."""
        with self._changed:
            jobs = [*self._jobs, *([self._doing] if self._doing is not None else ())]
            ours = [j for j in jobs if (j.scope, j.fingerprint) == (scope, fingerprint)]
            return any(chunk_id in job.items for chunk_id in chunk_ids for job in ours)

    def forget(self, scope: Scope) -> None:
        """Write nothing more of ``scope`` of what was put; what is on its way is waited for."""
        with self._changed:
            kept = [job for job in self._jobs if job.scope != scope]
            self._bytes -= sum(job.size for job in self._jobs) - sum(job.size for job in kept)
            self._jobs = deque(kept)
            self._notes.pop(scope, None)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._has(scope))

    def notes(self, scope: Scope) -> list[str]:
        """What went wrong with ``scope`` since this was asked last, in words."""
        with self._changed:
            return list(self._notes.pop(scope, ()))

    def _has(self, scope: Scope | None) -> bool:
        if scope is None:
            return self._running
        doing = self._doing is not None and self._doing.scope == scope
        return doing or any(job.scope == scope for job in self._jobs)

    def _add(self, job: _Job) -> None:
        size = job.size
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes or self._bytes + size <= self._limit)
            self._jobs.append(job)
            self._bytes += size
            if self._running:
                return
            self._running = True
        try:
            threading.Thread(target=self._run, name="vist2-tensors").start()
        except RuntimeError:  # the interpreter is ending and starts no threads
            self._run()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._doing is not None:
                    self._bytes -= self._doing.size
                self._doing = self._jobs.popleft() if self._jobs else None
                self._running = self._doing is not None
                self._changed.notify_all()
                job = self._doing
            if job is None:
                return
            try:
                self._do(job)
            except Exception as error:  # nobody waits here: it is told with the next answer
                self._failed(job.scope, job.fingerprint, job.items)
                self._note(job.scope, error)

    def _do(self, job: _Job) -> None:
        scope, fingerprint = job.scope, job.fingerprint
        if not job.items:
            self._store.touch(scope, fingerprint, job.used)
            return
        self._store.put_many(scope, fingerprint, job.items)
        with suppress(LogLostError):  # whoever reads the log is told
            if not self._store.count(scope):
                # Another process deleted the scope before its tensors came.
                self._store.drop_many(scope, fingerprint, list(job.items))

    def _note(self, scope: Scope, error: Exception) -> None:
        _log.warning("visual tokens of %s were not cached: %s", scope.key, error)
        with self._changed:
            notes = self._notes.setdefault(scope, {})
            self._notes.move_to_end(scope)
            if len(notes) < _NOTES:
                notes[f"visual tokens were not cached: {error}"] = None
            if len(self._notes) > _NOTED:
                self._notes.popitem(last=False)
