"""``vist2 init``: a model composed of pretrained towers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vist2_memory.cli.common import AsJson, emit, note, show
from vist2_memory.errors import InvalidInputError
from vist2_memory.sketch.geometry import SketchGeometry


def init(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to make; new or empty.")],
    text: Annotated[
        str | None, typer.Option(metavar="PATH", help="A Qwen3 checkpoint: a folder or a hub id.")
    ] = None,
    vision: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A SigLIP2 or SigLIP checkpoint: a folder or a hub id."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="0.6B, 1.7B, 4B or 8B: Qwen3 of this size and SigLIP2 L/16 from the hub, where "
            "--text or --vision names no other.",
        ),
    ] = None,
    geometry: Annotated[
        str,
        typer.Option(
            metavar="NAME=N,...",
            help="Measures of a sketch: columns, max_lines, cells_per_patch, patches_per_strip; "
            "columns=80,max_lines=8,cells_per_patch=2,patches_per_strip=10 where not named.",
        ),
    ] = "",
    chunk_tokens: Annotated[int, typer.Option(min=1, help="Text tokens of a chunk.")] = 64,
    max_visual_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Visual tokens read at once; else a quarter of the positions."),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16; else the language model's."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the aligner's weights.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compose a model of a Qwen3 and a SigLIP2 checkpoint. Its aligner is new: train it next."""
    measures = parse_geometry(geometry)
    from vist2_memory.model.compose import Drawing, compose, count_parameters
    from vist2_memory.model.presets import sources

    usual = sources(preset) if preset else (None, None)
    language, tower = text or usual[0], vision or usual[1]
    if not language or not tower:
        missing = "--vision" if language else "--text"
        raise InvalidInputError(f"{missing} is missing: name a checkpoint, or take a --preset")
    drawing = Drawing(measures, chunk_tokens, max_visual_tokens)
    config = compose(language, tower, out, drawing, dtype=dtype, seed=seed)
    parameters = count_parameters(config)
    if as_json:
        emit({"model": str(out), "parameters": parameters, "geometry": config.geometry})
        return
    counts = ", ".join(f"{part.replace('_', ' ')} {n:,}" for part, n in parameters.items())
    show(f"{out}: {sum(parameters.values()):,} parameters ({counts})")
    note("the aligner is not trained: until it is, the model cannot read its visual tokens")


def parse_geometry(written: str) -> SketchGeometry:
    """``columns=80,max_lines=8`` as a geometry; what is not named is as in composed models.

    Raises ``InvalidInputError``.
    """
    from vist2_memory.model.presets import WIDE_LINES

    measures = asdict(SketchGeometry(**WIDE_LINES))
    for part in filter(None, written.replace(" ", "").split(",")):
        name, equals, number = part.partition("=")
        if name not in measures or not equals or not number.isdecimal():
            raise InvalidInputError(
                f"--geometry {part!r} is not NAME=N with N a whole number and NAME one of "
                f"{', '.join(measures)}"
            )
        measures[name] = int(number)
    try:
        return SketchGeometry(**measures)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
