"""The text-only twin: the same language model, which reads the same history as text.

It is run by transformers as fast as transformers runs it: sdpa, logits at the last position alone,
its prefix cache kept between turns, and the better of its caches. Plain steps of the model are
tried beside ``generate``, which does more at each.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, GenerationConfig, Qwen3ForCausalLM, StaticCache

from vist2_memory.benchmark.turns import timed

STEPS = 32
"""Tokens that are decoded at a time."""
WAYS = ("dynamic", "dynamic generate", "static generate")
"""How it decodes: with which cache, and by plain steps or by ``generate``."""


class TextTwin:
    """A language model, and the same weights as another module that is transformers' own."""

    def __init__(self, language_model: Qwen3ForCausalLM) -> None:
        self.model = stock_copy(language_model)
        self.device = language_model.device

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int], cache: Cache | None = None) -> tuple[Cache, int]:
        """Read ``ids`` behind what ``cache`` has; the cache, and the next token."""
        held = cache if cache is not None else DynamicCache(config=self.model.config)
        output = self.model(
            input_ids=torch.tensor([ids], device=self.device),
            past_key_values=held,
            use_cache=True,
            logits_to_keep=1,
        )
        return held, int(output.logits[0, -1].argmax())

    def caches(self, held: Cache, room: int) -> dict[str, Cache]:
        """``held`` as a cache of each kind, with room for so many tokens more."""
        static = StaticCache(self.model.config, max_cache_len=length(held) + room)
        for number, layer in enumerate(layers(held)):
            static.update(layer.keys, layer.values, number)
        return {"dynamic": held, "static": static}

    @torch.inference_mode()
    def decode(self, way: str, cache: Cache, steps: int) -> float:
        """Seconds a token of ``steps`` tokens after what ``cache`` has, which is left as it was."""
        kept, whole = length(cache), way.endswith("generate")
        model: Any = self.model
        ids = torch.zeros(1, kept + 1, dtype=torch.long, device=self.device)
        config = GenerationConfig(max_new_tokens=steps, do_sample=False, pad_token_id=0)

        def run() -> None:
            if whole:
                mask = torch.ones_like(ids)
                model.generate(
                    ids, attention_mask=mask, past_key_values=cache, generation_config=config
                )
                return
            token = ids[:, -1:]
            for _ in range(steps):
                output = model(
                    input_ids=token, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                token = output.logits[:, -1].argmax(-1, keepdim=True)
                token.tolist()  # as an answer that is streamed

        try:
            return timed(run, self.device) / steps
        finally:
            set_length(cache, kept)

    def best(self, caches: dict[str, Cache], steps: int) -> tuple[str, dict[str, float]]:
        """The way that decodes fastest here, and the seconds a token of each.

        The first round warms up, and compiles where transformers does.
        """
        found: dict[str, float] = {}
        for way in WAYS:
            cache = caches.get(way.split()[0])
            if cache is None:
                continue
            self.decode(way, cache, 4)
            found[way] = median(self.decode(way, cache, steps) for _ in range(2))
        return min(found, key=lambda way: found[way]), found


def stock_copy(language_model: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    """transformers' own model of the same weights, which are shared; with sdpa, and no stop."""
    config = copy.deepcopy(language_model.config)
    with torch.device("meta"):
        model: Any = Qwen3ForCausalLM._from_config(
            config, dtype=language_model.dtype, attn_implementation="sdpa"
        )
    model.load_state_dict(language_model.state_dict(), assign=True)
    model.tie_weights()
    model.model.rotary_emb = copy.deepcopy(language_model.model.rotary_emb)
    model.generation_config = GenerationConfig()
    model.train(False)
    stock: Qwen3ForCausalLM = model
    return stock


def layers(cache: Cache) -> list[Any]:
    """The layers of a cache, with ``keys`` and ``values``."""
    return list(cache.layers)


def length(cache: Cache) -> int:
    """Tokens that ``cache`` has."""
    return int(cache.get_seq_length())


@torch.inference_mode()
def set_length(cache: Cache, tokens: int) -> None:
    """Forget what ``cache`` has after the first ``tokens`` tokens."""
    for layer in layers(cache):
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length.fill_(tokens)
        else:
            layer.keys = layer.keys[:, :, :tokens]
            layer.values = layer.values[:, :, :tokens]


def nbytes(cache: Cache) -> int:
    """Bytes of all keys and values that ``cache`` has; of the room too, in a static one."""
    held = (t for layer in layers(cache) for t in (layer.keys, layer.values))
    return sum(t.numel() * t.element_size() for t in held)


def synthetic(model: Qwen3ForCausalLM, tokens: int, batch: int = 1) -> DynamicCache:
    """A cache of random keys and values, as ``model`` makes them of ``tokens`` tokens."""
    cache, (keys, values) = DynamicCache(config=model.config), random_kv(model, tokens, batch)
    for number in range(model.config.num_hidden_layers):
        cache.update(keys.clone(), values.clone(), number)
    return cache


def random_kv(model: Qwen3ForCausalLM, tokens: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Keys and values of one layer, each of shape (batch, heads, tokens, head size)."""
    config: Any = model.config
    shape = (batch, config.num_key_value_heads, tokens, config.head_dim)
    keys = torch.randn(shape, device=model.device).to(model.dtype)
    return keys, torch.randn(shape, device=model.device).to(model.dtype)
