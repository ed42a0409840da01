"""``vist2 render``: a text as the model sees it, as a picture that a person can read.

Needs a model's tokenizer and geometry, not its weights: torch is never loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from vist2_memory.cli.common import Model, Ratio
from vist2_memory.cli.files import read_text
from vist2_memory.engine.catalog import (
    DEFAULT_MODEL,
    VIST2,
    find_measures,
    find_model,
    read_config,
    refuse_ratio,
)
from vist2_memory.engine.vlm.pages import open_press
from vist2_memory.memory.validation import check_text
from vist2_memory.model.ratios import choose
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.page import Page
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.sketch.sketch import Sketch
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.transcript import write_message

GAP, GREY = 8, 160
"""Pixels between two pages, and their shade."""


def render(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A UTF-8 text.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")],
    model: Model = None,
    ratio: Ratio = None,
    scale: Annotated[int, typer.Option(min=1, max=16, help="Pixels per pixel of a sketch.")] = 3,
) -> None:
    """Draw a text as a model sees it, chunk below chunk, into one PNG."""
    text = check_text(read_text(file), f"text {file}")
    folder = find_model(model or os.environ.get("VIST2_MODEL") or DEFAULT_MODEL)
    if read_config(folder).get("model_type") != VIST2:
        refuse_ratio(folder, ratio)
        pages, sheet = print_text(text, folder)
        output.write_bytes(sheet.to_png())
        typer.echo(f"{output}: {pages} pages")
        return
    sketches, picture = draw_text(text, folder, ratio)
    output.write_bytes(picture.to_png(scale))
    tokens = sum(sketch.visual_tokens for sketch in sketches)
    typer.echo(f"{output}: {len(sketches)} chunks, {tokens} visual tokens")


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
