"""Qwen3-VL: a grid of patches, and features for the first layers of the language model.

Source of the idea: DeepStack (arXiv 2406.04334).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from vist2_memory.engine.vlm.grid import GridFamily
from vist2_memory.sketch.page import PageGeometry


class Qwen3VL(GridFamily):
    """A page is stored as (visual tokens, hidden size * layers), features for the first of them."""

    def __init__(self, model: Any, image_processor: Any, geometry: PageGeometry) -> None:
        super().__init__(model, image_processor, geometry)
        self.layers = 1 + len(model.config.vision_config.deepstack_visual_indexes)

    def pack(self, output: Any) -> list[Tensor]:
        layers = [output.pooler_output, *output.deepstack_features]
        return [torch.cat(of_page, dim=-1) for of_page in zip(*layers, strict=True)]

    def unpack(self, stored: Sequence[Tensor]) -> Any:
        layers: Any = zip(*(page.split(self.hidden, dim=-1) for page in stored), strict=True)
        first, *deeper = layers
        return BaseModelOutputWithDeepstackFeatures(pooler_output=first, deepstack_features=deeper)
