"""Attention of tokens behind a KV cache, without copying keys and values for their queries.

Where several query heads share the keys and values of one (grouped-query attention, arXiv
2305.13245), their queries are put one below the other instead, so that a fold or a question behind
a long memory reads the cache as it lies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

CACHED = "vist2_cached"
"""Under this name transformers knows it."""


def read_cached(model: PreTrainedModel) -> None:
    """Let ``model``, a Qwen3, attend by :func:`cached_attention`; any other use of it stays."""
    model.set_attn_implementation(CACHED)


def causal_mask(config: Any, start: int, embeds: Tensor) -> Tensor:
    """What ``embeds`` (tokens, hidden size) behind ``start`` others may see: all, and each other
    causally.

    Returns shape (1, 1, tokens, start + tokens), 0 or minus infinity; for :func:`cached_attention`
    as many times below each other as query heads share keys.
    """
    count = embeds.shape[0]
    hidden = torch.full((count, count), -torch.inf, dtype=embeds.dtype, device=embeds.device)
    mask = embeds.new_zeros(count, start + count)
    mask[:, start:] = hidden.triu_(1)
    return spread(mask, config)


def spread(mask: Tensor, config: Any) -> Tensor:
    """``mask`` (tokens, keys) in the shape that attention by ``config`` takes."""
    packed = config._attn_implementation == CACHED
    groups = config.num_attention_heads // config.num_key_value_heads if packed else 1
    return mask.repeat(groups, 1)[None, None]


def cached_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' sdpa attention, but for the masks of :func:`causal_mask`.

    ``query``: shape (batch, heads, tokens, head size); ``key`` and ``value``: with a head for each
    group. Returns shape (batch, tokens, heads, head size).
    """
    batch, heads, tokens, size = query.shape
    if attention_mask is None or attention_mask.shape[2] == tokens:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    packed = query.reshape(batch, key.shape[1], -1, size)  # [batch, groups, queries of a group, .]
    out = scaled_dot_product_attention(
        packed, key, value, attn_mask=attention_mask, scale=kwargs["scaling"]
    )
    return out.reshape(batch, heads, tokens, size).transpose(1, 2).contiguous(), None


AttentionInterface.register(CACHED, cached_attention)
AttentionMaskInterface.register(CACHED, sdpa_mask)
