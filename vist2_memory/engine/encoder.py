"""Chunks to visual tokens by a VIST2 checkpoint: draw, vision tower, aligner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.store.formats import TensorFormat
from vist2_memory.tracing import span
from vist2_memory.types import Chunk, VisualTokens

ENCODE_BATCH = 64
"""Sketches that go through the tower at once; half as many on a CPU, which is no slower then and
pads less."""


class Encoder:
    """The part of a VIST2 checkpoint that sees: tower, aligner, and the embeddings of tokens."""

    def __init__(
        self,
        model: Vist2ForConditionalGeneration,
        processor: Vist2Processor,
        fingerprint: str,
        tensors: TensorFormat,
    ) -> None:
        self.model, self.processor = model, processor
        self.fingerprint, self.tensors = fingerprint, tensors
        self.finder = model.config.finding
        self._cost = lru_cache(maxsize=65_536)(self._cost_of)

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        """Draw ``chunks`` and run the tower and the aligner, a batch at a time.

        Those of about as many visual tokens go together, so that few are padded. A chunk that would
        cost more drawn than written stays text: its values are then the embeddings of its tokens.
        Raises ``ValueError`` for one that is too long.
        """
        batch = ENCODE_BATCH // 2 if self._weight.device.type == "cpu" else ENCODE_BATCH
        size = self.processor.renderer.visual_tokens
        order = sorted(range(len(chunks)), key=lambda place: size(chunks[place].text))
        out: dict[int, VisualTokens] = {}
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            made = self._encode_batch([chunks[place] for place in places])
            out |= zip(places, made, strict=True)
        return [out[place] for place in range(len(chunks))]

    def cost(self, chunk: Chunk) -> int:
        """Visual tokens that ``chunk`` takes; drawn or written, whatever is less."""
        return self._cost(chunk.text)

    def spans(self, chunk: Chunk) -> Sequence[tuple[int, int]]:
        """The characters of ``chunk``, from and to, that each of its visual tokens stands for."""
        renderer = self.processor.renderer
        if self.cost(chunk) < renderer.visual_tokens(chunk.text):
            return self.processor.tokenizer.spans(chunk.text)
        return renderer.spans(chunk.text)

    def embed(self, ids: Sequence[int]) -> Tensor:
        """Embeddings of ``ids``, shape (tokens, hidden size)."""
        table = self.model.get_input_embeddings()
        embeds: Tensor = table(torch.tensor(ids, dtype=torch.long, device=self._weight.device))
        return embeds

    def join(self, visual: Sequence[VisualTokens]) -> Tensor:
        """Visual tokens end to end, shape (tokens, hidden size)."""
        weight = self._weight
        empty = np.empty((0, weight.shape[1]), dtype=np.float32)
        values = np.concatenate([empty, *(tokens.values for tokens in visual)])
        return torch.from_numpy(values).to(device=weight.device, dtype=weight.dtype)

    @torch.inference_mode()
    def read(
        self,
        pinned: Sequence[int],
        visual: Sequence[VisualTokens],
        recent: Sequence[int] = (),
        skip: int = 0,
    ) -> Tensor:
        """What a model reads: the three of them, without the first ``skip`` tokens.

        Returns shape (tokens, hidden size).
        """
        left = max(0, skip - len(pinned))
        unread: list[VisualTokens] = []
        for tokens in visual:
            if left < len(tokens):
                unread.append(replace(tokens, values=tokens.values[left:]))
            left = max(0, left - len(tokens))
        parts = [self.embed(pinned[skip:]), self.join(unread), self.embed(recent[left:])]
        return torch.cat(parts)

    @property
    def _weight(self) -> Any:
        return self.model.get_input_embeddings().weight

    def _cost_of(self, text: str) -> int:
        processor = self.processor
        return min(processor.chunker.count(text), processor.renderer.visual_tokens(text))

    def _encode_batch(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        processor, device = self.processor, self._weight.device
        with span("draw", chunks=len(chunks)):
            sketches = processor.renderer.draw(chunks)
        with span("encode", chunks=len(chunks)):
            patches, mask = processor.patches(sketches, device)
            encoded = self.model.encode(patches, mask, processor.geometry)
            values = encoded.float().cpu().numpy()
        out = []
        for chunk, sketch, drawn in zip(chunks, sketches, values, strict=True):
            own = drawn[: sketch.visual_tokens]
            if self.cost(chunk) < sketch.visual_tokens:
                written = self.embed(processor.tokenizer.encode(chunk.text))
                own = written.float().cpu().numpy()
            own = self.tensors.rounded(own)
            out.append(VisualTokens(chunk.id, own, self.fingerprint, chunk.tokens))
        return out
