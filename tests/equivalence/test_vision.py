"""Ours against Siglip2VisionModel: the vision path is the stock tower, then the aligner."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Siglip2VisionModel

from tests.support.checkpoints import small_config, small_model
from tests.support.tokenizers import PROSE, small_tokenizer
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.types import Chunk

NEAR = {"rtol": 1e-4, "atol": 1e-5}
SQUARE = {"columns": 8, "max_lines": 4, "cells_per_patch": 2, "patches_per_strip": 2}
"""Four by four patches, as many as the position table has."""
WIDE = {"columns": 48, "max_lines": 6, "cells_per_patch": 2, "patches_per_strip": 3}
"""24 by 6 patches: positions are interpolated."""
PAPER = {"columns": 16, "max_lines": 8, "cells_per_patch": 2, "patches_per_strip": 1}
"""A visual token a patch, as in the paper."""


@pytest.mark.parametrize("geometry", [SQUARE, WIDE, PAPER], ids=["square", "wide", "paper"])
def test_visual_tokens_are_the_stock_tower_on_the_full_canvas_then_the_aligner(
    geometry: dict[str, Any],
) -> None:
    model = small_model(small_config(geometry=geometry))
    processor = Vist2Processor(model.config, small_tokenizer())
    measures = processor.geometry
    lengths = (1, measures.columns - 1, measures.columns + 3, measures.max_cells)
    chunks = [Chunk(str(n), (PROSE * 2)[:n], 1) for n in lengths]
    patches, mask = processor.patches(processor.renderer.draw(chunks))

    canvas = measures.max_lines * measures.patches_per_line
    assert patches.shape[1] == canvas
    stock = Siglip2VisionModel(model.config.vision_config).eval()
    stock.load_state_dict(model.vision_tower.state_dict())
    shapes = torch.tensor([[measures.max_lines, measures.patches_per_line]] * len(chunks))
    with torch.no_grad():
        hidden = stock(
            pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=shapes
        ).last_hidden_state
        weight, bias = model.aligner.projection.weight, model.aligner.projection.bias
        strips = hidden.reshape(len(chunks), -1, weight.shape[1])
        expected = torch.tanh(strips @ weight.T + bias)
        # A batch of short sketches only carries no patches that none of them uses.
        short, _ = processor.patches(processor.renderer.draw(chunks[:2]))
        alone = model.encode(short, mask[:2, : short.shape[1]])
        together = model.encode(patches, mask)
    assert short.shape[1] < canvas
    for row, chunk in enumerate(chunks):
        used = processor.renderer.visual_tokens(chunk.text)
        torch.testing.assert_close(together[row, :used], expected[row, :used], **NEAR)
        if row < 2:
            torch.testing.assert_close(alone[row, :used], expected[row, :used], **NEAR)
    assert expected.std() > 0.1, "the tokens hardly differ; the comparison proves nothing"


def test_a_line_has_the_same_positions_whatever_stands_below_it() -> None:
    """Positions are cut from one canvas, never interpolated anew for each height."""
    model = small_model(small_config(geometry=WIDE))
    table = model.canvas()
    assert table.shape == (6 * 24, 32)
    assert (table.reshape(6, 24, 32)[0] - table.reshape(6, 24, 32)[5]).abs().max() > 0.1
