"""The real engine, counting, and a script of what it says."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tests.support.tokenizers import small_tokenizer
from vist2_memory.engine import torch as torch_engine
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.text.transcript import END
from vist2_memory.types import (
    Chunk,
    Context,
    GenerationEvent,
    GenerationParams,
    VisualTokens,
)


class CountingEngine(TorchEngine):
    """The real engine; remembers which chunks it encoded and what contexts it was given."""

    def __init__(
        self, folder: Path, keep_recent_chunks: int | None = None, ratio: float | None = None
    ) -> None:
        self.encoded: list[str] = []
        self.contexts: list[Context] = []
        super().__init__(folder, ratio=ratio, device="cpu", keep_recent_chunks=keep_recent_chunks)

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        self.encoded += [chunk.text for chunk in chunks]
        return super().encode(chunks)

    def generate(
        self,
        context: Context,
        params: GenerationParams,
        memory: object = None,
    ) -> Iterator[GenerationEvent]:
        self.contexts.append(context)
        return super().generate(context, params, memory)  # type: ignore[arg-type]


class Script:
    """Stands in for the choice of tokens: the next answers, token by token.

    Each answer is a text (then the model ends it) or token ids (then nothing ends it). A text may
    hold calls, each after its mark, as `written` writes them. Where no answer is left, the choice
    is the engine's own. ``logits`` holds what each choice was made from. Every token is chosen,
    those too that a grammar leaves no choice about; one that it does not allow is an error.
    """

    def __init__(self) -> None:
        self.answers: deque[str | list[int]] = deque()
        self.logits: list[Tensor] = []
        self._real = torch_engine.Picker

    def say(self, *answers: str | Sequence[int]) -> None:
        self.answers.extend(a if isinstance(a, str) else list(a) for a in answers)

    def __call__(self, params: GenerationParams, never: Tensor) -> _Choice:
        real = self._real(params, never)
        if not self.answers:
            return _Choice(self, None, real)
        answer = self.answers.popleft()
        tokenizer = small_tokenizer()
        ids = [*tokenizer.encode(answer), tokenizer.id(END)] if isinstance(answer, str) else answer
        return _Choice(self, iter(ids), real)


class _Choice:
    def __init__(
        self, script: Script, ids: Iterator[int] | None, real: torch_engine.Picker
    ) -> None:
        self._script, self._ids, self._real = script, ids, real

    def __call__(self, logits: Tensor) -> int:
        self._script.logits.append(logits.clone())
        return self._real(logits) if self._ids is None else next(self._ids)


def embed(engine: TorchEngine, ids: Sequence[int]) -> Tensor:
    """Token embeddings, shape (tokens, hidden size)."""
    return engine.model.get_input_embeddings()(torch.tensor(list(ids), dtype=torch.long)).detach()
