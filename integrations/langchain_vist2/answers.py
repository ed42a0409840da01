"""Where the answer to a message list comes from: a session, a middleware's memory, or the list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from typing import Any

from langchain_vist2.continuation import Continuation, branch_of, check_end, continuation
from langchain_vist2.messages import Entry
from langchain_vist2.opened import Opened
from langchain_vist2.options import Asked
from vist2_memory import Collection, ConflictError, Session
from vist2_memory.engine.base import Engine
from vist2_memory.types import GenerationEvent, Message


class Answer:
    """One call, from its messages to the events of its answer."""

    def __init__(self, model: Opened, asked: Asked, entries: Sequence[Entry]) -> None:
        self._model, self._asked, self._entries = model, asked, entries
        self.session_id: str | None = None
        """The session that answers, if one does: the one that was asked, or a branch of it."""
        self.turn = ""
        """The turn of the answer in that session."""

    @property
    def engine(self) -> Engine:
        """The engine that answers: the model's, or that of a middleware's memory.

        Raises ``InvalidInputError`` where the memory is of another model.
        """
        context = self._asked.visual_context
        if context is None:
            return self._model.engine
        engine = context.session.engine
        self._model.check_same(engine)
        return engine

    def events(self) -> Iterator[GenerationEvent]:
        """Add what is new to the session, if there is one, and answer."""
        session = self._session()
        if session is None:
            return self._unlogged()
        while True:
            held = session.messages()
            try:
                plan = continuation(held, self._entries)
                break
            except ConflictError:
                if self._asked.on_conflict == "raise":
                    raise
            name, at = self._branch(session, held)
            if at is not None:
                with suppress(ConflictError):  # it was begun before
                    session.branch(name, at=at)
            session = self._model.memory.session(name)
        self.session_id, self.turn = session.id, plan.turn
        for new in plan.added:
            session.add(new.entry.role, new.entry.text, **new.options)
        if plan.question is None:
            return session.resume_stream(**self._options(plan))
        return session.stream(plan.question.text, **self._options(plan))

    async def aevents(self) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`events`, without blocking the event loop."""
        await asyncio.to_thread(self._open)
        session = self._session()
        if session is None:
            return self._aunlogged()
        while True:
            held = await session.amessages()
            try:
                plan = continuation(held, self._entries)
                break
            except ConflictError:
                if self._asked.on_conflict == "raise":
                    raise
            name, at = self._branch(session, held)
            if at is not None:
                with suppress(ConflictError):  # it was begun before
                    await session.abranch(name, at=at)
            session = self._model.memory.session(name)
        self.session_id, self.turn = session.id, plan.turn
        for new in plan.added:
            await session.aadd(new.entry.role, new.entry.text, **new.options)
        if plan.question is None:
            return session.aresume_stream(**self._options(plan))
        return session.astream(plan.question.text, **self._options(plan))

    def _open(self) -> None:
        """Open what is needed, if this is the first call."""
        _ = self.engine
        if self._session() is None and self._asked.visual_context is None:
            _ = self._model.passing

    def _session(self) -> Session | None:
        id = self._asked.session_id
        if id is None or self._asked.visual_context is not None:
            return None
        return self._model.memory.session(id)

    def _branch(self, session: Session, held: Sequence[Message]) -> tuple[str, str | None]:
        """Which branch of ``session`` a list that contradicts it is of, and where it begins.

        None: with what the list has, since the two have nothing in common.
        """
        common, way = branch_of(held, self._entries)
        return f"{session.id}~{way[:16]}", held[common - 1].id if common else None

    def _options(self, plan: Continuation) -> dict[str, Any]:
        question = {} if plan.question is None else {"payload": plan.question.payload}
        params, include = self._asked.params, self._collections()
        read = {**self._asked.reading, "include": include}
        return {"params": params, **read, "turn": plan.turn, **question}

    def _unlogged(self) -> Iterator[GenerationEvent]:
        check_end(self._entries)
        context, options = self._asked.visual_context, self._unlogged_options()
        if context is not None:
            return context.session.complete(self._messages(), **options)
        return self._model.passing.complete(self._messages(), **options)

    def _aunlogged(self) -> AsyncGenerator[GenerationEvent, None]:
        check_end(self._entries)
        context, options = self._asked.visual_context, self._unlogged_options()
        if context is not None:
            return context.session.acomplete(self._messages(), **options)
        return self._model.passing.acomplete(self._messages(), **options)

    def _unlogged_options(self) -> dict[str, Any]:
        context, include = self._asked.visual_context, self._collections()
        read = {**self._asked.reading, "include": include}
        options: dict[str, Any] = {"params": self._asked.params, **read}
        if context is None:
            return {**options, "keep_recent": self._asked.keep_recent}
        include = [*context.include, *include]
        budget = options.get("budget", context.budget)
        return {**options, "include": include, "upto": context.upto, "budget": budget}

    def _messages(self) -> list[Message]:
        return [
            Message(entry.role, entry.text, payload=entry.payload)
            for entry in self._entries
            if not (entry.silent and entry.role in ("assistant", "system"))
        ]

    def _collections(self) -> list[Collection]:
        """What is to be read before the conversation; names are those of the model's memory."""
        return [
            self._model.memory.collection(books) if isinstance(books, str) else books
            for books in self._asked.include
        ]
