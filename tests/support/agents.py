"""Engines and chat models for agents: they count what they read, and refuse what providers do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr

from tests.support.histories import orphans
from tests.support.plain import FailingStore, PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.store import Scope, Store
from vist2_memory.store.base import Snapshot
from vist2_memory.text.tools import write_tools
from vist2_memory.text.transcript import write_message
from vist2_memory.types import (
    Chunk,
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
)


class AgentEngine(PlainEngine):
    """Says what ``think`` returns; ``read`` has the tokens of each context, text and visual."""

    def __init__(
        self, think: Callable[[int], str | Finished] = lambda number: "Yes.", **options: Any
    ) -> None:
        super().__init__(**{"chunk_tokens": 32, **options})
        self.think = think
        self._known_cost = lru_cache(maxsize=None)(self._renderer.visual_tokens)
        self.read: list[int] = []
        self.told: list[GenerationParams] = []

    def cost(self, chunk: Chunk) -> int:
        return self._known_cost(chunk.text)

    def text_tokens(self, pinned: str, tail: str, params: GenerationParams) -> int:
        tools = write_message("system", write_tools(params.tools)) if params.tools else ""
        return sum(map(self.chunker.count, (pinned, tools, tail)))

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        visual = sum(len(tokens) for tokens in context.visual)
        self.read.append(self.text_tokens(context.pinned, context.tail, params) + visual)
        self.told.append(params)
        self.contexts.append(context)
        answer = self.think(len(self.told) - 1)
        end = Finished(answer, "stop") if isinstance(answer, str) else answer
        if end.text:
            yield TextDelta(end.text)
        for index, call in enumerate(end.calls):
            yield ToolCallDelta(index, call.id, call.text)
        yield end


class SilentStore(FailingStore):
    """Fails at reading logs too, where ``"snapshot"`` is broken."""

    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        self._try("snapshot")
        return super().snapshot(scope, after)


def calls(*asked: tuple[str, str, dict[str, Any]], text: str = "") -> Finished:
    """An answer that asks for tools, each by id, name and arguments."""
    made = tuple(ToolCall.of(id, name, arguments) for id, name, arguments in asked)
    return Finished(text, "tool_calls", calls=made)


def agent_memory(
    think: Callable[[int], str | Finished] = lambda number: "Yes.",
    store: Store | str = "memory://",
    **options: Any,
) -> VisualMemory:
    """A memory whose engine says what ``think`` returns."""
    return VisualMemory.open(store, model=AgentEngine(think, **options))


def engine_of(memory: VisualMemory) -> AgentEngine:
    assert isinstance(memory.engine, AgentEngine)
    return memory.engine


def shown(context: Context) -> str:
    """What the model was shown as visual memory, as text."""
    return "".join(chunk.text for chunk in context.sources)


class StrictChat(BaseChatModel):
    """A hosted model that refuses what providers refuse; ``heard`` has what it was sent."""

    max_input: int | None = None
    images: bool = True
    _heard: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _answers: list[AIMessage | Exception] = PrivateAttr(default_factory=list)
    _tools: list[Any] = PrivateAttr(default_factory=list)

    def say(self, *answers: AIMessage | Exception) -> StrictChat:
        self._answers.extend(answers)
        return self

    @property
    def heard(self) -> list[list[BaseMessage]]:
        return self._heard

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        known = {"image_inputs": self.images}
        self.profile = {**known, "max_input_tokens": self.max_input} if self.max_input else known  # type: ignore[assignment]

    @property
    def _llm_type(self) -> str:
        return "strict"

    def bind_tools(
        self, tools: Sequence[Any], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        self._tools[:] = tools
        kwargs.pop("tool_choice", None)
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        assert not kwargs, f"options that no provider knows: {kwargs}"
        assert not orphans(messages), orphans(messages)
        self._heard.append(list(messages))
        answer = self._answers.pop(0) if self._answers else AIMessage("Yes.")
        if isinstance(answer, Exception):
            raise answer
        return ChatResult(generations=[ChatGeneration(message=answer)])


def tools_of(params: GenerationParams) -> list[str]:
    return [tool.name for tool in params.tools if isinstance(tool, Tool)]
