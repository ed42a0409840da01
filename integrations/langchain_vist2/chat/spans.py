"""The stages of an answer (``vist2_memory.tracing``) as child runs of the model's run.

LangChain does not hand a streamed run to the model, so :class:`Traced` finds it out: it starts the
run under an id and with handlers that it knows. Stages that run in other threads are told on the
event loop of an asynchronous call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    CallbackManager,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.utils.uuid import uuid7

from vist2_memory.tracing import Ended, Observer

Manager: TypeAlias = CallbackManager | AsyncCallbackManager
Run: TypeAlias = CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun


@dataclass(frozen=True, slots=True)
class Parent:
    """The model's run, as its children must know it."""

    id: UUID
    handlers: tuple[BaseCallbackHandler, ...]

    @classmethod
    def of(cls, run: Run | None) -> Parent | None:
        """The run that LangChain hands over; else the one that was found out."""
        return _parent.get() if run is None else cls(run.run_id, tuple(run.handlers))


_parent: ContextVar[Parent | None] = ContextVar("langchain_vist2_run", default=None)


@contextmanager
def _under(parent: Parent | None) -> Iterator[None]:
    token = _parent.set(parent)
    try:
        yield
    finally:
        _parent.reset(token)


def observer_of(parent: Parent | None) -> Observer | None:
    """Tells the handlers of ``parent`` of spans, in the thread that they run in."""
    if parent is None or not parent.handlers:
        return None
    manager = CallbackManager(list(parent.handlers), parent_run_id=parent.id)

    def observe(name: str, attributes: Mapping[str, Any]) -> Ended:
        run = manager.on_chain_start(None, dict(attributes), name=name)

        def ended(error: BaseException | None, outcome: Mapping[str, Any]) -> None:
            if error is None:
                run.on_chain_end(dict(outcome))
            else:
                run.on_chain_error(error)

        return ended

    return observe


@asynccontextmanager
async def async_observer_of(parent: Parent | None) -> AsyncIterator[Observer | None]:
    """Tells the handlers of ``parent`` of spans in any thread, here on the event loop, in order.

    A span that is open at the end, since the call was cancelled, is told as cancelled then.
    """
    if parent is None or not parent.handlers:
        yield None
        return
    loop = asyncio.get_running_loop()
    told = _Told(AsyncCallbackManager(list(parent.handlers), parent_run_id=parent.id))

    def tell(event: _Event | None) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody listens any more
            loop.call_soon_threadsafe(told.events.put_nowait, event)

    def observe(name: str, attributes: Mapping[str, Any]) -> Ended:
        id = uuid7()
        tell((id, name, dict(attributes)))
        return lambda error, outcome: tell((id, error, dict(outcome)))

    telling = asyncio.create_task(told.tell_all())
    try:
        yield observe
    finally:
        tell(None)
        await telling


_Event: TypeAlias = tuple[UUID, str | BaseException | None, dict[str, Any]]
"""A span begins, under a name, or ends, well or with an error."""


class _Told:
    """Spans on their way from other threads to the handlers."""

    def __init__(self, manager: AsyncCallbackManager) -> None:
        self.events: asyncio.Queue[_Event | None] = asyncio.Queue()
        self._manager = manager
        self._open: dict[UUID, AsyncCallbackManagerForChainRun] = {}

    async def tell_all(self) -> None:
        while (event := await self.events.get()) is not None:
            id, what, values = event
            if isinstance(what, str):
                run = await self._manager.on_chain_start(None, values, id, name=what)
                self._open[id] = run
            elif run_of := self._open.pop(id, None):
                if what is None:
                    await run_of.on_chain_end(values)
                else:
                    await run_of.on_chain_error(what)
        for run in self._open.values():
            await run.on_chain_error(asyncio.CancelledError())


class Traced(BaseChatModel):
    """A chat model that knows its run in all ways of calling it. See :meth:`Parent.of`."""

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        config, parent = self._found_out(CallbackManager, config)
        steps = super().stream(input, config, stop=stop, **kwargs)
        try:
            while True:
                with _under(parent):
                    try:
                        chunk = next(steps)
                    except StopIteration:
                        return
                yield chunk
        finally:
            steps.close()  # type: ignore[attr-defined]

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        config, parent = self._found_out(AsyncCallbackManager, config)
        steps: Any = super().astream(input, config, stop=stop, **kwargs)
        async with aclosing(steps):
            while True:
                with _under(parent):
                    try:
                        chunk = await anext(steps)
                    except StopAsyncIteration:
                        return
                yield chunk

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with _under(Parent.of(run_manager)):
            return super()._generate_with_cache(messages, stop, run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with _under(Parent.of(run_manager)):
            return await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs)

    def _found_out(
        self,
        kind: type[CallbackManager] | type[AsyncCallbackManager],
        config: RunnableConfig | None,
    ) -> tuple[RunnableConfig, Parent]:
        """``config`` that starts a run of which id and handlers are known."""
        config = ensure_config(config)
        manager = kind.configure(config.get("callbacks"), self.callbacks, self.verbose)
        id = config.get("run_id") or uuid7()
        config = {**config, "callbacks": manager, "run_id": id}
        return config, Parent(id, tuple(manager.handlers))
