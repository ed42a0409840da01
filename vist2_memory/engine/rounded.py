"""Keys and values rounded to 8 bits, for half the memory.

Each token of each head has a scale of its own, so that appending, folding and copying a beginning
work as they do without rounding. transformers' own quantised cache rounds what is old in groups of
tokens, anew each time, and cannot be shortened.
"""

from __future__ import annotations

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

    parts = ("keys", "values", "key_scales", "value_scales")
    key_scales: Tensor
    value_scales: Tensor
    """Shape (batch, heads, room, 1), bfloat16."""

    def __init__(self, held_as: torch.dtype) -> None:
        self._held_as = held_as

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """See :meth:`KVLayer.lazy_initialization`."""
        self._computed_in = key_states.dtype
        self.keys, self.key_scales = self._rounded(key_states[:, :, :0])
        self.values, self.value_scales = self._rounded(value_states[:, :, :0])
        self.is_initialized = True

    def write(self, start: int, key_states: Tensor, value_states: Tensor) -> None:
        """See :meth:`KVLayer.write`."""
        end = start + key_states.shape[2]
        new = zip(self._rounded(key_states), self._rounded(value_states), strict=True)
        for held, part in zip(self.buffers, (t for pair in new for t in pair), strict=True):
            held[:, :, start:end] = part

    def read(self, end: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first ``end`` places, of which nothing else remains."""
        keys, values, key_scales, value_scales = (t[:, :, :end] for t in self.buffers)
        return self._widened(keys, key_scales), self._widened(values, value_scales)

    def _rounded(self, states: Tensor) -> tuple[Tensor, Tensor]:
        largest = _LARGEST[self._held_as]
        scales = (states.abs().amax(-1, keepdim=True).float() / largest).to(torch.bfloat16)
        scales = scales.clamp_min(torch.finfo(torch.bfloat16).tiny)
        scaled = (states.float() / scales.float()).clamp(-largest, largest)
        if not self._held_as.is_floating_point:
            scaled = scaled.round()
        return scaled.to(self._held_as), scales

    def _widened(self, held: Tensor, scales: Tensor) -> Tensor:
        return held.to(self._computed_in) * scales.to(self._computed_in)


def rounded_to(kv_dtype: str) -> partial[RoundedLayer]:
    """What makes layers of ``kv_dtype``, one of :data:`DTYPES`."""
    return partial(RoundedLayer, DTYPES[kv_dtype])
