"""An engine without any model, and a store that fails when it is told to; loads no torch."""

from __future__ import annotations

import hashlib
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tests.support.tokenizers import small_tokenizer
from vist2_memory.engine.base import Engine, EngineSpec
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.store import InMemoryStore, Scope
from vist2_memory.text.chunking import Chunker
from vist2_memory.types import (
    Chunk,
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    Message,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    VisualTokens,
)


class PlainEngine(Engine):
    """No model at all: visual tokens are digests of the text, answers come from a list."""

    def __init__(
        self,
        answers: Sequence[str | Finished] = (),
        *,
        step_s: float = 0.0,
        chunk_tokens: int = 8,
        max_visual_tokens: int = 1024,
        keep_recent_chunks: int = 0,
    ) -> None:
        self.answers = deque(answers)
        self.step_s = step_s
        self.encoded: list[str] = []
        self.contexts: list[Context] = []
        self.open_generations = 0
        self._renderer = SketchRenderer(SketchGeometry(columns=36, max_lines=8))
        self.chunker = Chunker(small_tokenizer(), chunk_tokens, self._renderer.fits)
        self.spec = EngineSpec(
            model="plain",
            fingerprint="plain-1",
            layout=f"plain-{chunk_tokens}",
            chunk_tokens=chunk_tokens,
            keep_recent=keep_recent_chunks * chunk_tokens,
            max_visual_tokens=max_visual_tokens,
            max_text_tokens=1024,
            kv_bytes_per_token=16,
        )

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        self.encoded += [chunk.text for chunk in chunks]
        return [
            VisualTokens(c.id, self._values(c.text), self.spec.fingerprint, c.tokens)
            for c in chunks
        ]

    def cost(self, chunk: Chunk) -> int:
        return self._renderer.visual_tokens(chunk.text)

    def picture(self, chunk: Chunk) -> bytes:
        return self._renderer.draw([chunk])[0].to_png()

    def _values(self, text: str) -> np.ndarray:
        count = self._renderer.visual_tokens(text)
        digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
        return np.tile(np.frombuffer(digest, dtype=np.uint8).astype(np.float32), (count, 1))

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        self.contexts.append(context)
        self.open_generations += 1
        try:
            answer = self.answers.popleft() if self.answers else "Yes."
            end = Finished(answer, "stop") if isinstance(answer, str) else answer
            for word in re.findall(r"[^ ]+ *|^ +", end.text):
                time.sleep(self.step_s)
                yield TextDelta(word)
            for index, call in enumerate(end.calls):
                yield ToolCallDelta(index, call.id, call.text)
            yield end
        finally:
            self.open_generations -= 1


def calling(name: str, id: str = "call_1", **arguments: object) -> Finished:
    """An answer of a `PlainEngine` that says nothing and asks for a tool."""
    return Finished("", "tool_calls", calls=(ToolCall.of(id, name, arguments),))


class FailingStore(InMemoryStore):
    """The store in memory; the methods named in ``broken`` cannot reach it."""

    def __init__(self, *broken: str) -> None:
        super().__init__()
        self.broken = set(broken)

    def _try(self, method: str) -> None:
        if method in self.broken:
            raise StoreUnavailableError(f"{method} is out of order")

    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        self._try("append")
        return super().append(scope, messages, expected=expected, revision=revision)

    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        self._try("get_many")
        return super().get_many(scope, fingerprint, chunk_ids)

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        self._try("put_many")
        super().put_many(scope, fingerprint, items)
