"""From logits to the next token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from vist2_memory.engine.decoding import ByteTokenizer, show
from vist2_memory.types import GenerationParams, TokenLogprob

COLDEST = 1e-30
"""Logits over less than this are infinite; the likeliest token is certain long before."""


class Picker:
    """Picks the next token: greedy, or sampled by the parameters."""

    def __init__(self, params: GenerationParams, never: Tensor) -> None:
        self._never = never
        self._warpers = LogitsProcessorList()
        self._greedy = params.temperature < COLDEST
        self._generator: torch.Generator | None = None
        if self._greedy:
            return
        self._warpers.append(TemperatureLogitsWarper(float(params.temperature)))
        if params.top_k:
            self._warpers.append(TopKLogitsWarper(params.top_k))
        if params.top_p < 1:
            self._warpers.append(TopPLogitsWarper(float(params.top_p)))
        self._generator = torch.Generator(never.device)
        if params.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(params.seed)

    @torch.inference_mode()
    def __call__(self, logits: Tensor) -> int:
        """A token id from ``logits`` of shape (vocabulary,)."""
        logits = logits.index_fill(0, self._never, -torch.inf)
        if self._greedy:
            return int(logits.argmax())
        no_ids: Any = torch.empty(1, 0, dtype=torch.long, device=logits.device)
        scores = self._warpers(no_ids, logits[None])
        return int(torch.multinomial(scores.softmax(-1)[0], 1, generator=self._generator))


def logprob_of(logits: Tensor, token: int, top: int, tokenizer: ByteTokenizer) -> TokenLogprob:
    """How likely ``token`` was by ``logits`` of shape (vocabulary,), and the ``top`` likeliest."""
    scores = logits.float().log_softmax(-1)
    likeliest = scores.topk(min(top, len(scores)))

    def told(token: int, score: float) -> TokenLogprob:
        data = tokenizer.bytes_of(token)
        return TokenLogprob(show(data.decode("utf-8", "replace")), data, score)

    best = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return replace(told(token, float(scores[token])), top=tuple(told(*one) for one in best))
