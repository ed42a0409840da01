"""A text as a model sees it, as a picture that a person can read.

Needs a model's tokenizer and geometry, not its weights: torch is never loaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vist2_memory.engine.catalog import find_measures
from vist2_memory.engine.vlm.pages import open_press
from vist2_memory.model.ratios import choose
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.page import Page
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.sketch.sketch import Sketch
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.transcript import write_message
from vist2_memory.types import Chunk

GAP, GREY = 8, 160
"""Pixels between two pages, and their shade."""


def print_text(text: str, folder: Path) -> tuple[int, Page]:
    """How many pages of ``text`` the vision-language model in ``folder`` is shown, and all of them
    below each other."""
    press = open_press(folder)
    pages = press.renderer.draw(press.chunker.cut_all(write_message("document", text)))
    gap = ((0, GAP), (0, 0))
    sheets = [np.pad(page.pixels, gap, constant_values=GREY) for page in pages]
    return len(pages), Page("", np.concatenate(sheets)[:-GAP])


def draw_text(text: str, folder: Path, ratio: float | None = None) -> tuple[list[Sketch], Sketch]:
    """The sketches of ``text`` as the model in ``folder`` is shown it, and all in one picture.

    The text is cut as a document of a collection is. Raises ``ModelError`` for a bad config and
    ``InvalidInputError`` for a ``ratio`` that the model does not offer.
    """
    geometries, chunk_tokens = find_measures(folder)
    tokenizer = Vist2Tokenizer.load(folder)
    renderer = SketchRenderer(choose(geometries, tokenizer, chunk_tokens, ratio))
    chunker = Chunker(tokenizer, chunk_tokens, renderer.fits)
    sketches = renderer.draw(chunker.cut_all(write_message("document", text)))
    gap = renderer.geometry.cell_height // 2
    rows = [np.pad(sketch.pixels, ((gap, 0), (gap, gap))) for sketch in sketches]
    pixels = np.pad(np.concatenate(rows), ((0, gap), (0, 0)))
    return sketches, Sketch("", pixels, sum(sketch.visual_tokens for sketch in sketches))


def sketch_of(renderer: SketchRenderer, chunk: Chunk, cost: int) -> bytes | None:
    """The sketch of ``chunk`` as a PNG, three pixels a pixel; None if the model does not see one.

    That is where ``cost``, what the chunk takes, is less than its sketch would.
    """
    if cost < renderer.visual_tokens(chunk.text):
        return None
    [sketch] = renderer.draw([chunk])
    return sketch.to_png(scale=3)
