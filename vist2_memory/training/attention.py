"""Attention for training on a CPU: only what may be seen is computed, in the precision given.

In a sample of optical language modelling most of the square of queries and keys is masked: visual
tokens see those before them, a block of text sees the memory and itself. So queries are taken some
rows at a time, with those keys alone that any of the rows may see; and nothing is widened to
float32, which takes longer on a CPU than the products do. Registered with transformers by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

SEEN_ONLY = "vist2_seen_only"
"""The name by which transformers finds it; its mask is the additive one, (batch, 1, L, L)."""
ROWS = 128
"""Queries that are taken together."""


def tiles_of(allowed: Tensor) -> list[Tensor]:
    """For each ``ROWS`` queries, the keys that any of them may see, as sorted indices.

    ``allowed``: bool of shape (batch, 1, queries, keys).
    """
    seen = allowed.any(0)[0]
    return [rows.any(0).nonzero()[:, 0] for rows in seen.split(ROWS)]


class _Seen(torch.autograd.Function):
    """softmax(q k' + mask) v by tiles; see :func:`attend`."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, tiles: Sequence[Tensor]
    ) -> Tensor:
        batch, heads, length, width = query.shape
        groups = key.shape[1]
        out = torch.empty_like(query)
        shares = []
        for number, seen in enumerate(tiles):
            rows = slice(number * ROWS, min(length, (number + 1) * ROWS))
            asked = query[:, :, rows].reshape(batch, groups, -1, width)
            scores = asked @ key[:, :, seen].transpose(-1, -2)
            count = rows.stop - rows.start
            scores = scores.view(batch, heads, count, len(seen)).add_(mask[:, :, rows, seen])
            share = scores.softmax(-1)
            shares.append(share)
            told = share.view(batch, groups, -1, len(seen)) @ value[:, :, seen]
            out[:, :, rows] = told.view(batch, heads, count, width)
        ctx.save_for_backward(query, key, value, *shares)
        ctx.tiles = tiles
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        [grad] = grads
        query, key, value, *shares = ctx.saved_tensors
        batch, heads, length, width = query.shape
        groups = key.shape[1]
        of_query, of_key, of_value = map(torch.empty_like, (query, key, value))
        of_key.zero_()
        of_value.zero_()
        for number, (seen, share) in enumerate(zip(ctx.tiles, shares, strict=True)):
            rows = slice(number * ROWS, min(length, (number + 1) * ROWS))
            own = grad[:, :, rows].reshape(batch, groups, -1, width)
            share = share.view(batch, groups, -1, len(seen))
            of_value.index_add_(2, seen, share.transpose(-1, -2) @ own)
            of_share = own @ value[:, :, seen].transpose(-1, -2)
            of_scores = torch._softmax_backward_data(of_share, share, -1, share.dtype)
            asked = query[:, :, rows].reshape(batch, groups, -1, width)
            told = of_scores @ key[:, :, seen]
            of_query[:, :, rows] = told.view(batch, heads, rows.stop - rows.start, width)
            of_key.index_add_(2, seen, of_scores.transpose(-1, -2) @ asked)
        return of_query, of_key, of_value, None, None


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    tiles: Sequence[Tensor] | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: query (batch, heads, L, width), key and value with fewer heads.

    ``tiles``: as from :func:`tiles_of`, of what ``attention_mask`` leaves; without them the model
    is not in training here, and torch's own attention does it. Returns (batch, L, heads, width).
    """
    if tiles is None or attention_mask is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **settings
        )
    dtype = attention_mask.dtype
    with torch.autocast(query.device.type, enabled=False):
        told: Tensor = _Seen.apply(
            query.to(dtype) * scaling, key.to(dtype), value.to(dtype), attention_mask, tiles
        )  # type: ignore[no-untyped-call]
    return told.transpose(1, 2).contiguous(), None


AttentionInterface.register(SEEN_ONLY, attend)
AttentionMaskInterface.register(SEEN_ONLY, sdpa_mask)
