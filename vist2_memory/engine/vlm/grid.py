"""Families whose towers take an image of any size as a grid of patches: Qwen-VL and GLM-V.

A page is as wide as its geometry says, so the number of its visual tokens tells the whole grid, and
with it the multimodal positions (rotary, one for time, height and width).
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


class GridFamily(Family):
    """Qwen2-VL and Qwen2.5-VL, and what the others of this kind share."""

    image = "<|image_pad|>"
    towers = ("visual",)

    def __init__(self, model: Any, image_processor: Any, geometry: PageGeometry) -> None:
        super().__init__(model, image_processor, geometry)
        vision: Any = model.config.vision_config
        self._patch: int = vision.patch_size
        self._merge: int = vision.spatial_merge_size
        self._side: int = self._patch * self._merge  # pixels along a visual token
        frames = getattr(image_processor, "temporal_patch_size", 2) if self.counts_frames else 1
        size: Any = image_processor.size
        self._least = -(-int(size["shortest_edge"]) // frames)
        most = int(size["longest_edge"]) // frames
        width, height = geometry.width, geometry.height
        if width % self._side or height % self._side or width * height > most:
            raise ModelError(
                f"pages of {width} x {height} pixels would be rescaled: this model takes multiples "
                f"of {self._side} and at most {most} pixels"
            )
        self._columns: int = width // self._side

    counts_frames = False
    """Whether the image processor's limits count the pixels of all frames that a still image is
    doubled to."""

    def height(self, drawn: int) -> int:
        rows = max(-(-drawn // self._side), -(-self._least // (self._side * self.geometry.width)))
        return rows * self._side

    def visual_tokens(self, height: int) -> int:
        return height // self._side * self._columns

    def grid(self, page: VisualTokens) -> tuple[int, int, int]:
        """Patches of ``page`` along time, height and width."""
        rows, rest = divmod(len(page), self._columns)
        if rest:
            raise ModelError(f"{len(page)} visual tokens are no page of {self._columns} columns")
        return 1, rows * self._merge, self._columns * self._merge

    def encode(self, pages: Sequence[Page]) -> list[Tensor]:
        images, patch = self.images(pages), self._patch
        inputs = self.processor(
            images=images, return_tensors="pt", input_data_format="channels_last"
        )
        grids: Tensor = inputs["image_grid_thw"]
        drawn = [[1, image.shape[0] // patch, image.shape[1] // patch] for image in images]
        if grids.tolist() != drawn:
            raise ModelError(
                f"the image processor made grids {grids.tolist()} of pages of {drawn} patches: it "
                "must not rescale them"
            )
        device = self.model.device
        output: Any = self.model.model.get_image_features(
            inputs["pixel_values"].to(device), grids.to(device), return_dict=True
        )
        return self.pack(output)

    def pack(self, output: Any) -> list[Tensor]:
        """What is stored of the tower's output, page by page."""
        return list(output.pooler_output)

    def unpack(self, stored: Sequence[Tensor]) -> Any:
        """The tower's output again: the inverse of :meth:`pack`."""
        per_page: Any = tuple(stored)
        return BaseModelOutputWithPooling(pooler_output=per_page)

    def place(
        self, ids: Tensor, kinds: Tensor, pages: Sequence[VisualTokens], start: int
    ) -> dict[str, Any]:
        if not pages:
            line = torch.arange(start, start + ids.shape[1], device=ids.device)
            return {"position_ids": line.expand(3, 1, -1)}
        grids = torch.tensor([self.grid(page) for page in pages], device=ids.device)
        own = kinds[:, -ids.shape[1] :]
        positions, _ = self.model.model.get_rope_index(
            ids, mm_token_type_ids=own, image_grid_thw=grids
        )
        stored = [self.features(page) for page in pages]
        return {
            "position_ids": positions + start,
            "mm_encoder_outputs": {"image": self.unpack(stored)},
        }


class GLM4V(GridFamily):
    """GLM-4.1V, of which Glyph is one."""

    image = "<|image|>"
    counts_frames = True
