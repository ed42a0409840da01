"""How a session answers: what was asked is logged, the answer generated, folded, and logged.

A *turn* is a question and all that comes of it: calls of tools, their results, the answer. Each
generation adds one message of the assistant, which may ask for tools; :meth:`Answering.resume` goes
on when their results have been added.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from vist2_memory.errors import ConflictError
from vist2_memory.memory.context import (
    Generate,
    assemble,
    check_answers,
    completed,
    generated,
)
from vist2_memory.memory.log import SessionLog
from vist2_memory.memory.reading import Reading, ReadingOptions, reading
from vist2_memory.memory.streams import from_thread
from vist2_memory.memory.validation import check_text
from vist2_memory.store.base import Scope
from vist2_memory.types import (
    ChunkFolded,
    Finished,
    GenerationEvent,
    GenerationParams,
    Message,
    calls_payload,
)

if TYPE_CHECKING:
    from vist2_memory.memory.memory import VisualMemory


FROM_THE_LOG = "answered from the log"
"""In ``degraded`` of an answer that was given out once more."""


class Answering:
    """The part of :class:`Session` that asks the model."""

    _memory: VisualMemory
    _log: SessionLog
    scope: Scope

    add: Callable[..., Message]

    def ask(
        self,
        question: str,
        *,
        params: GenerationParams | None = None,
        turn: str | None = None,
        payload: Mapping[str, Any] | None = None,
        **options: Unpack[ReadingOptions],
    ) -> Finished:
        """Add the question, generate the answer, add it, and return it. See :meth:`stream`."""
        *_, last = self.stream(question, params=params, turn=turn, payload=payload, **options)
        assert isinstance(last, Finished)
        return last

    def stream(
        self,
        question: str,
        *,
        params: GenerationParams | None = None,
        turn: str | None = None,
        payload: Mapping[str, Any] | None = None,
        **options: Unpack[ReadingOptions],
    ) -> Iterator[GenerationEvent]:
        """Like :meth:`ask`, as events: text as it comes, folds as they happen, ``Finished`` last.

        The question is in the log before generation starts, the answer before ``Finished`` is given
        out; or it is in the outbox then, which ``Finished.degraded`` says. Closing the iterator
        early leaves the question unanswered. ``turn`` makes a retry idempotent: a question that was
        logged is not logged again, and one that was answered is answered with the stored text.
        ``options``, see :class:`ReadingOptions`: ``include`` documents, a ``budget``, and where not
        all fits, a ``selection`` and ``pins``; ``Finished.left_out`` says what was not read.

        Raises what :meth:`add` raises, and ``AnswerNotLoggedError``, which has the text, when
        neither the store nor an outbox took the answer. ``ContextOverflowError`` where text alone,
        or what is pinned, is more than there is room for, and ``InvalidInputError`` for pins that
        are not there, leave the question in the log, unanswered: ask again under its ``turn``.
        """
        return self.stream_by(None, question, params=params, turn=turn, payload=payload, **options)

    def stream_by(
        self,
        generate: Generate | None,
        question: str,
        *,
        params: GenerationParams | None = None,
        turn: str | None = None,
        payload: Mapping[str, Any] | None = None,
        **options: Unpack[ReadingOptions],
    ) -> Iterator[GenerationEvent]:
        """:meth:`stream`, with ``generate`` in the place of the engine's, as in a batch.

        Both check what they are given at once, and do the rest as events are wanted.
        """
        check_text(question, "question")
        params = params or GenerationParams()
        check_answers(self._memory.engine, params)
        read = reading(options, self._memory.selection)
        return self._stream(question, read, params, turn or uuid.uuid4().hex, payload, generate)

    def resume(
        self,
        *,
        params: GenerationParams | None = None,
        turn: str | None = None,
        **options: Unpack[ReadingOptions],
    ) -> Finished:
        """Answer the log as it stands, as after the results of tools. See `resume_stream`."""
        *_, last = self.resume_stream(params=params, turn=turn, **options)
        assert isinstance(last, Finished)
        return last

    def resume_stream(
        self,
        *,
        params: GenerationParams | None = None,
        turn: str | None = None,
        **options: Unpack[ReadingOptions],
    ) -> Iterator[GenerationEvent]:
        """Like :meth:`stream`, without a question: the log ends with one, or with a tool's result.

        ``turn`` makes a retry idempotent: if the log ends with an answer of that turn, it is given
        out as it was stored. Raises ``ConflictError`` where there is nothing to be answered.
        """
        params = params or GenerationParams()
        check_answers(self._memory.engine, params)
        read = reading(options, self._memory.selection)
        return self._stream(None, read, params, turn or "", None)

    def complete(
        self,
        recent: Sequence[Message] = (),
        *,
        upto: int | None = None,
        params: GenerationParams | None = None,
        **options: Unpack[ReadingOptions],
    ) -> Iterator[GenerationEvent]:
        """Generate what comes after ``recent``, and log nothing.

        The first ``upto`` messages of the session (all, if None) are read as memory, the messages
        of ``recent`` after them as text; system messages among these are pinned. ``options`` say
        what else is read, and how much, see `stream`.
        """
        params = params or GenerationParams()
        check_answers(self._memory.engine, params)
        read = reading(options, self._memory.selection)
        return self._complete(recent, upto, read, params)

    # Async twins

    async def aask(self, question: str, **options: Any) -> Finished:
        """:meth:`ask`, without blocking the event loop; cancelling stops the generation."""
        return await _last(self.astream(question, **options))

    def astream(self, question: str, **options: Any) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`stream`, without blocking the event loop; cancelling stops the generation."""
        return from_thread(lambda: self.stream(question, **options))

    async def aresume(self, **options: Any) -> Finished:
        """:meth:`resume`, without blocking the event loop; cancelling stops the generation."""
        return await _last(self.aresume_stream(**options))

    def aresume_stream(self, **options: Any) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`resume_stream`, without blocking the event loop."""
        return from_thread(lambda: self.resume_stream(**options))

    def acomplete(
        self, recent: Sequence[Message] = (), **options: Any
    ) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`complete`, without blocking the event loop; cancelling stops the generation."""
        return from_thread(lambda: self.complete(recent, **options))

    # Within

    def _stream(
        self,
        question: str | None,
        read: Reading,
        params: GenerationParams,
        turn: str,
        payload: Mapping[str, Any] | None,
        generate: Generate | None = None,
    ) -> Iterator[GenerationEvent]:
        with self._log.lock:
            self._log.settle()
            if question is None:
                answered = self._resumed(turn)
            else:
                answered = self._open_turn(turn, question, payload)
            state = self._log.refresh()
            engine, tensors = self._memory.engine, self._memory.tensors
            if answered is None:
                assembled = assemble(tensors, engine, self.scope, state, read, params)
                asked, reply = _due(state.messages)
            start, seen = state.tail_start, state.seen
        if answered is not None:
            yield Finished(
                answered.text,
                "tool_calls" if answered.calls else "stop",
                degraded=(FROM_THE_LOG,),
                calls=answered.calls,
            )
            return
        folded: list[ChunkFolded] = []
        for event in generated(generate or engine.generate, assembled.context, params):
            if isinstance(event, Finished):
                reply = replace(reply, text=event.text, payload=calls_payload(event.calls))
                yield assembled.finish(event, self._close_turn(asked, reply, folded, seen))
                return
            if isinstance(event, ChunkFolded):
                event = replace(event, chunk=replace(event.chunk, start=start))
                start += len(event.chunk.text)
                folded.append(event)
            yield event

    def _complete(
        self,
        recent: Sequence[Message],
        upto: int | None,
        read: Reading,
        params: GenerationParams,
    ) -> Iterator[GenerationEvent]:
        tensors, engine = self._memory.tensors, self._memory.engine
        with self._log.lock:
            state = self._log.refresh()
            before = state if upto is None else state.until(upto)
            assembled = assemble(tensors, engine, self.scope, before, read, params, recent=recent)
        yield from completed(engine, assembled, params, before.tail_start)

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

    def _resumed(self, turn: str) -> Message | None:
        """The answer at the end of the log, if it is one of ``turn``; None where one is due."""
        flow = [message for message in self._log.refresh().messages if message.role != "system"]
        last = flow[-1] if flow else None
        if last is not None and last.role in ("user", "tool"):
            return None
        if last is not None and turn and last.turn == turn:
            return last
        found = f"ends with a message of role {last.role!r}" if last else "is empty"
        raise ConflictError(
            f"session {self.scope.name!r} {found}: there is nothing to be answered; ask, or "
            "add the results of tools"
        )

    def _close_turn(
        self, asked: Message, reply: Message, folded: list[ChunkFolded], seen: tuple[int, int]
    ) -> list[str]:
        """Log ``reply``, cache what was folded; what was out of the ordinary, in words."""
        ends = [event.chunk.start + len(event.chunk.text) for event in folded]
        reply = replace(reply, time=time.time())
        with self._log.lock:
            logged, degraded = self._log.close_turn(asked, reply, ends, seen)
            if logged and not degraded:
                # Under the lock, and only what the log has: what was deleted stays deleted.
                there = {chunk.id for chunk in self._log.refresh().chunks}
                visual = [event.visual for event in folded if event.chunk.id in there]
                degraded = self._memory.tensors.remember(self._memory.engine, self.scope, visual)
        return degraded + self._log.asides()


def _due(messages: Sequence[Message]) -> tuple[Message, Message]:
    """What is to be answered, and the reply, which has no text yet."""
    asked = next(message for message in reversed(messages) if message.role != "system")
    question = next((message for message in reversed(messages) if message.role == "user"), asked)
    turn = asked.turn or question.turn
    earlier = sum(m.role == "assistant" and m.turn == turn for m in messages) if turn else 0
    return asked, Message("assistant", "", f"{turn or asked.id}:a{earlier or ''}", turn)


async def _last(events: AsyncGenerator[GenerationEvent, None]) -> Finished:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                last = event
    return last
