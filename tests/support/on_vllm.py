"""Contexts and answers for engines on vLLM, and an account of what they send there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import pytest

from vist2_memory.engine.vist2 import Vist2Engine
from vist2_memory.engine.vllm.requests import Request, Tokens, Told, Transport
from vist2_memory.types import (
    ChunkFolded,
    Context,
    Finished,
    GenerationParams,
    TextDelta,
    TokenLogprob,
    VisualTokens,
)

_STORY = (
    "Anna moved to {0} Harbour Street with {1} cats, and Ben, who had {0} boats, wrote to her "
    "every {2} days about the weather, the price of coal and the {1} geese by the old mill. "
)


@lru_cache(maxsize=8)
def memory_of(engine: Vist2Engine, chunks: int, first: int = 1) -> tuple[VisualTokens, ...]:
    """Visual tokens of a story that is ``chunks`` long; ``first`` makes it another."""
    ids: list[int] = []
    number = first
    while len(ids) < engine.spec.chunk_tokens * (chunks + 1):
        ids += engine.processor.tokenizer.encode(_STORY.format(number, number + 3, number + 7))
        number += 1
    cut = []
    for _ in range(chunks):
        chunk, ids = engine.first_chunk(ids)
        cut.append(chunk)
    return tuple(engine.encode(cut))


def context_of(
    engine: Vist2Engine, chunks: int = 6, *, salt: str = "", first: int = 1, full: bool = False
) -> Context:
    """``full``: the recent text is nearly long enough to be folded."""
    tail = " Then Anna wrote back to Ben that"
    if full:
        ids = engine.processor.tokenizer.encode(_STORY.format(first, 5, 9) * 9)
        room = engine.spec.tail_limit - 6 - len(engine.processor.tokenizer.encode(tail))
        tail = engine.processor.tokenizer.decode(ids[:room]) + tail
    return Context("You are kind.", memory_of(engine, chunks, first), tail, cache_salt=salt)


@dataclass(frozen=True)
class Said:
    """One answer."""

    text: str
    folded: tuple[str, ...]
    finished: Finished
    logprobs: tuple[TokenLogprob, ...]


def said(engine: Vist2Engine, context: Context, params: GenerationParams) -> Said:
    events = list(engine.generate(context, params))
    finished = events[-1]
    assert isinstance(finished, Finished)
    deltas = [event for event in events if isinstance(event, TextDelta)]
    return Said(
        finished.text,
        tuple(event.chunk.text for event in events if isinstance(event, ChunkFolded)),
        finished,
        tuple(one for delta in deltas for one in delta.logprobs or ()),
    )


def agreement(ours: Said, theirs: Said, within: float) -> int:
    """How many tokens two greedy answers have in common, both asked for with ``logprobs``.

    Asserts that all these are as likely for both, and that where they part it is between tokens
    that are as likely for each: rounding may decide there. ``within``: nats.
    """
    for place, (one, other) in enumerate(zip(ours.logprobs, theirs.logprobs, strict=True)):
        if one.bytes == other.bytes:
            assert one.logprob == pytest.approx(other.logprob, abs=within), (place, one, other)
            continue
        for mine, rival in ((one, other), (other, one)):
            [beside] = [top for top in mine.top if top.bytes == rival.bytes]
            assert beside.logprob == pytest.approx(mine.logprob, abs=within), (place, one, other)
        return place
    return len(ours.logprobs)


@contextmanager
def endless(*engines: Vist2Engine) -> Iterator[None]:
    """Inside, what ends an answer is never said: it goes on to the last token."""
    kept = [engine._never for engine in engines]
    for engine in engines:
        engine._never = engine._never | engine.stop_ids
    try:
        yield
    finally:
        for engine, never in zip(engines, kept, strict=True):
            engine._never = never


@dataclass
class Recording(Transport):
    """Passes requests on; keeps them, and what was found in the prefix cache for each."""

    inner: Transport
    requests: list[Request] = field(default_factory=list)
    cached: list[int | None] = field(default_factory=list)

    def send(self, request: Request) -> Tokens:
        self.requests.append(request)
        self.cached.append(None)
        return _Noting(self.inner.send(request), self.cached, len(self.cached) - 1)

    def close(self) -> None:
        self.inner.close()

    @property
    def lengths(self) -> Sequence[int]:
        return [len(request.read) for request in self.requests]


class _Noting(Tokens):
    def __init__(self, inner: Tokens, cached: list[int | None], place: int) -> None:
        self._inner, self._cached, self._place = inner, cached, place

    def __next__(self) -> Told:
        told = next(self._inner)
        if self._cached[self._place] is None:
            self._cached[self._place] = told.cached
        return told

    def close(self) -> None:
        self._inner.close()
