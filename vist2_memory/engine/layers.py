"""A pass of tokens through the layers of a Qwen3, on the weights and modules of transformers' own.

transformers' ``forward`` does the same between caches, masks, hooks and settings that are looked up
in each layer. Here there is nothing but the arithmetic, which takes less time where the model is
small, and can be compiled as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import rms_norm
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.attention import attend


class Held(Protocol):
    """Keys and values of one layer."""

    def update(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        """Append both, of shape (batch, heads, tokens, head size); all that is attended to."""


def run_layers(
    model: Qwen3ForCausalLM,
    embeds: Tensor,
    positions: Tensor,
    mask: Tensor | None,
    held: Iterable[Held],
) -> Tensor:
    """What the layers of ``model`` make of ``embeds`` (batch, tokens, hidden size), normalised.

    ``positions``: shape (batch, tokens). ``mask``: see :func:`attend`. ``held``: of each layer,
    which gets the keys and values of the new tokens. Returns the shape of ``embeds``.
    """
    stack: Any = model.model
    cos, sin = stack.rotary_emb(embeds, positions)
    angles = cos[:, None], sin[:, None]  # [batch, 1, tokens, head size]
    hidden = embeds
    for layer, kept in zip(stack.layers, held, strict=True):
        hidden = hidden + _attention(layer, hidden, angles, mask, kept)
        hidden = hidden + layer.mlp(_normed(hidden, layer.post_attention_layernorm))
    return _normed(hidden, stack.norm)


def _attention(
    layer: Any, hidden: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None, held: Held
) -> Tensor:
    own = layer.self_attn
    normed = _normed(hidden, layer.input_layernorm)
    shape = (*hidden.shape[:2], -1, own.head_dim)
    queries = _normed(own.q_proj(normed).view(shape), own.q_norm).transpose(1, 2)
    new = _normed(own.k_proj(normed).view(shape), own.k_norm).transpose(1, 2)
    values = own.v_proj(normed).view(shape).transpose(1, 2)  # [batch, heads, tokens, head size]
    queries, new = _turned(queries, angles), _turned(new, angles)
    keys, values = held.update(new, values)
    out = attend(queries, keys, values, mask, own.scaling)
    found: Tensor = own.o_proj(out.transpose(1, 2).reshape(*hidden.shape[:2], -1))
    return found


def _normed(hidden: Tensor, norm: Any) -> Tensor:
    return rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)


def _turned(states: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """``states`` (batch, heads, tokens, head size) with their positions (rotary embedding)."""
    cos, sin = angles
    first, second = states.chunk(2, -1)
    return states * cos + torch.cat((-second, first), -1) * sin
