"""``VisualMemoryMiddleware``: an agent's older messages as visual memory, its state left whole.

At each model call the newest messages are sent as text, and all older ones are read as visual
memory: with ``ChatVIST2`` as visual tokens, with any other model that takes images as pages, if the
memory was opened with ``pages:`` and a provider. Any other model is sent as much text as fits.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

try:
    from langchain.agents.middleware.types import (
        AgentMiddleware,
        AgentState,
        ModelRequest,
    )
    from langgraph.config import get_config
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "VisualMemoryMiddleware is for agents of LangChain: pip install 'vist2-memory[agents]'"
    ) from error

from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages.utils import count_tokens_approximately

from langchain_vist2.agents.attempts import Attempts
from langchain_vist2.agents.following import sessions_of
from langchain_vist2.agents.memory_readers import ByMemory, ByPages, ByTensors
from langchain_vist2.agents.mirrored import mark
from langchain_vist2.agents.readers import ByText, Reader
from langchain_vist2.agents.requests import Call
from langchain_vist2.agents.results import Results, collection_of
from langchain_vist2.agents.settings import Settings, TokenCounter
from langchain_vist2.agents.splitting import Size
from langchain_vist2.agents.tools import expand_memory_tool
from langchain_vist2.chat.model import ChatVIST2
from langchain_vist2.errors import InvalidInputError, told_as_langchains
from langchain_vist2.messages import Media
from vist2_memory.errors import CodecError, EncodingError, StoreError
from vist2_memory.memory import Session, VisualMemory
from vist2_memory.store.base import Deleted

_RETRIED = (StoreError, EncodingError, CodecError, ContextOverflowError)
_PASSING = 64
"""Conversations without a thread that are held in this process."""
_CHARACTERS_PER_TOKEN = 2
"""Of what ``expand_memory`` shows at once: little, so that it is never too large itself."""


class VisualMemoryMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Middleware for ``create_agent``; see the module. One may serve many agents and threads."""

    def __init__(
        self,
        memory: VisualMemory,
        *,
        keep_recent: Size = ("messages", 6),
        trigger: Size | Sequence[Size] | None = None,
        max_tokens: int | None = None,
        tool_result_tokens: int | None = None,
        expand: bool = True,
        media: Media = "placeholder",
        token_counter: TokenCounter = count_tokens_approximately,
    ) -> None:
        """``memory``: where older messages go; a session for each thread, and for each branch.

        ``keep_recent``: what stays text, ``("messages", n)``, ``("tokens", n)`` or ``("fraction",
        f)`` of ``max_tokens``, or else of what the model takes; tool calls and their results are
        never parted. ``trigger``: the size from which on older messages are memory, or several, of
        which any counts; None: at once. ``max_tokens``: what a call may have, system prompt, tools,
        text and visual tokens in all; where it is too much, less stays text. None: what the model
        takes. ``tool_result_tokens``: results of more are sent as a stub, and read as documents
        of visual memory (default: a quarter of ``max_tokens``, or 2,000). ``expand``: whether the
        agent has the tool ``expand_memory``. ``media``: what becomes of images and files in
        messages that go into memory, which holds text: their names and a warning, or with
        ``"error"`` an ``InvalidMessageError``. ``token_counter``: counts for models other than
        ``ChatVIST2``.

        Raises ``InvalidInputError`` for a value that is not allowed.
        """
        super().__init__()
        self.memory = memory
        self.settings = Settings(
            keep_recent, trigger, max_tokens, tool_result_tokens, expand, media, token_counter
        )
        characters = self.settings.result_tokens * _CHARACTERS_PER_TOKEN
        self.tools = [expand_memory_tool(characters)] if expand else []
        self._results = Results(memory)
        self._lock = threading.Lock()
        self._passing: VisualMemory | None = None
        self._passing_results: Results | None = None
        self._passed: OrderedDict[str, None] = OrderedDict()

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]
    ) -> Any:
        """Send the recent messages, with the memory of the older ones.

        Where the store or the encoder fails, text is sent instead, which the log and ``degraded``
        in the answer's ``response_metadata`` say. Raises ``ContextOverflowError`` where not even
        the newest question fits into the budget.
        """
        if not request.messages:
            return handler(request)
        with told_as_langchains():
            attempts = self._attempts(request)
            attempt = attempts.first()
        while True:
            try:
                return attempts.done(handler(attempt))
            except _RETRIED as error:
                attempt = attempts.after(error)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> Any:
        """:meth:`wrap_model_call`, without blocking the event loop."""
        if not request.messages:
            return await handler(request)
        with told_as_langchains():
            attempts = await asyncio.to_thread(self._attempts, request)
            attempt = await asyncio.to_thread(attempts.first)
        while True:
            try:
                return attempts.done(await handler(attempt))
            except _RETRIED as error:
                attempt = await asyncio.to_thread(attempts.after, error)

    def delete_thread(self, thread_id: str) -> Deleted:
        """Delete what the memory has of a thread, its branches and results too; in counts.

        The state is the checkpointer's, and is not touched.
        """
        names = sessions_of(self.memory, thread_id)
        parts = [self.memory.session(name).delete() for name in names]
        parts.append(collection_of(self.memory, thread_id).delete())
        self._results.forget(thread_id)
        counts = [(p.messages, p.chunks, p.tensors, p.outbox) for p in parts]
        return Deleted(*map(sum, zip(*counts, strict=True)))

    async def adelete_thread(self, thread_id: str) -> Deleted:
        """:meth:`delete_thread`, without blocking the event loop."""
        return await asyncio.to_thread(self.delete_thread, thread_id)

    # Within

    def _attempts(self, request: ModelRequest[Any]) -> Attempts:
        thread = _thread_id()
        marks = [mark(message, by_id=thread is not None) for message in request.messages]
        memory, results = self.memory, self._results
        name = thread or f"passing-{marks[0].digest}"
        reads: type[ByMemory] | None = self._reads(request)
        if reads is not None and thread is None:
            memory, results = self._without_thread(name)
        call = Call(request, name, marks, self.settings)

        def by_memory(call: Call) -> Reader:
            assert reads is not None
            return reads(call, memory, results)

        def by_text(call: Call) -> Reader:
            return ByText(call, self._nothing() if reads is ByTensors else None)

        return Attempts(call, None if reads is None else by_memory, by_text)

    def _reads(self, request: ModelRequest[Any]) -> type[ByMemory] | None:
        """How the model of ``request`` reads visual memory; None if it does not."""
        if isinstance(request.model, ChatVIST2):
            if self.memory.draws_pages:
                raise InvalidInputError(
                    "the memory was opened with a model='pages:...', for models that somebody else "
                    "runs, and ChatVIST2 reads visual tokens: open it with ChatVIST2's model"
                )
            return ByTensors
        profile: Any = getattr(request.model, "profile", None) or {}
        sees = profile.get("image_inputs") is not False
        return ByPages if self.memory.draws_pages and sees else None

    def _without_thread(self, name: str) -> tuple[VisualMemory, Results]:
        """Where a conversation without a thread is: in this process, the latest of them."""
        with self._lock:
            if self._passing is None or self._passing_results is None:
                self._passing = VisualMemory.open("memory://", model=self.memory.engine)
                self._passing_results = Results(self._passing)
            memory, results = self._passing, self._passing_results
            self._passed[name] = None
            self._passed.move_to_end(name)
            gone = list(self._passed)[:-_PASSING]
            for old in gone:
                del self._passed[old]
        for old in gone:
            for session in sessions_of(memory, old):
                memory.session(session).delete()
            collection_of(memory, old).delete()
            results.forget(old)
        return memory, results

    def _nothing(self) -> Session:
        """A session that holds nothing."""
        return self._without_thread("nothing")[0].session("nothing")


def _thread_id() -> str | None:
    """The thread that runs; None without a checkpointer."""
    try:
        config = get_config()
    except RuntimeError:  # outside of a graph
        return None
    thread = config.get("configurable", {}).get("thread_id")
    return None if thread is None or thread == "" else str(thread)
