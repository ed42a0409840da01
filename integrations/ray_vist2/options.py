"""What replicas are started with, from Python or from ``serve run``, where all values are text."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _from_commas(value: Any) -> Any:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


class ReplicaOptions(BaseModel):
    """How many replicas there are, what each serves, and when it is full.

    Construction raises pydantic's ``ValidationError``, a ``ValueError``, for what is not allowed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: str
    """The store that all replicas share, as ``VisualMemory.open`` takes it: a Redis, or a file
    where all run on one machine."""
    model: str | None = None
    """As ``VisualMemory.open`` takes it, found on each machine."""
    ratio: float | None = None
    engine: str | None = None
    """``torch`` or ``vllm``, in the replica's process, or ``vllm+http://...``."""
    engine_options: Annotated[dict[str, Any], BeforeValidator(_from_json)] = {}
    """See ``EngineOptions``; as text, a JSON object."""
    tensors: str | None = None
    """Another store for visual tokens alone."""
    ttl: int | None = Field(None, ge=1)

    keys: str | None = None
    """The file of API keys, on each machine; without it ``VIST2_API_KEYS``, without both only
    requests from the machine itself are answered."""
    cors: Annotated[list[str], BeforeValidator(_from_commas)] = []

    replicas: int = Field(1, ge=1)
    """How many replicas; with ``max_replicas``, the least."""
    max_replicas: int | None = Field(None, ge=1)
    """Up to how many replicas are started while requests wait; None: never more."""
    target: float | None = Field(None, gt=0)
    """Requests in progress for each replica that are aimed at; None: ``concurrency``."""
    up_after: float = Field(30.0, ge=0)
    """Seconds of more requests than that until a replica is added."""
    down_after: float = Field(600.0, ge=0)
    """Seconds of fewer until one is taken away."""
    surge: int = Field(0, ge=0, le=100)
    """Replicas that are started beyond their number when all are replaced, in percent; with 0 an
    old one ends before its successor begins, and of a single one requests wait for that long."""
    concurrency: int = Field(8, ge=1)
    """Answers that a replica generates at once."""
    queue: int = Field(8, ge=0)
    """Requests beyond them that a replica takes; then they go to another."""
    waiting: int = Field(256, ge=1)
    """Requests that wait in front of all replicas, at each proxy; more are told 429."""
    drain: float = Field(30.0, ge=0)
    """Seconds that answers in progress are given when a replica is to end."""
    patience: float = Field(60.0, gt=0)
    """Seconds without an answer of the store after which a replica counts as broken."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Of the lines that each replica writes, to where Ray keeps its workers' standard error."""
    cpus: float = Field(1.0, ge=0)
    """CPU cores for each replica, and threads of its model."""
    gpus: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.store.startswith("memory:"):
            raise ValueError(
                f"store={self.store!r} is each replica's own: give one that they share, as "
                "redis://host:6379/0"
            )
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(
                f"max_replicas={self.max_replicas} is below replicas={self.replicas}: give as many "
                "or more"
            )
        return self
