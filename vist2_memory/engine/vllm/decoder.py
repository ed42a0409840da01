"""The decoder of VIST2 checkpoints whose tokens come from vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from vist2_memory.engine.generation import Decoded, Decoder, Prompt
from vist2_memory.engine.vllm.asking import Asking
from vist2_memory.types import VisualTokens


class Embedding(Protocol):
    """What makes the embeddings that vLLM reads."""

    def embed(self, ids: Sequence[int]) -> Tensor:
        """Embeddings of ``ids``, shape (tokens, hidden size)."""

    def join(self, visual: Sequence[VisualTokens]) -> Tensor:
        """Visual tokens end to end, shape (tokens, hidden size)."""


class VLLMDecoder(Decoder):
    """Goes on from one prompt, which is sent as embeddings."""

    def __init__(self, prompt: Prompt, encoder: Embedding, asking: Asking) -> None:
        self._prompt, self._encoder, self._asking = prompt, encoder, asking
        with torch.inference_mode():
            before = torch.cat([encoder.embed(prompt.pinned), encoder.join(prompt.visual)])
        self._before = before  # (tokens before the recent text, hidden size)
        self._recent = list(prompt.recent)
        visual = prompt.base - len(prompt.pinned)
        text = len(prompt.pinned) + len(prompt.recent)
        asking.begin(self._read, visual_tokens=visual, text_tokens=text)

    def next(self, room: int) -> Decoded:
        """See :meth:`Decoder.next`; raises ``EngineUnavailableError``."""
        decoded = self._asking.next(room, self._prompt.fold_at - len(self._recent))
        self._recent.append(decoded.token)
        self.reused = self._asking.reused
        return decoded

    def fold(self, visual: VisualTokens, kept: Sequence[int]) -> None:
        """See :meth:`Decoder.fold`."""
        self._asking.leave()
        with torch.inference_mode():
            self._before = torch.cat([self._before, self._encoder.join([visual])])
        self._recent = list(kept)

    @property
    def may_end(self) -> bool:
        """See :attr:`Decoder.may_end`."""
        return self._asking.may_end

    def close(self) -> None:
        """Abort the request that is under way."""
        self._asking.leave()

    def _read(self) -> Tensor:
        with torch.inference_mode():
            return torch.cat([self._before, self._encoder.embed(self._recent)])
