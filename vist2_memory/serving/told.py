"""What requests are answered with, as the OpenAPI schema tells it.

It documents: answers are made where they are known, and a test compares them with this.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Failure(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class Refusal(BaseModel):
    """Every answer that is none, in OpenAI's form."""

    error: Failure


class Status(BaseModel):
    status: str


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_visual_tokens: int
    max_text_tokens: int
    chunk_tokens: int


class Models(BaseModel):
    object: Literal["list"]
    data: list[Model]


class ScopeRow(BaseModel):
    """A session, or a collection; times are seconds since the epoch."""

    id: str
    messages: int
    created: float
    updated: float


class Scopes(BaseModel):
    object: Literal["list"]
    data: list[ScopeRow]
    has_more: bool


class MessageRow(BaseModel):
    id: str
    role: str
    content: str
    turn: str
    time: float
    tool_calls: list[dict[str, Any]] = []
    payload: dict[str, Any]


class Messages(BaseModel):
    object: Literal["list"]
    data: list[MessageRow]
    total: int
    has_more: bool


class Appended(BaseModel):
    object: Literal["list"]
    added: int


class Forked(BaseModel):
    object: Literal["session"]
    id: str
    messages: int


class Imported(BaseModel):
    object: Literal["import"]
    sessions: int
    messages: int
    new: int
    warnings: list[str]


class Deleted(BaseModel):
    """What is no more, in counts."""

    object: Literal["session.deleted", "collection.deleted"]
    id: str
    deleted: bool
    messages: int
    chunks: int
    tensors: int
    outbox: int


class DocumentRow(BaseModel):
    id: str
    text: str
    metadata: dict[str, Any]


class Documents(BaseModel):
    object: Literal["list"]
    data: list[DocumentRow]
    total: int
    has_more: bool


class Added(BaseModel):
    object: Literal["list"]
    added: int
    given: int


class DocumentDeleted(BaseModel):
    object: Literal["document.deleted"]
    id: str
    deleted: bool


class Missing(BaseModel):
    missing: list[str]


class Checked(BaseModel):
    ok: bool


class Completion(BaseModel):
    """OpenAI's chat completion, and of the memory ``vist2``."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]
    vist2: dict[str, Any]
