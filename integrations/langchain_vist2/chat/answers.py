"""Where the answer to a message list comes from: a session, a middleware's memory, or the list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from langchain_vist2.chat.opened import Opened
from langchain_vist2.chat.options import Asked
from vist2_memory import Collection
from vist2_memory.engine.base import Engine
from vist2_memory.memory.continuation import check_end
from vist2_memory.memory.conversing import aopen_turn, as_messages, open_turn
from vist2_memory.memory.entries import Entry
from vist2_memory.types import GenerationEvent


class Answer:
    """One call, from its messages to the events of its answer."""

    def __init__(self, model: Opened, asked: Asked, entries: Sequence[Entry]) -> None:
        self._model, self._asked, self._entries = model, asked, entries
        self.session_id: str | None = None
        """The session that answers, if one does: the one that was asked, or a branch of it."""
        self.turn = ""
        """The turn of the answer in that session."""

    @property
    def model_name(self) -> str:
        """What the model that answers is called."""
        return self.engine.spec.model

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
        id, asked = self._session_id, self._asked
        if id is None:
            return self._unlogged()
        turn = open_turn(self._model.memory, id, self._entries, asked.on_conflict)
        self.session_id, self.turn = turn.session.id, turn.plan.turn
        return turn.stream(**self._options())

    async def aevents(self) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`events`, without blocking the event loop."""
        await asyncio.to_thread(self._open)
        id, asked = self._session_id, self._asked
        if id is None:
            return self._aunlogged()
        turn = await aopen_turn(self._model.memory, id, self._entries, asked.on_conflict)
        self.session_id, self.turn = turn.session.id, turn.plan.turn
        return turn.astream(**self._options())

    def _open(self) -> None:
        """Open what is needed, if this is the first call."""
        _ = self.engine
        if self._session_id is None and self._asked.visual_context is None:
            _ = self._model.passing
        elif self._session_id is not None:
            _ = self._model.memory

    @property
    def _session_id(self) -> str | None:
        """The session that is asked, if one is."""
        return None if self._asked.visual_context is not None else self._asked.session_id

    def _options(self) -> dict[str, Any]:
        read = {**self._asked.reading, "include": self._collections()}
        return {"params": self._asked.params, **read}

    def _unlogged(self) -> Iterator[GenerationEvent]:
        check_end(self._entries)
        context, options = self._asked.visual_context, self._unlogged_options()
        if context is not None:
            return context.session.complete(as_messages(self._entries), **options)
        return self._model.passing.complete(as_messages(self._entries), **options)

    def _aunlogged(self) -> AsyncGenerator[GenerationEvent, None]:
        check_end(self._entries)
        context, options = self._asked.visual_context, self._unlogged_options()
        if context is not None:
            return context.session.acomplete(as_messages(self._entries), **options)
        return self._model.passing.acomplete(as_messages(self._entries), **options)

    def _unlogged_options(self) -> dict[str, Any]:
        context, include = self._asked.visual_context, self._collections()
        read = {**self._asked.reading, "include": include}
        options: dict[str, Any] = {"params": self._asked.params, **read}
        if context is None:
            return {**options, "keep_recent": self._asked.keep_recent}
        include = [*context.include, *include]
        budget = options.get("budget", context.budget)
        return {**options, "include": include, "upto": context.upto, "budget": budget}

    def _collections(self) -> list[Collection]:
        """What is to be read before the conversation; names are those of the model's memory."""
        return [
            self._model.memory.collection(books) if isinstance(books, str) else books
            for books in self._asked.include
        ]
