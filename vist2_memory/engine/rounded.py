"""Keys and values rounded to 8 bits, for half the memory.

Each token of each head has a scale of its own, so that appending, folding and copying a beginning
work as they do without rounding. transformers' own quantised cache rounds what is old in groups of
tokens, anew each time, and cannot be shortened.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from vist2_memory.engine.kv import KVLayer

_LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
SCALE_BYTES = 2
"""Of a token of a head, for keys and for values, beside a byte for each of their numbers."""
DTYPES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}


class RoundedLayer(KVLayer):
    """A layer whose keys and values are held in 8 bits, and given out in what is computed in."""

    parts = ("keys", "key_scales", "values", "value_scales")
    key_scales: Tensor
    value_scales: Tensor
    """Shape (batch, heads, room, 1), bfloat16."""

    def __init__(self, held_as: torch.dtype) -> None:
        self._held_as = held_as

    def coded(self, key_states: Tensor, value_states: Tensor) -> Sequence[Tensor]:
        """See :meth:`KVLayer.coded`."""
        return *self._rounded(key_states), *self._rounded(value_states)

    def decoded(self, held: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """See :meth:`KVLayer.decoded`: new tensors, of which nothing else remains."""
        keys, key_scales, values, value_scales = held
        return _widened(keys, key_scales, dtype), _widened(values, value_scales, dtype)

    def _rounded(self, states: Tensor) -> tuple[Tensor, Tensor]:
        largest = _LARGEST[self._held_as]
        scales = (states.abs().amax(-1, keepdim=True).float() / largest).to(torch.bfloat16)
        scales = scales.clamp_min(torch.finfo(torch.bfloat16).tiny)
        scaled = (states.float() / scales.float()).clamp(-largest, largest)
        if not self._held_as.is_floating_point:
            scaled = scaled.round()
        return scaled.to(self._held_as), scales


def _widened(held: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    return held.to(dtype) * scales.to(dtype)


def rounded_to(kv_dtype: str) -> partial[RoundedLayer]:
    """What makes layers of ``kv_dtype``, one of :data:`DTYPES`."""
    return partial(RoundedLayer, DTYPES[kv_dtype])
