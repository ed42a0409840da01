"""``vist2 bench``: how fast parts of the library are, against what one would use without them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vist2_memory.cli.common import AsJson, emit, progress_bar
from vist2_memory.cli.files import read_text

app = typer.Typer(help="Measure speed, against other ways side by side.", no_args_is_help=True)


@app.command()
def render(
    data: Annotated[
        Path | None,
        typer.Option(dir_okay=False, exists=True, help="A UTF-8 text. [default: made-up words]"),
    ] = None,
    pages: Annotated[int, typer.Option(min=1, help="How many to draw.")] = 40,
    repeats: Annotated[int, typer.Option(min=1, help="Turns; medians are shown.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Draw text as pages and as sketches, and as pages by way of PDF."""
    from vist2_memory.benchmark.render import measure_render

    text = None if data is None else read_text(data)
    with progress_bar("render") as progress:
        figures = measure_render(text, pages=pages, repeats=repeats, progress=progress)
    show_figures(figures, as_json)


@app.command()
def cache(
    store: Annotated[
        str, typer.Option(help="Where the visual tokens are kept; use a Redis of your own.")
    ] = "memory://",
    pages: Annotated[int, typer.Option(min=1, help="Full pages of memory.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Turns; medians are shown.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Time to the first token of a stock model, from cached visual tokens and from pixels."""
    from vist2_memory.benchmark.cache import measure_cache

    with progress_bar("cache") as progress:
        figures = measure_cache(store, pages=pages, repeats=repeats, progress=progress)
    show_figures(figures, as_json)


@app.command()
def store(
    store: Annotated[
        str, typer.Option(help="Which store; use a Redis of your own that nobody else uses.")
    ] = "sqlite:///vist2-bench.db",
    megabytes: Annotated[
        list[float], typer.Option(min=0.01, help="Sizes of sessions; name it once for each.")
    ] = [1.0, 8.0, 32.0],  # noqa: B006
    repeats: Annotated[int, typer.Option(min=1, help="Turns; medians are shown.")] = 15,
    text_tokens: Annotated[
        int, typer.Option(min=100, help="Of the session that is loaded as a whole.")
    ] = 16_000,
    as_json: AsJson = False,
) -> None:
    """A store against its driver alone, and its bytes against those of a KV cache."""
    from vist2_memory.benchmark.store import measure_store

    with progress_bar("store") as progress:
        figures = measure_store(
            store,
            megabytes=tuple(megabytes),
            repeats=repeats,
            text_tokens=text_tokens,
            progress=progress,
        )
    show_figures(figures, as_json)


@app.command()
def speed(
    model: Annotated[
        str,
        typer.Option(help="bundled, the folder of a checkpoint, or 0.6B, 1.7B, 4B, 8B: random."),
    ] = "bundled",
    history: Annotated[
        int, typer.Option(min=1, metavar="TOKENS", help="Text tokens of history.")
    ] = 4096,
    tower: Annotated[
        str | None,
        typer.Option(help="B/16 or L/16, of a random model. [default: B/16 at 0.6B, else L/16]"),
    ] = None,
    ratio: Annotated[
        float, typer.Option(help="Text tokens a visual token, of a random model.")
    ] = 4.0,
    store: Annotated[
        str, typer.Option(help="Where visual tokens are kept; use a Redis of your own.")
    ] = "memory://",
    repeats: Annotated[int, typer.Option(min=1, help="Turns; medians are shown.")] = 3,
    skip: Annotated[
        list[str],
        typer.Option(
            help="Leave out: first, memory, decode, fold, batch, flops or vllm; name it once for "
            "each."
        ),
    ] = [],  # noqa: B006
    batch: Annotated[int, typer.Option(min=1, help="Sequences of text in a batch.")] = 4,
    device: Annotated[str | None, typer.Option(help="As torch names it.")] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32 or bfloat16. [default: bfloat16 for a random model]"),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the engine's decode steps.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Visual memory against the same language model reading the same history as text."""
    from vist2_memory.benchmark.speed import measure_speed

    with progress_bar("speed") as progress:
        figures = measure_speed(
            model,
            history=history,
            tower=tower,
            ratio=ratio,
            store=store,
            repeats=repeats,
            skip=tuple(skip),
            batch=batch,
            device=device,
            dtype=dtype,
            compiled=compiled,
            progress=progress,
        )
    show_figures(figures, as_json)


def show_figures(figures: dict[str, Any], as_json: bool) -> None:
    """``figures`` as JSON, or those that are one number as a table."""
    if as_json:
        emit(figures)
        return
    table = Table("", "", box=None)
    for name, value in figures.items():
        if isinstance(value, (int, float)):
            table.add_row(name.replace("_", " "), f"{value:,.4g}")
    Console().print(table)
