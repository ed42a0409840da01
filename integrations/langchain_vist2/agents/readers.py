"""How a model gets what was said: a window of it as text, and the rest as the reader knows how to.

A reader makes of a :class:`Window` the request that sends it, or None where that has too many
tokens. It knows one model call, and nothing of agents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from langchain.agents.middleware.types import ModelRequest
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_vist2.agents.mirrored import as_message, digest
from langchain_vist2.agents.requests import (
    Call,
    count,
    estimated,
    fixed,
    most_text,
    profile_limit,
    with_context,
)
from langchain_vist2.agents.settings import in_tokens
from langchain_vist2.agents.splitting import recent
from langchain_vist2.agents.stubs import EXPAND, LEFT_OUT
from langchain_vist2.agents.windows import Window, windows
from langchain_vist2.errors import ContextOverflowError
from langchain_vist2.reference import VisualContext
from vist2_memory.memory import Session


class Reader(ABC):
    """One way for a model to get the memory, for one call."""

    where: str
    """What stubs say of a text that is not sent."""
    tokens = 0
    """Tokens of the request that was made."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.messages = call.messages
        self.settings = call.settings

    @abstractmethod
    def count(self, messages: Sequence[BaseMessage]) -> int:
        """Tokens of ``messages`` as text."""

    @abstractmethod
    def fixed(self) -> int:
        """Tokens of what is sent in any case: the system prompt and the tools."""

    @abstractmethod
    def limit(self) -> int | None:
        """Tokens that the call may have in all; None where it is not known."""

    @abstractmethod
    def request(self, window: Window) -> ModelRequest[Any] | None:
        """The request that sends ``window``; None if it has too many tokens."""

    def fitted(self) -> ModelRequest[Any]:
        """The request for the first window that fits.

        Raises ``ContextOverflowError`` where not even the end of the newest question does.
        """
        for window in self.windows():
            if (request := self.request(window)) is not None:
                return request
        raise ContextOverflowError(
            f"what must be sent as text does not fit into {self.limit()} tokens: system prompt and "
            f"tools have {self.fixed()}; shorten them, give fewer tools, or raise max_tokens"
        )

    def windows(self) -> Iterator[Window]:
        """What may be sent, in turn."""
        keep = in_tokens(self.settings.keep_recent, "keep_recent", self.limit())
        start = recent(self.messages, keep, self.count)
        starts = [start] if self._triggered() else [0, start]
        return windows(self.messages, starts, self.oversize)

    def oversize(self, message: BaseMessage) -> bool:
        """Whether ``message`` is a result that is too large to be sent."""
        if not isinstance(message, ToolMessage) or message.name == EXPAND:
            return False
        limit = self.settings.result_tokens
        text = as_message(message).text
        return len(text.encode()) > limit and self.longer(message, text, limit)

    def longer(self, message: BaseMessage, text: str, limit: int) -> bool:
        """Whether ``message``, which says ``text``, has more than ``limit`` tokens."""
        return self.count([message]) > limit

    def _triggered(self) -> bool:
        sizes = [in_tokens(size, "trigger", self.limit()) for size in self.settings.triggers]
        return not sizes or any(self._reaches(kind, value) for kind, value in sizes)

    def _reaches(self, kind: str, value: float) -> bool:
        if kind == "messages":
            return len(self.messages) >= value
        return self.fixed() + self.count(self.messages) >= value

    def _sent(self, window: Window) -> list[BaseMessage]:
        return window.sent(self.messages, self.where, self.settings.expand)


class ByText(Reader):
    """For models that see no memory, and where there is none: the newest groups that fit."""

    where = LEFT_OUT

    def __init__(self, call: Call, nothing: Session | None = None) -> None:
        """``nothing``: for ``ChatVIST2``, an empty session to be read."""
        super().__init__(call)
        self._nothing = nothing

    def count(self, messages: Sequence[BaseMessage]) -> int:
        if self._nothing is not None:
            return count(self._nothing.engine, messages)
        return self.settings.token_counter(messages) if messages else 0

    def fixed(self) -> int:
        if self._nothing is not None:
            return fixed(self._nothing.engine, self.call.request)
        return estimated(self.settings, self.call.request)

    def limit(self) -> int | None:
        if self._nothing is not None:
            most = most_text(self._nothing.engine, self.call.request)
            return min(most, self.call.max_tokens or most)
        return self.call.max_tokens or profile_limit(self.call.request)

    def windows(self) -> Iterator[Window]:
        yield Window(0)
        yield from windows(self.messages, [0], self.oversize)

    def request(self, window: Window) -> ModelRequest[Any] | None:
        sent = self._sent(window)
        if not sent:
            return None
        if window.start:
            kept = [m for m in self.messages[: window.start] if isinstance(m, SystemMessage)]
            sent = [*kept, HumanMessage(self._left_out(window, len(kept))), *sent]
        self.tokens = self.fixed() + self.count(sent)
        limit = self.limit()
        if limit is not None and self.tokens > limit:
            return None
        if self._nothing is None:
            return self.call.request.override(messages=sent)  # type: ignore[arg-type]
        name = digest([])
        context = VisualContext(self._nothing, 0, (), self.settings.max_tokens, name)
        return with_context(self.call.request, sent, context)

    def _left_out(self, window: Window, kept: int) -> str:
        count = window.start - kept - (window.question is not None)
        find = f"; {EXPAND}(search=...) finds what they say" if self.settings.expand else ""
        return f"[The first {count:,} messages of this conversation are not shown here{find}.]"
