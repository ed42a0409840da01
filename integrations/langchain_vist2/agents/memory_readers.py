"""Readers of visual memory: older messages go into a session, and are read as tokens or pages."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from langchain.agents.middleware.types import ModelRequest
from langchain_core.messages import BaseMessage

from langchain_vist2.agents.following import follow
from langchain_vist2.agents.mirrored import Mark, as_message, digest, unread
from langchain_vist2.agents.readers import Reader
from langchain_vist2.agents.requests import (
    Call,
    count,
    estimated,
    fixed,
    most_text,
    profile_limit,
    system_of,
    tools_of,
    with_context,
)
from langchain_vist2.agents.results import Results
from langchain_vist2.agents.stubs import IN_MEMORY, stub
from langchain_vist2.agents.windows import Budget, Window
from langchain_vist2.errors import InvalidMessageError
from langchain_vist2.history.visual_history import to_messages
from langchain_vist2.reference import VisualContext
from vist2_memory.engine.base import Engine
from vist2_memory.memory import Collection, Session, VisualMemory
from vist2_memory.memory.delivery import VERBATIM_TOKENS, Room
from vist2_memory.memory.validation import MAX_CHARACTERS
from vist2_memory.types import GenerationParams, Message

_STUB = "stub"
"""In the payload of a mirrored message: the session has a stub, the text is a document."""


class ByMemory(Reader):
    """The part that readers of visual memory share: older messages go into a session."""

    where = IN_MEMORY

    def __init__(self, call: Call, memory: VisualMemory, results: Results) -> None:
        super().__init__(call)
        self.memory = memory
        self._results = results

    @property
    def engine(self) -> Engine:
        """The engine of the memory."""
        return self.memory.engine

    def longer(self, message: BaseMessage, text: str, limit: int) -> bool:
        return self.engine.chunker.reaches(text, 0, limit + 1)  # reads no more than it must

    def mirrored(self, window: Window) -> tuple[Session, tuple[Collection, ...]]:
        """The session that holds what is older than ``window``, and the results that are stubs."""
        start, thread = window.start, self.call.thread
        old, marks = self.messages[:start], self.call.marks[:start]
        session = follow(self.memory, thread, old, marks, self._write)
        held = session.held()[:start]
        places = [place for place, message in enumerate(held) if message.payload.get(_STUB)]
        stubs = [self.messages[place] for place in [*places, *sorted(window.stubbed)]]
        return session, self._results.shelf(thread, stubs)

    def _write(self, message: BaseMessage) -> Message:
        """``message`` as the session holds it: a stub if it is too large."""
        if blocks := unread(message):
            _tell(message, blocks, self.settings.media)
        said = as_message(message)
        if not self.oversize(message) and len(said.text) <= MAX_CHARACTERS:
            return said
        text = stub(said.text, self.where, self.settings.expand)
        return replace(said, text=text, payload={**said.payload, _STUB: True})


class ByTensors(ByMemory):
    """For ``ChatVIST2``: the memory is read as visual tokens."""

    def count(self, messages: Sequence[BaseMessage]) -> int:
        return count(self.engine, messages)

    def fixed(self) -> int:
        return fixed(self.engine, self.call.request)

    def limit(self) -> int | None:
        spec = self.engine.spec
        return self.call.max_tokens or spec.max_text_tokens + spec.max_visual_tokens

    def request(self, window: Window) -> ModelRequest[Any] | None:
        sent = self._sent(window)
        if not sent:
            return None
        session, shelf = self.mirrored(window)
        given, start = self.call.request, window.start
        read = [as_message(m) for m in [*system_of(given), *sent]]
        params = GenerationParams(tools=tools_of(given))
        needs = session.measure(read, upto=start, include=shelf, params=params)
        visual = min(needs.visual, self.engine.spec.max_visual_tokens)
        budget = Budget(self.call.max_tokens, most_text(self.engine, given))
        if not budget.fits(needs.text, visual, self.fixed(), window.share):
            return None
        self.tokens = needs.text + visual
        ids = [document.id for books in shelf for document in books.documents()]
        name = digest([*self.call.marks[:start], *(Mark(id, "document") for id in ids)])
        context = VisualContext(session, start, shelf, self.settings.max_tokens, name)
        return with_context(given, sent, context)


class ByPages(ByMemory):
    """For any model that takes images: the memory is read as pages."""

    def count(self, messages: Sequence[BaseMessage]) -> int:
        return self.settings.token_counter(messages) if messages else 0

    def fixed(self) -> int:
        return estimated(self.settings, self.call.request)

    def limit(self) -> int | None:
        return self.call.max_tokens or profile_limit(self.call.request)

    def request(self, window: Window) -> ModelRequest[Any] | None:
        sent = self._sent(window)
        if not sent:
            return None
        session, shelf = self.mirrored(window)
        needs = session.measure(upto=window.start, include=shelf)
        text = self.fixed() + self.count(sent) + needs.text
        limit = self.limit()
        visual = min(needs.visual, self.engine.spec.max_visual_tokens)
        if not Budget(limit).fits(text, visual, self.fixed(), window.share):
            return None
        room = Room()
        if limit is not None:
            verbatim = min(VERBATIM_TOKENS, (limit - text) // 8)
            most = min(limit - text - verbatim, self.engine.spec.max_visual_tokens)
            room = Room(tokens=most, verbatim_tokens=verbatim)
        delivery = session.deliver(upto=window.start, include=shelf, room=room)
        self.tokens = text + delivery.page_tokens
        return self.call.request.override(messages=[*to_messages(delivery), *sent])  # type: ignore[list-item]


def _tell(message: BaseMessage, blocks: Sequence[str], media: str) -> None:
    """Warn that ``message`` is remembered without its ``blocks``, or refuse that."""
    said = f"a {message.type} message has {', '.join(blocks)}, and memory holds text only"
    if media == "error":
        raise InvalidMessageError(
            f"{said}: leave it out, keep it among the recent messages, or choose that its name is "
            "remembered (media='placeholder')"
        )
    warnings.warn(f"{said}: its name is remembered", UserWarning, stacklevel=2)
