"""Attention of tokens behind a KV cache, without copying keys and values for their queries.

Where several query heads share the keys and values of one (grouped-query attention, arXiv
2305.13245), their queries are put one below the other instead, so that a fold or a question behind
a long memory reads the cache as it lies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def causal_mask(config: Any, start: int, embeds: Tensor) -> Tensor:
    """What ``embeds`` (tokens, hidden size) behind ``start`` others may see: all, and each other
    causally.

    Returns shape (1, 1, groups * tokens, start + tokens), 0 or minus infinity; for :func:`attend`.
    """
    count = embeds.shape[0]
    hidden = torch.full((count, count), -torch.inf, dtype=embeds.dtype, device=embeds.device)
    mask = embeds.new_zeros(count, start + count)
    mask[:, start:] = hidden.triu_(1)
    return spread(mask, config)


def spread(mask: Tensor, config: Any) -> Tensor:
    """``mask`` (tokens, keys) in the shape that :func:`attend` takes, by the heads of ``config``:
    as many times below each other as query heads share keys."""
    groups = config.num_attention_heads // config.num_key_value_heads
    return mask.repeat(groups, 1)[None, None]


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float) -> Any:
    """What ``queries`` find, shape (batch, heads, tokens, head size), which is theirs too.

    ``keys`` and ``values``: with a head for each group. ``mask``: 0 or minus infinity, of shape
    (batch, 1, groups * tokens, keys), or for one token (batch, 1, 1, keys); None: one token sees
    all, several see each other causally and there is nothing before them.
    """
    tokens = queries.shape[2]
    if mask is None and tokens > 1:
        return scaled_dot_product_attention(
            queries, keys, values, is_causal=True, scale=scale, enable_gqa=True
        )
    packed = queries.reshape(keys.shape[0], keys.shape[1], -1, keys.shape[3])
    out = scaled_dot_product_attention(packed, keys, values, attn_mask=mask, scale=scale)
    return out.reshape(queries.shape)
