"""A session: one conversation, its log, and answers from its visual memory."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vist2_memory.engine.pages import PageEngine
from vist2_memory.errors import ConflictError, ModelError
from vist2_memory.memory.carrying import read_good
from vist2_memory.memory.collection import Collection
from vist2_memory.memory.context import assemble, check_answers, check_pinned
from vist2_memory.memory.delivery import Delivery, Room, deliver
from vist2_memory.memory.exports import write_export
from vist2_memory.memory.log import SessionLog
from vist2_memory.memory.recollection import reseal
from vist2_memory.memory.revisable import Revisable
from vist2_memory.memory.streams import from_thread
from vist2_memory.memory.validation import check_role, check_text
from vist2_memory.store.base import Deleted, Scope
from vist2_memory.text.transcript import write_message
from vist2_memory.types import (
    Chunk,
    ChunkFolded,
    Finished,
    GenerationEvent,
    GenerationParams,
    Message,
    Role,
)

if TYPE_CHECKING:
    from vist2_memory.memory.memory import VisualMemory


class Session(Revisable):
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

        ``id`` makes the call idempotent: the same message under the same id is stored once. Raises
        ``InvalidMessageError`` (nothing is stored), ``ContextOverflowError`` for a system prompt
        that the model cannot hold, and ``StoreError`` when the store did not take the message.
        """
        message = Message(
            role=check_role(role),
            text=check_text(text),
            id=id or uuid.uuid4().hex,
            turn=turn or (uuid.uuid4().hex if role == "user" else ""),
            time=time.time(),
            payload=payload or {},
        )
        with self._log.lock:
            self._check_pinned(message)
            stored = self._log.append(message)
            new = self._log.refresh().chunks[-len(stored.cuts) :] if stored.cuts else []
            self._memory.tensors.prepare(self._memory.engine, self.scope, new)
        return stored

    def ask(
        self,
        question: str,
        *,
        include: Sequence[Collection] = (),
        params: GenerationParams | None = None,
        turn: str | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> Finished:
        """Add the question, generate the answer, add it, and return it. See :meth:`stream`."""
        *_, last = self.stream(question, include=include, params=params, turn=turn, payload=payload)
        assert isinstance(last, Finished)
        return last

    def stream(
        self,
        question: str,
        *,
        include: Sequence[Collection] = (),
        params: GenerationParams | None = None,
        turn: str | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> Iterator[GenerationEvent]:
        """Like :meth:`ask`, as events: text as it comes, folds as they happen, ``Finished`` last.

        The question is in the log before generation starts, the answer before ``Finished`` is given
        out; or it is in the outbox then, which ``Finished.degraded`` says. Closing the iterator
        early leaves the question unanswered. ``turn`` makes a retry idempotent: a question that was
        logged is not logged again, and one that was answered is answered with the stored text.
        Raises what :meth:`add` raises, and ``AnswerNotLoggedError``, which has the text, when
        neither the store nor an outbox took the answer.
        """
        check_text(question, "question")
        check_answers(self._memory.engine)
        options = params or GenerationParams()
        return self._stream(question, include, options, turn or uuid.uuid4().hex, payload)

    def _stream(
        self,
        question: str,
        include: Sequence[Collection],
        params: GenerationParams,
        turn: str,
        payload: Mapping[str, Any] | None,
    ) -> Iterator[GenerationEvent]:
        with self._log.lock:
            self._log.settle()
            answered = self._open_turn(turn, question, payload)
            state = self._log.refresh()
            if answered is None:
                tensors, engine = self._memory.tensors, self._memory.engine
                assembled = assemble(tensors, engine, self.scope, state, include)
            start, seen = state.tail_start, state.seen
            opened = next(m for m in state.messages[::-1] if m.turn == turn and m.role == "user")
        if answered is not None:
            yield Finished(answered.text, "stop", degraded=("answered from the log",))
            return
        folded: list[ChunkFolded] = []
        for event in self._memory.engine.generate(assembled.context, params):
            if isinstance(event, Finished):
                yield assembled.finish(event, self._close_turn(opened, event, folded, seen))
                return
            if isinstance(event, ChunkFolded):
                event = replace(event, chunk=replace(event.chunk, start=start))
                start += len(event.chunk.text)
                folded.append(event)
            yield event

    def deliver(self, *, include: Sequence[Collection] = (), room: Room | None = None) -> Delivery:
        """The memory as pages and text for a hosted model; nothing is generated or stored.

        ``include`` puts documents before the conversation, ``room`` limits what is sent. Raises
        ``ModelError`` when the memory was not opened with ``pages:`` and a provider.
        """
        engine = self._memory.engine
        if not isinstance(engine, PageEngine):
            raise ModelError(
                f"the memory was opened with the model {engine.spec.model!r}, which reads it "
                "itself: open it with model='pages:openai' to have pages for a hosted model"
            )
        books = {books.scope: books for books in include}.values()
        shelf = [chunk for collection in books for chunk in collection.chunks()]
        with self._log.lock:
            return deliver(engine, self._log.refresh(), shelf, room or Room())

    def delete(self) -> Deleted:
        """Delete the session, log, tensors and what the outbox has of it; in counts."""
        return self._log.delete()

    def reseal(self) -> int:
        """Sign or encrypt the log and its visual tokens anew, under the newest of the keys.

        Returns how many messages were under an older key, which is not needed here any more. Raises
        ``InvalidInputError`` when the memory was opened without keys, and ``ConflictError`` when
        another writer was there meanwhile: nothing is changed then, try again.
        """
        with self._log.lock:
            return reseal(self._memory.store, self._memory.engine, self.scope, self.chunks())

    def export(self, path: Path | str, *, tensors: bool = False) -> int:
        """Write the session to ``path`` as JSON lines, a header and then the messages; their count.

        ``tensors``: and the visual tokens that are cached for the memory's model, to the same path
        ending in ``.safetensors``. Raises ``StoreUnavailableError`` when a file cannot be written.
        """
        messages = self.messages()
        exported = None
        if tensors:
            self._memory.flush()
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

    async def aask(self, question: str, **options: Any) -> Finished:
        """:meth:`ask`, without blocking the event loop; cancelling stops the generation."""
        async with aclosing(self.astream(question, **options)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    last = event
        return last

    def astream(self, question: str, **options: Any) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`stream`, without blocking the event loop; cancelling stops the generation."""
        return from_thread(lambda: self.stream(question, **options))

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
            pinned = self._log.refresh().pinned + write_message(message.role, message.text)
            check_pinned(self._memory.engine, self.id, pinned)

    def _open_turn(
        self, turn: str, question: str, payload: Mapping[str, Any] | None
    ) -> Message | None:
        """Log the question unless it is there; the answer if the turn has one already."""
        messages = self._log.refresh().messages
        of_turn = [message for message in messages if message.turn == turn]
        asked = [message for message in of_turn if message.role == "user"]
        if asked and asked[-1].text != question:
            raise ConflictError(
                f"turn {turn!r} was opened with another question: {asked[-1].text[:60]!r}"
            )
        answered = next((m for m in of_turn if m.role == "assistant"), None)
        if answered is None and (not asked or messages[-1] != asked[-1]):
            # New, or left unanswered while the conversation went on: then it is asked again.
            id = f"{turn}:q{len(asked) or ''}"
            self.add("user", question, id=id, turn=turn, payload=payload)
        return answered

    def _close_turn(
        self,
        question: Message,
        end: Finished,
        folded: list[ChunkFolded],
        seen: tuple[int, int],
    ) -> list[str]:
        """Log the answer, cache what was folded; what was out of the ordinary, in words."""
        ends = [event.chunk.start + len(event.chunk.text) for event in folded]
        role: Role = "assistant"
        id, turn = f"{question.turn}:a", question.turn
        answer = Message(role, end.text, id=id, turn=turn, time=time.time())
        with self._log.lock:
            logged, degraded = self._log.close_turn(question, answer, ends, seen)
            if logged and not degraded:
                # Under the lock, and only what the log has: what was deleted stays deleted.
                there = {chunk.id for chunk in self._log.refresh().chunks}
                visual = [event.visual for event in folded if event.chunk.id in there]
                degraded = self._memory.tensors.remember(self._memory.engine, self.scope, visual)
        return degraded + self._log.asides()
