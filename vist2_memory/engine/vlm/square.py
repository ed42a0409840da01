"""Families whose towers take images of one square size: Gemma 3 and InternVL.

A page costs the same number of visual tokens however little stands on it; positions are plain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vist2_memory.engine.vlm.family import Family
from vist2_memory.errors import ModelError
from vist2_memory.sketch.page import Page, PageGeometry
from vist2_memory.types import VisualTokens


class SquareFamily(Family):
    """What Gemma 3 and InternVL share."""

    towers = ("vision_tower", "multi_modal_projector")

    def __init__(self, model: Any, image_processor: Any, geometry: PageGeometry) -> None:
        super().__init__(model, image_processor, geometry)
        size: Any = image_processor.size
        side = (size["height"], size["width"])
        if (geometry.height, geometry.width) != side:
            raise ModelError(
                f"pages of {geometry.width} x {geometry.height} pixels would be rescaled: this "
                f"model takes {side[1]} x {side[0]}"
            )

    def height(self, drawn: int) -> int:
        return self.geometry.height

    def encode(self, pages: Sequence[Page]) -> list[Tensor]:
        inputs = self.processor(
            images=self.images(pages), return_tensors="pt", input_data_format="channels_last"
        )
        pixels: Tensor = inputs["pixel_values"]
        wanted = (len(pages), 3, self.geometry.height, self.geometry.width)
        if tuple(pixels.shape) != wanted:
            raise ModelError(
                f"the image processor made {tuple(pixels.shape)} of pages of {wanted}: it must not "
                "cut or rescale them"
            )
        model = self.model
        pixels = pixels.to(device=model.device, dtype=model.dtype)
        output: Any = model.model.get_image_features(pixel_values=pixels, return_dict=True)
        return list(output.pooler_output)

    def place(
        self, ids: Tensor, kinds: Tensor, pages: Sequence[VisualTokens], start: int
    ) -> dict[str, Any]:
        line = torch.arange(start, start + ids.shape[1], device=ids.device)
        if not pages:
            return {"position_ids": line[None]}
        stored = torch.stack([self.features(page) for page in pages])  # [pages, tokens, hidden]
        image = BaseModelOutputWithPooling(pooler_output=stored)
        return {"position_ids": line[None], "mm_encoder_outputs": {"image": image}}


class Gemma3(SquareFamily):
    """Gemma 3: the tokens of one image attend to each other both ways."""

    image = "<start_of_image>"
    around = ("\n\n<start_of_image>", "<end_of_image>\n\n")

    def visual_tokens(self, height: int) -> int:
        return int(self.model.config.mm_tokens_per_image)

    def place(
        self, ids: Tensor, kinds: Tensor, pages: Sequence[VisualTokens], start: int
    ) -> dict[str, Any]:
        placed = super().place(ids, kinds, pages, start)
        return placed | {"token_type_ids": kinds} if pages else placed


class InternVL(SquareFamily):
    """InternVL: a page is one tile."""

    image = "<IMG_CONTEXT>"
    around = ("<img>", "</img>")

    def visual_tokens(self, height: int) -> int:
        config: Any = self.model.config
        side = self.geometry.width // config.vision_config.patch_size[0]
        return int((side * config.downsample_ratio) ** 2)
