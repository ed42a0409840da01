"""Weight-only quantisation of a language model: fewer bytes to hold, and to read at each token.

Products are by torch itself; what is computed in stays. The tower, the aligner and the embeddings
are left exact, so that visual tokens and their fingerprint are those of the exact model. Source:
absolute-maximum rounding of rows (LLM.int8, arXiv 2208.07339) and of groups in rows (GPTQ and AWQ,
arXiv 2210.17323 and 2306.00978, store weights so), without their calibration.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.options import WeightType
from vist2_memory.errors import InvalidInputError

GROUP = 32
"""Weights of a row that share a scale in int4."""
FEW = 4
"""Up to so many tokens torch's product with int8 weights is faster than making them exact first."""


def quantise(model: Qwen3ForCausalLM, kind: WeightType) -> None:
    """Round the weights of all products of ``model`` in place.

    ``int8``: a scale for each row. ``int4``: a scale for each 32 weights of a row, and the output
    layer in int8. Raises ``InvalidInputError`` for ``fp8``.
    """
    if kind == "fp8":
        raise InvalidInputError(
            "weights='fp8' needs a GPU with products in fp8, which only engine='vllm' uses: give "
            "'int8' or 'int4', or leave it out"
        )
    stack: Any = model.model.layers
    for layer in stack:
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(part, name, Rounded(child, 8 if kind == "int8" else 4))
    model.lm_head = Rounded(model.lm_head, 8)


class Rounded(nn.Module):
    """A linear layer whose weights are integers of 8 or 4 bits with scales."""

    def __init__(self, exact: nn.Linear, bits: int) -> None:
        """The layer ``exact`` with its weights rounded; it is left as it is."""
        super().__init__()
        weight = exact.weight.detach()
        self.out_features, self.in_features = weight.shape
        self._four = bits == 4 and not self.in_features % GROUP
        group = GROUP if self._four else self.in_features
        most = 7 if self._four else 127
        grouped = weight.float().reshape(self.out_features, -1, group)
        scales = grouped.abs().amax(-1).clamp(min=1e-12).div(most).to(weight.dtype)
        whole = grouped.div(scales.float()[..., None]).round().clamp(-most, most)
        values = whole.to(torch.int8).reshape(self.out_features, -1)
        if self._four:  # two in a byte, each made positive
            pairs = (values + 8).to(torch.uint8).reshape(self.out_features, -1, 2)
            values = pairs[..., 0] | (pairs[..., 1] << 4)
        self.values: Tensor
        self.scales: Tensor
        self.register_buffer("values", values)
        self.register_buffer("scales", scales)  # [out, groups]
        self.bias = exact.bias
        self._direct = (
            not self._four and weight.device.type == "cpu" and weight.dtype is torch.bfloat16
        )

    @property
    def weight(self) -> Tensor:
        """The weights as they are after rounding, shape (out, in), in what is computed in."""
        values, scales = self.values, self.scales
        if self._four:
            values = torch.stack([values & 15, values >> 4], -1).to(torch.int8) - 8
        grouped = values.reshape(self.out_features, scales.shape[1], -1).to(scales.dtype)
        return grouped.mul_(scales[..., None]).reshape(self.out_features, self.in_features)

    def forward(self, hidden: Tensor) -> Tensor:
        """As ``nn.Linear``, shape (..., in) to (..., out)."""
        flat = hidden.reshape(-1, self.in_features)
        if self._direct and len(flat) <= FEW:
            out = torch._weight_int8pack_mm(flat, self.values, self.scales[:, 0])
            out = out if self.bias is None else out + self.bias
        else:
            out = linear(flat, self.weight, self.bias)
        return out.reshape(*hidden.shape[:-1], self.out_features)
