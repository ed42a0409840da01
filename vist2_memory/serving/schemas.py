"""What requests may say: OpenAI's fields, and ours beside them.

What would change an answer and is not offered is refused; what says nothing to a model is let pass.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vist2_memory.memory.conversing import OnConflict

Name = Field(min_length=1, max_length=512, examples=["user-42"])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(_Strict):
    """``POST /v1/chat/completions``."""

    messages: list[dict[str, Any]] = Field(
        min_length=1, examples=[[{"role": "user", "content": "What is my cat called?"}]]
    )
    model: str | None = None
    """The model that is served, or nothing."""
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    n: Literal[1] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool = True
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: dict[str, Literal[0]] | None = None

    # Say nothing to a model.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    reasoning_effort: str | None = None

    # Ours.
    session_id: str | None = Field(None, min_length=1, max_length=512)
    """The conversation that is meant; the client need send only what is new to it."""
    on_conflict: OnConflict = "raise"
    top_k: int = Field(0, ge=0)
    exact_quotes: bool = True
    """Whether what the model quotes of the memory is held to its text."""
    include: list[str] = Field(default_factory=list, max_length=64)
    """Collections whose documents are read before the conversation."""
    selection: str | None = None
    pins: list[str] = Field(default_factory=list)
    budget: int | None = Field(None, ge=1)
    keep_recent: int | None = Field(None, ge=0)
    """Without a session: how many of the last messages to keep as text."""


class AppendRequest(_Strict):
    """``POST /v1/sessions/{id}/messages``: what was said elsewhere; nothing is answered."""

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=10_000)


class ForkRequest(_Strict):
    """``POST /v1/sessions/{id}/fork``."""

    id: str = Name
    """What the new session is called."""
    at: str | None = None
    """The last message that it begins with; all, if None."""


class DocumentText(_Strict):
    text: str = Field(min_length=1)
    metadata: dict[str, Any] = Field(default_factory=dict)


class DocumentsRequest(_Strict):
    """``POST /v1/collections/{name}/documents``."""

    documents: list[DocumentText] = Field(min_length=1, max_length=10_000)
