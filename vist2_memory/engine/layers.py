"""A pass of tokens through the layers of a Qwen3, on the weights and modules of transformers' own.

transformers' ``forward`` does the same between caches, masks, hooks and settings that are looked up
in each layer. Here there is nothing but the arithmetic, which takes less time where the model is
small, and can be compiled as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import rms_norm
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.attention import attend
from vist2_memory.model.finder import Finder


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
        hidden = _through(layer, hidden, angles, mask, kept)
    return _normed(hidden, stack.norm)


def attention_of(
    model: Qwen3ForCausalLM, finder: Finder, embed: Tensor, place: int, held: Sequence[Held]
) -> Tensor:
    """How much one token attends to each that it sees, by the mean of the heads ``finder``.

    ``embed``: shape (hidden size,); ``place``: its position. ``held``: of all layers up to that of
    the heads at least. Returns shape (keys,), float32, 1 in sum.
    """
    stack: Any = model.model
    hidden = embed[None, None]
    cos, sin = stack.rotary_emb(hidden, torch.tensor([[place]], device=embed.device))
    angles = cos[:, None], sin[:, None]
    for layer, kept in zip(stack.layers[: finder.layer], held[: finder.layer], strict=True):
        hidden = _through(layer, hidden, angles, None, kept)
    queries, keys, _ = _projected(stack.layers[finder.layer], hidden, angles, held[finder.layer])
    group = queries.shape[1] // keys.shape[1]
    asked = queries[0, finder.heads, 0].float()  # [heads, head size]
    shared = keys[0, finder.first // group].float()  # [keys, head size]
    scores = asked @ shared.T * stack.layers[finder.layer].self_attn.scaling
    found: Tensor = scores.softmax(-1).mean(0)
    return found


def _through(
    layer: Any, hidden: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None, held: Held
) -> Tensor:
    own = layer.self_attn
    queries, keys, values = _projected(layer, hidden, angles, held)
    out = attend(queries, keys, values, mask, own.scaling)
    hidden = hidden + own.o_proj(out.transpose(1, 2).reshape(*hidden.shape[:2], -1))
    after: Tensor = hidden + layer.mlp(_normed(hidden, layer.post_attention_layernorm))
    return after


def _projected(
    layer: Any, hidden: Tensor, angles: tuple[Tensor, Tensor], held: Held
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of ``hidden``, and all keys and values, each (batch, heads, tokens, head size)."""
    own = layer.self_attn
    normed = _normed(hidden, layer.input_layernorm)
    shape = (*hidden.shape[:2], -1, own.head_dim)
    queries = _normed(own.q_proj(normed).view(shape), own.q_norm).transpose(1, 2)
    new = _normed(own.k_proj(normed).view(shape), own.k_norm).transpose(1, 2)
    values = own.v_proj(normed).view(shape).transpose(1, 2)
    keys, values = held.update(_turned(new, angles), values)
    return _turned(queries, angles), keys, values


def _normed(hidden: Tensor, norm: Any) -> Tensor:
    return rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)


def _turned(states: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """``states`` (batch, heads, tokens, head size) with their positions (rotary embedding)."""
    cos, sin = angles
    first, second = states.chunk(2, -1)
    return states * cos + torch.cat((-second, first), -1) * sin
