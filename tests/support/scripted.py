"""A chat model on an engine that says what it was told to say; loads no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_vist2 import ChatVIST2
from vist2_memory.engine.base import Engine, EngineSpec
from vist2_memory.text.chunking import Chunker
from vist2_memory.tracing import span
from vist2_memory.types import (
    Chunk,
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    TextDelta,
    Timing,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
    VisualTokens,
)

ANSWER = "Understood, my friend."
"""What is said when nothing else is to be."""


class Words:
    """A tokenizer whose tokens are words with the space after them."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\S+\s*|\s+", text)]


class Scripted(Engine):
    """Says what it was told to say, in turn; keeps what it was asked.

    An answer is a text, or calls of tools, or an error that is raised when its turn comes. Where
    log probabilities are asked for, each word has its length as one, and one other beside it.
    """

    def __init__(self, *answers: str | tuple[ToolCall, ...] | Exception) -> None:
        self.answers = list(answers)
        self.encoded: list[str] = []
        self.contexts: list[Context] = []
        self.params: list[GenerationParams] = []
        self.running = 0
        self.closed = 0
        self.chunker = Chunker(Words(), 8, lambda text: True)
        self.spec = EngineSpec(
            model="scripted",
            fingerprint="scripted-1",
            layout="words-8",
            chunk_tokens=8,
            keep_recent=8,
            max_visual_tokens=1000,
            max_text_tokens=1000,
            kv_bytes_per_token=1,
        )

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        with span("encode", chunks=len(chunks)):
            self.encoded += [chunk.text for chunk in chunks]
            values, made_by = np.ones((2, 4), np.float32), self.spec.fingerprint
            return [VisualTokens(chunk.id, values, made_by, chunk.tokens) for chunk in chunks]

    def cost(self, chunk: Chunk) -> int:
        return 2

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        self.contexts.append(context)
        self.params.append(params)
        answer = self.answers.pop(0) if self.answers else ANSWER
        if isinstance(answer, Exception):
            raise answer
        self.running += 1
        try:
            yield from self._events(answer, context, params)
        finally:
            self.running -= 1

    def _events(
        self, answer: str | tuple[ToolCall, ...], context: Context, params: GenerationParams
    ) -> Iterator[GenerationEvent]:
        text, calls = (answer, ()) if isinstance(answer, str) else ("", answer)
        words = re.findall(r"\S+\s*", text)
        for word in words:
            known = () if params.logprobs is None else (likely(word),)
            yield TextDelta(word, known)
        for index, call in enumerate(calls):
            for piece in re.findall(r".{1,7}", call.text):
                yield ToolCallDelta(index, call.id, piece)
        whole = all(call.arguments is not None for call in calls)
        stood_for = sum(tokens.text_tokens for tokens in context.visual)
        tail = self.chunker.count(context.tail)
        usage = Usage(
            text_tokens=stood_for,
            visual_tokens=sum(map(len, context.visual)),
            prompt_text_tokens=tail,
            full_prompt_tokens=tail + stood_for,
            new_tokens=len(words),
        )
        reason: Any = ("tool_calls" if whole else "length") if calls else "stop"
        yield Finished(text, reason, usage, Timing(first_token_s=0.25, total_s=0.5), calls=calls)

    def close(self) -> None:
        self.closed += 1


def likely(word: str) -> TokenLogprob:
    other = TokenLogprob("other", b"other", -9.0)
    return TokenLogprob(word, word.encode(), -float(len(word)), (other,))


def held(llm: ChatVIST2, session: str = "s") -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in llm.memory.session(session).messages()]


def said(*texts: str) -> list[BaseMessage]:
    """A conversation of human and assistant in turn."""
    kinds: tuple[type[BaseMessage], ...] = (HumanMessage, AIMessage)
    return [kinds[number % 2](content=text) for number, text in enumerate(texts)]
