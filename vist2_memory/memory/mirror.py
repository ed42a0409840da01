"""How a session mirrors a conversation that is kept elsewhere: what it holds, and what it takes up.

Who keeps the conversation compares it with :meth:`Mirror.held`, adds what is new by
:meth:`Mirror.extend`, learns from :meth:`Mirror.measure` what fits, and has the model read a part
by ``Session.complete``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vist2_memory.memory.context import Needs, check_pinned, needs
from vist2_memory.memory.log import SessionLog
from vist2_memory.memory.validation import check_payload, check_role, check_said
from vist2_memory.store.base import Scope
from vist2_memory.text.transcript import written
from vist2_memory.types import GenerationParams, Message

if TYPE_CHECKING:
    from vist2_memory.memory.collection import Collection
    from vist2_memory.memory.memory import VisualMemory


class Mirror:
    """The part of :class:`Session` that follows a conversation kept elsewhere."""

    _memory: VisualMemory
    _log: SessionLog
    scope: Scope

    def held(self) -> list[Message]:
        """All messages, of which only those are read from the store that are new to this process.

        Loads the engine, if it was not needed before.
        """
        with self._log.lock:
            return list(self._log.refresh().messages)

    def extend(self, messages: Sequence[Message], *, after: int) -> None:
        """Add ``messages``, all or none, if the session holds just ``after`` messages.

        Each has an id of its own. Raises ``ConflictError`` where the session holds more or fewer,
        or an id is there already with another message; and what ``add`` raises.
        """
        now = time.time()
        for message in messages:
            check_said(message)
            check_role(message.role)
            check_payload(message.payload)
        entries = [replace(message, time=message.time or now) for message in messages]
        pinned = "".join(written(message) for message in entries if message.role == "system")
        with self._log.lock:
            if pinned:
                before = self._log.refresh().pinned
                check_pinned(self._memory.engine, self.scope.name, before + pinned)
            new = self._log.extend(entries, after)
            self._memory.tensors.prepare(self._memory.engine, self.scope, new)

    def measure(
        self,
        recent: Sequence[Message] = (),
        *,
        upto: int | None = None,
        include: Sequence[Collection] = (),
        params: GenerationParams | None = None,
    ) -> Needs:
        """What `Session.complete` would read, given the same and no budget; nothing is encoded."""
        with self._log.lock:
            state = self._log.refresh()
            before = state if upto is None else state.until(upto)
            options = params or GenerationParams()
            return needs(self._memory.engine, before, include, options, recent)

    # Async twins

    async def aheld(self) -> list[Message]:
        """:meth:`held`, without blocking the event loop."""
        return await asyncio.to_thread(self.held)

    async def aextend(self, messages: Sequence[Message], *, after: int) -> None:
        """:meth:`extend`, without blocking the event loop."""
        await asyncio.to_thread(self.extend, messages, after=after)
