"""What a session does with what was said already: edit, take back, answer again, branch, search.

All that changes the log goes through :meth:`SessionLog.revise`: in one step or not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from vist2_memory.errors import (
    AnswerNotLoggedError,
    ConflictError,
    InvalidInputError,
    QuotaExceededError,
    StoreError,
)
from vist2_memory.memory.context import assemble, check_answers, check_pinned, generated
from vist2_memory.memory.log import SessionLog
from vist2_memory.memory.reading import Reading, ReadingOptions, reading
from vist2_memory.memory.revisions import Made, last_question, place_of, turn_at
from vist2_memory.memory.search import Found, find
from vist2_memory.memory.streams import from_thread
from vist2_memory.memory.transcript import Transcript
from vist2_memory.memory.validation import check_text
from vist2_memory.store.base import Scope
from vist2_memory.text.transcript import write
from vist2_memory.types import (
    ChunkFolded,
    Finished,
    GenerationEvent,
    GenerationParams,
    Message,
    VisualTokens,
    calls_payload,
)

if TYPE_CHECKING:
    from vist2_memory.memory.memory import VisualMemory
    from vist2_memory.memory.session import Session

Change = Callable[[list[Message]], list[Message]]


class Revisable:
    """The part of :class:`Session` that changes or copies what was said."""

    _memory: VisualMemory
    _log: SessionLog
    scope: Scope

    def edit(self, id: str, text: str) -> Message:
        """Give the message ``id`` another text; it keeps its role, turn, time and place.

        The transcript is cut anew from there on, and the new chunks are drawn and encoded; the
        tensors of those that are gone are deleted. Raises ``InvalidInputError`` for an unknown id,
        ``InvalidMessageError`` for a text that cannot be stored, ``ContextOverflowError`` for a
        system prompt that the model cannot hold; nothing is changed then.
        """
        check_text(text)

        def change(messages: list[Message]) -> list[Message]:
            place = place_of(messages, id, self.scope.name)
            if messages[place].text != text:
                messages[place] = replace(messages[place], text=text)
            if messages[place].role == "system":
                pinned = write((m.role, m.text) for m in messages if m.role == "system")
                check_pinned(self._memory.engine, self.scope.name, pinned)
            return messages

        messages = self._revise(change).messages
        return messages[place_of(messages, id, self.scope.name)]

    def remove(self, id: str) -> Message:
        """Take the message ``id`` out of the conversation, and return it. Otherwise as `edit`."""
        removed: list[Message] = []

        def change(messages: list[Message]) -> list[Message]:
            removed[:] = [messages.pop(place_of(messages, id, self.scope.name))]
            return messages

        self._revise(change)
        return removed[0]

    def undo(self, turn: str | None = None) -> list[Message]:
        """Take back the last turn, question and answer, and return what was removed.

        Returns nothing where nobody asked anything. With ``turn`` it is safe to try again: only
        that turn is taken back, and nothing where it is not there (any more); one that is not the
        last raises ``InvalidInputError``. The same turn id may be asked anew. Raises
        ``ConflictError`` when another writer began a turn or took this one back meanwhile.
        """
        removed: list[Message] = []
        first: list[str] = []

        def change(messages: list[Message]) -> list[Message]:
            removed.clear()
            if turn is not None and all(message.turn != turn for message in messages):
                return messages
            question = last_question(messages)
            if question is not None and turn not in (None, messages[question].turn):
                raise InvalidInputError(
                    f"turn {turn!r} is not the last of session {self.scope.name!r}, which is "
                    f"{messages[question].turn!r}: take back that one first, or use remove()"
                )
            found = [] if question is None else [messages[question].id]
            if first and found != first[:1]:
                raise ConflictError(
                    f"session {self.scope.name!r}: another writer changed the last turn meanwhile; "
                    "nothing was taken back, look again"
                )
            first[:] = found
            places = set() if question is None else set(turn_at(messages, question))
            removed.extend(messages[place] for place in sorted(places))
            return [m for place, m in enumerate(messages) if place not in places]

        self._revise(change)
        return removed

    def regenerate(
        self, *, params: GenerationParams | None = None, **options: Unpack[ReadingOptions]
    ) -> Finished:
        """Answer the last question again, in place of its answer. See `regenerate_stream`."""
        *_, last = self.regenerate_stream(params=params, **options)
        assert isinstance(last, Finished)
        return last

    def regenerate_stream(
        self, *, params: GenerationParams | None = None, **options: Unpack[ReadingOptions]
    ) -> Iterator[GenerationEvent]:
        """Like :meth:`regenerate`, as events.

        The old answer, with the calls of tools that led to it, is replaced when the new one is
        complete: where generation fails or is closed early, it stays. ``options`` say what is read,
        see :meth:`Session.stream`. Raises ``InvalidInputError`` where nobody asked anything.
        """
        params = params or GenerationParams()
        check_answers(self._memory.engine, params)
        read = reading(options, self._memory.selection)
        with self._log.lock:
            messages = self._log.refresh().messages
            question = last_question(messages)
        if question is None:
            raise InvalidInputError(
                f"session {self.scope.name!r} has no question that could be answered again"
            )
        return self._answer_again(messages[question].id, read, params)

    def _answer_again(
        self, id: str, read: Reading, params: GenerationParams
    ) -> Iterator[GenerationEvent]:
        tensors, engine = self._memory.tensors, self._memory.engine
        with self._log.lock:
            state = self._log.refresh()
            messages = state.messages
            at = place_of(messages, id, self.scope.name)
            question, old = messages[at], [p for p in turn_at(messages, at) if p > at]
            before = state.of(messages[: old[0] if old else len(messages)])
            assembled = assemble(tensors, engine, self.scope, before, read, params)
        name = f"{question.turn or question.id}:a"
        dropped = {name, *(messages[place].id for place in old)}
        start, folded = before.tail_start, list[ChunkFolded]()
        for event in generated(engine.generate, assembled.context, params):
            if isinstance(event, Finished):
                calls = calls_payload(event.calls)
                turn = question.turn
                answer = Message("assistant", event.text, name, turn, time.time(), calls)
                ends = tuple(fold.chunk.start + len(fold.chunk.text) for fold in folded)
                visual = [fold.visual for fold in folded]
                notes = self._replace(id, dropped, answer, Made(name, before, ends), visual)
                yield assembled.finish(event, notes)
                return
            if isinstance(event, ChunkFolded):
                event = replace(event, chunk=replace(event.chunk, start=start))
                start += len(event.chunk.text)
                folded.append(event)
            yield event

    def _replace(
        self,
        question: str,
        dropped: set[str],
        answer: Message,
        made: Made,
        visual: Sequence[VisualTokens],
    ) -> list[str]:
        """Put ``answer`` where the first of ``dropped`` stood, and cache what was folded.

        What was out of the ordinary, in words.
        """
        notes: list[str] = []

        def change(messages: list[Message]) -> list[Message]:
            if all(message.id != question for message in messages):
                notes[:] = ["the question was taken back meanwhile; this answer was not logged"]
                return messages
            places = [place for place, message in enumerate(messages) if message.id in dropped]
            kept = [message for message in messages if message.id not in dropped]
            kept.insert(places[0] if places else len(messages), answer)
            return kept

        tensors, engine = self._memory.tensors, self._memory.engine
        with self._log.lock:
            try:
                revised = self._log.revise(change, made)
            except QuotaExceededError as error:
                return [f"the answer was not logged: {error}"]
            except StoreError as error:
                raise AnswerNotLoggedError(
                    f"session {self.scope.name!r}: the new answer could not be logged (it is this "
                    f"error's .text), the old one stands: {error}",
                    text=answer.text,
                    turn=answer.turn,
                ) from error
            new = {chunk.id: chunk for chunk in revised}
            of_new = [tokens for tokens in visual if tokens.chunk_id in new]
            notes += tensors.remember(engine, self.scope, of_new)
            cached = {tokens.chunk_id for tokens in of_new}
            tensors.prepare(engine, self.scope, [c for c in new.values() if c.id not in cached])
        return notes

    def branch(self, new_id: str, at: str | None = None) -> Session:
        """A new session that begins with what was said here, up to and with the message ``at``.

        Messages keep their ids, turns and times; from there on the two are strangers: each has
        tensors of its own and is deleted alone. Raises ``InvalidInputError`` for an unknown ``at``
        or where nothing was said, ``ConflictError`` for a session that exists.
        """
        with self._log.lock:
            state = self._log.refresh()
            messages = list(state.messages)
        if not messages:
            raise InvalidInputError(
                f"session {self.scope.name!r} has no messages from which a branch could begin"
            )
        if at is not None:
            messages = messages[: place_of(messages, at, self.scope.name) + 1]
        session = self._memory.session(new_id)
        store = self._memory.store
        taken = f"session {new_id!r} exists already: delete it, or branch under another id"
        if store.count(session.scope):
            raise ConflictError(taken)
        if store.append(session.scope, messages, expected=0) != len(messages):
            raise ConflictError(taken)
        chunks = state.of(messages).chunks
        self._memory.tensors.carry_over(self._memory.engine, self.scope, session.scope, chunks)
        return session

    def search(self, text: str, *, limit: int = 20) -> list[Found]:
        """The messages in which all words of ``text`` occur, with the places where they do.

        Upper and lower case are the same. Those that have the words side by side come first, then
        the others, newest first; at most ``limit``. Raises ``InvalidInputError`` without words.
        """
        return find(self._log.messages(), text, limit)

    # Async twins

    async def aedit(self, id: str, text: str) -> Message:
        """:meth:`edit`, without blocking the event loop."""
        return await asyncio.to_thread(self.edit, id, text)

    async def aremove(self, id: str) -> Message:
        """:meth:`remove`, without blocking the event loop."""
        return await asyncio.to_thread(self.remove, id)

    async def aundo(self, turn: str | None = None) -> list[Message]:
        """:meth:`undo`, without blocking the event loop."""
        return await asyncio.to_thread(self.undo, turn)

    async def aregenerate(self, **options: Any) -> Finished:
        """:meth:`regenerate`, without blocking the event loop; cancelling stops the generation."""
        async with aclosing(self.aregenerate_stream(**options)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    last = event
        return last

    def aregenerate_stream(self, **options: Any) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`regenerate_stream`, without blocking the event loop."""
        return from_thread(lambda: self.regenerate_stream(**options))

    async def abranch(self, new_id: str, at: str | None = None) -> Session:
        """:meth:`branch`, without blocking the event loop."""
        return await asyncio.to_thread(self.branch, new_id, at)

    async def asearch(self, text: str, *, limit: int = 20) -> list[Found]:
        """:meth:`search`, without blocking the event loop."""
        return await asyncio.to_thread(self.search, text, limit=limit)

    # Within

    def _revise(self, change: Change) -> Transcript:
        """Change the log, and draw, encode and cache what is new then."""
        with self._log.lock:
            new = self._log.revise(change)
            self._memory.tensors.prepare(self._memory.engine, self.scope, new)
            return self._log.refresh()
