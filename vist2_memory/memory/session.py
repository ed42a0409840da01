"""A session: one conversation, its log, and answers from its visual memory."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vist2_memory.engine.base import Engine
from vist2_memory.engine.pages import PageEngine
from vist2_memory.errors import ModelError
from vist2_memory.memory.answering import Answering
from vist2_memory.memory.carrying import read_good
from vist2_memory.memory.collection import Collection
from vist2_memory.memory.context import check_pinned
from vist2_memory.memory.delivery import Delivery, Room, deliver
from vist2_memory.memory.exports import write_export
from vist2_memory.memory.log import SessionLog
from vist2_memory.memory.mirror import Mirror
from vist2_memory.memory.reading import ReadingOptions, reading
from vist2_memory.memory.revisable import Revisable
from vist2_memory.memory.transcript import Transcript
from vist2_memory.memory.validation import check_payload, check_role, check_said
from vist2_memory.selection import Policy
from vist2_memory.store.base import Deleted, Scope
from vist2_memory.text.transcript import written
from vist2_memory.types import Chunk, Message

if TYPE_CHECKING:
    from vist2_memory.memory.memory import VisualMemory


class Session(Answering, Mirror, Revisable):
    """One conversation. Made by :meth:`VisualMemory.session`; safe to use from several threads."""

    def __init__(self, memory: VisualMemory, scope: Scope) -> None:
        self._memory = memory
        self.scope = scope
        tensors, outbox = memory.tensors, memory.outbox
        self._log = SessionLog(memory.store, lambda: memory.engine, scope, tensors, outbox)

    @property
    def id(self) -> str:
        """The session id as it was given."""
        return self.scope.name

    @property
    def engine(self) -> Engine:
        """The engine that cuts, encodes and answers, loaded at the first use."""
        return self._memory.engine

    # Reading

    def messages(self) -> list[Message]:
        """All messages, verbatim and in order, as the log holds them now."""
        return self._log.messages()

    def chunks(self) -> list[Chunk]:
        """The chunks that the transcript is cut into; what lies after them is the tail."""
        return list(self._log.refresh().chunks)

    def tail(self) -> str:
        """The newest part of the transcript, which is still text."""
        return self._log.refresh().tail

    def transcript(self) -> Transcript:
        """Messages, chunks and tail as they belong together now; a copy, which stays as it is."""
        with self._log.lock:
            state = self._log.refresh()
            return replace(state, messages=list(state.messages), chunks=list(state.chunks))

    # Writing

    def add(
        self,
        role: str,
        text: str,
        *,
        id: str | None = None,
        turn: str = "",
        payload: Mapping[str, Any] | None = None,
    ) -> Message:
        """Store a message verbatim, and draw, encode and cache the chunks that it fills.

        ``id`` makes the call idempotent: the same message under the same id is stored once. An
        assistant's tool calls are in ``payload``, see ``Message.calls``; then ``text`` may be
        empty. Raises ``InvalidMessageError`` (nothing is stored), ``ContextOverflowError`` for a
        system prompt that the model cannot hold, and ``StoreError`` when the store did not take the
        message.
        """
        message = check_said(
            Message(
                role=check_role(role),
                text=text,
                id=id or uuid.uuid4().hex,
                turn=turn or (uuid.uuid4().hex if role == "user" else ""),
                time=time.time(),
                payload=payload or {},
            )
        )
        with self._log.lock:
            self._check_pinned(message)
            stored = self._log.append(message)
            new = self._log.refresh().chunks[-len(stored.cuts) :] if stored.cuts else []
            self._memory.tensors.prepare(self._memory.engine, self.scope, new)
        return stored

    def record(self, messages: Sequence[Message]) -> None:
        """Store messages verbatim, all or none, and leave it to their first reader to cut them.

        No model is loaded, and nothing encoded. Each message has an id of its own; what is there
        already is not stored twice. Raises ``InvalidMessageError``, ``ConflictError`` for an id
        that is there with another message, and ``StoreError`` when the store did not take them;
        nothing is stored then.
        """
        if entries := _recorded(messages):
            self._log.settle()
            self._memory.store.append(self.scope, entries)

    def deliver(
        self,
        *,
        upto: int | None = None,
        include: Sequence[Collection] = (),
        room: Room | None = None,
        selection: Policy | str | None = None,
        pins: Iterable[str] = (),
    ) -> Delivery:
        """The memory as pages and text for a hosted model; nothing is generated or stored.

        ``upto``: the first so many messages only. ``include`` puts documents before the
        conversation, ``room`` limits what is sent; where not all fits, ``selection`` and ``pins``
        say what is, see :class:`ReadingOptions`. Raises ``ModelError`` when the memory was not
        opened with ``pages:`` and a provider.
        """
        engine = self._memory.engine
        if not isinstance(engine, PageEngine):
            raise ModelError(
                f"the memory was opened with the model {engine.spec.model!r}, which reads it "
                "itself: open it with model='pages:openai' to have pages for a hosted model"
            )
        options: ReadingOptions = {"include": include, "selection": selection, "pins": pins}
        read = reading(options, self._memory.selection)
        with self._log.lock:
            state = self._log.refresh()
            before = state if upto is None else state.until(upto)
            return deliver(engine, self.scope, before, read, room or Room())

    def delete(self) -> Deleted:
        """Delete the session, log, tensors and what the outbox has of it; in counts."""
        deleted = self._log.delete()
        self._memory.drop_kept(self.scope)
        return deleted

    def reseal(self) -> int:
        """Sign or encrypt the log and its visual tokens anew, under the newest of the keys.

        Returns how many messages were under an older key, which is not needed here any more. Raises
        ``InvalidInputError`` when the memory was opened without keys, and ``ConflictError`` when
        another writer was there meanwhile: nothing is changed then, try again.
        """
        with self._log.lock:
            return self._memory.tensors.reseal(self._memory.engine, self.scope, self.chunks())

    def export(self, path: Path | str, *, tensors: bool = False) -> int:
        """Write the session to ``path`` as JSON lines, a header and then the messages; their count.

        ``tensors``: and the visual tokens that are cached for the memory's model, to the same path
        ending in ``.safetensors``. Raises ``StoreUnavailableError`` when a file cannot be written.
        """
        messages = self.messages()
        exported = None
        if tensors:
            self._memory.tensors.flush(self.scope)
            fingerprint = self._memory.engine.spec.fingerprint
            ids = sorted({chunk.id for chunk in self.chunks()})
            data = read_good(self._memory.store, self.scope, fingerprint, ids)
            exported = (self.scope, fingerprint, data)
        write_export(Path(path), self.id, messages, exported)
        return len(messages)

    # Async twins

    async def aadd(self, role: str, text: str, **options: Any) -> Message:
        """:meth:`add`, without blocking the event loop."""
        return await asyncio.to_thread(self.add, role, text, **options)

    async def arecord(self, messages: Sequence[Message]) -> None:
        """:meth:`record`, without blocking the event loop; Redis is asked without a thread."""
        if self._log.may_wait:
            await asyncio.to_thread(self.record, messages)
        elif entries := _recorded(messages):
            await self._memory.async_store.append(self.scope, entries)

    async def adeliver(self, **options: Any) -> Delivery:
        """:meth:`deliver`, without blocking the event loop."""
        return await asyncio.to_thread(self.deliver, **options)

    async def amessages(self) -> list[Message]:
        """:meth:`messages`, without blocking the event loop; Redis is asked without a thread."""
        if self._log.may_wait:
            return await asyncio.to_thread(self.messages)
        return await self._memory.async_store.read(self.scope)

    async def adelete(self) -> Deleted:
        """:meth:`delete`, without blocking the event loop; Redis is asked without a thread."""
        tensors = self._memory.tensors
        if self._log.may_wait or tensors.waiting(self.scope):
            return await asyncio.to_thread(self.delete)
        deleted = await self._memory.async_store.delete(self.scope)
        self._memory.drop_kept(self.scope)
        tensors.forget(self.scope)  # at once, as none waits to be written
        if not self._log.forget(wait=False):  # a call in another thread is under way
            await asyncio.to_thread(self._log.forget)
        return deleted

    async def areseal(self) -> int:
        """:meth:`reseal`, without blocking the event loop."""
        return await asyncio.to_thread(self.reseal)

    async def aexport(self, path: Path | str, *, tensors: bool = False) -> int:
        """:meth:`export`, without blocking the event loop; without tensors only the file is written
        in a thread.
        """
        if tensors:
            return await asyncio.to_thread(self.export, path, tensors=True)
        messages = await self.amessages()
        await asyncio.to_thread(write_export, Path(path), self.id, messages, None)
        return len(messages)

    # Within

    def _check_pinned(self, message: Message) -> None:
        """Refuse a system prompt that would leave no room for the conversation."""
        if message.role == "system":
            pinned = self._log.refresh().pinned + written(message)
            check_pinned(self._memory.engine, self.id, pinned)


def _recorded(messages: Sequence[Message]) -> list[Message]:
    """``messages`` as they are stored: checked, with a time, and without cuts."""
    now = time.time()
    for message in messages:
        check_role(check_said(message).role)
        check_payload(message.payload)
    return [replace(m, time=m.time or now, cuts=(), layout="") for m in messages]
