"""The KV cache of one generation, behind the few verbs that folding needs."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen3ForCausalLM


class KVCache:
    """Keys and values of one sequence; grows by ``append``, shrinks by ``fold``."""

    def __init__(self, model: Qwen3ForCausalLM, cache: DynamicCache | None = None) -> None:
        self._model = model
        self._cache = cache or DynamicCache(config=model.config)

    def __len__(self) -> int:
        return int(self._cache.get_seq_length())

    def append(self, embeds: Tensor) -> Tensor:
        """Run ``embeds`` (tokens, hidden size) after what is cached; logits of the last one.

        Returns shape (vocabulary,), float32.
        """
        start = len(self)
        positions = torch.arange(start, start + embeds.shape[0], device=embeds.device)
        output = self._model(
            inputs_embeds=embeds[None],
            position_ids=positions[None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[0, -1].float()
        return logits

    def fold(self, length: int, visual: Tensor) -> Tensor:
        """Drop everything after the first ``length`` tokens and append ``visual`` in its place."""
        if not 0 <= length <= len(self):
            raise ValueError(f"cannot fold to {length} tokens: the cache holds {len(self)}")
        self._cache.crop(length - len(self))
        return self.append(visual)

    def fork(self) -> KVCache:
        """A cache of the same content that goes its own way."""
        return KVCache(self._model, copy.deepcopy(self._cache))

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values that are in use."""
        layers: list[Any] = list(self._cache.layers)
        used = (t for layer in layers if layer.is_initialized for t in (layer.keys, layer.values))
        return sum(t.numel() * t.element_size() for t in used)
