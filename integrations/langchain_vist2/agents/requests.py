"""A model call of an agent: what it asks for, and how many tokens of it are there in any case."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain.agents.middleware.types import ModelRequest
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import BaseMessage, SystemMessage

from langchain_vist2.agents.mirrored import Mark, as_message
from langchain_vist2.agents.settings import Settings
from langchain_vist2.chat.tooling import as_openai
from langchain_vist2.reference import OPTION, VisualContext
from vist2_memory.engine.base import Engine
from vist2_memory.memory.openai_form import tool_of
from vist2_memory.text.transcript import written
from vist2_memory.types import GenerationParams, Tool


@dataclass(frozen=True, slots=True)
class Call:
    """One model call of an agent. ``limit``: tokens it may have, if the settings say too many."""

    request: ModelRequest[Any]
    thread: str
    marks: Sequence[Mark]
    settings: Settings
    limit: int | None = None

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the state, as they came to the middleware."""
        return list(self.request.messages)

    @property
    def max_tokens(self) -> int | None:
        """Tokens that the call may have; None where nobody said."""
        return self.limit or self.settings.max_tokens


def with_context(
    request: ModelRequest[Any], sent: Sequence[BaseMessage], context: VisualContext
) -> ModelRequest[Any]:
    settings = {**request.model_settings, OPTION: context}
    return request.override(messages=list(sent), model_settings=settings)  # type: ignore[arg-type]


def system_of(request: ModelRequest[Any]) -> list[BaseMessage]:
    return [] if request.system_message is None else [request.system_message]


def count(engine: Engine, messages: Sequence[BaseMessage]) -> int:
    return sum(engine.chunker.count(written(as_message(message))) for message in messages)


def fixed(engine: Engine, request: ModelRequest[Any]) -> int:
    pinned = "".join(written(as_message(message)) for message in system_of(request))
    return engine.text_tokens(pinned, "", GenerationParams(tools=tools_of(request)))


def most_text(engine: Engine, request: ModelRequest[Any]) -> int:
    """Text tokens that the engine can read, less what the answer may take, a quarter at most."""
    most = engine.spec.max_text_tokens
    answer = getattr(request.model, "max_tokens", 0) or 0
    return most - min(answer, most // 4)


def estimated(settings: Settings, request: ModelRequest[Any]) -> int:
    """Tokens of system prompt, tools and the form of the answer, for a model of somebody else."""
    told = [json.dumps(tool, default=str) for tool in map(_described, request.tools)]
    told += [json.dumps(spec.json_schema) for spec in _forms(request)]
    return settings.token_counter([*system_of(request), *map(SystemMessage, told)])


def _described(tool: Any) -> dict[str, Any]:
    return tool if isinstance(tool, dict) else as_openai(tool)


def tools_of(request: ModelRequest[Any]) -> tuple[Tool, ...]:
    """The tools that the model is told of; a form of the answer is told as one."""
    tools = [tool_of(as_openai(tool)) for tool in request.tools]
    tools += [Tool(spec.name, spec.description, spec.json_schema) for spec in _forms(request)]
    return tuple(tools)


class _Form(Protocol):
    name: str
    description: str
    json_schema: dict[str, Any]


def _forms(request: ModelRequest[Any]) -> Sequence[_Form]:
    """The forms that the answer may have to have."""
    wanted: Any = request.response_format
    if wanted is None:
        return []
    if isinstance(wanted, ProviderStrategy):
        return [wanted.schema_spec]
    if isinstance(wanted, AutoStrategy):
        wanted = wanted.schema
    strategy = wanted if isinstance(wanted, ToolStrategy) else ToolStrategy(wanted)
    return strategy.schema_specs


def profile_limit(request: ModelRequest[Any]) -> int | None:
    """Tokens that the model says it takes."""
    profile: Any = getattr(request.model, "profile", None) or {}
    most = profile.get("max_input_tokens")
    return most if isinstance(most, int) else None
