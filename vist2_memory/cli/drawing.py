"""``vist2 render``: a text as the model sees it, as a picture that a person can read.

Needs a model's tokenizer and geometry, not its weights: torch is never loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from vist2_memory.cli.common import Model, Ratio
from vist2_memory.cli.files import read_text
from vist2_memory.engine.catalog import DEFAULT_MODEL, VIST2, find_model, read_config, refuse_ratio
from vist2_memory.memory.validation import check_text


def render(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A UTF-8 text.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")],
    model: Model = None,
    ratio: Ratio = None,
    scale: Annotated[int, typer.Option(min=1, max=16, help="Pixels per pixel of a sketch.")] = 3,
) -> None:
    """Draw a text as a model sees it, chunk below chunk, into one PNG."""
    from vist2_memory.engine.pictures import draw_text, print_text  # loads Pillow

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
