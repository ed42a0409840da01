"""``vist2 eval``: what a model can do, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vist2_memory.cli.common import AsJson, Model, emit, opened, progress_bar

app = typer.Typer(help="Measure a model.", no_args_is_help=True)

Data = Annotated[
    Path, typer.Option("--data", help="A .txt or .jsonl file (also .xz), or a folder of them.")
]


@app.command()
def readback(
    data: Data,
    chunks: Annotated[int, typer.Option(min=1, help="How many chunks to read.")] = 200,
    as_json: AsJson = False,
    model: Model = None,
) -> None:
    """Read text out of its visual tokens; how many characters come back right."""
    from vist2_memory.training.evaluate import evaluate_readback

    with opened("memory://", model) as memory, progress_bar("readback") as progress:
        figures = evaluate_readback(memory.engine, data, chunks=chunks, progress=progress)
    _show_figures(figures, as_json)


@app.command()
def recall(
    conversations: Annotated[int, typer.Option(min=1, help="How many to ask about.")] = 200,
    seed: Annotated[int, typer.Option(help="Decides which conversations are drawn.")] = 12345,
    history: Annotated[
        int, typer.Option(min=64, metavar="TOKENS", help="Text tokens of each, about.")
    ] = 1500,
    as_json: AsJson = False,
    model: Model = None,
) -> None:
    """Ask about held-out conversations: with memory, without, and with what fits as text."""
    from vist2_memory.engine.torch import TorchEngine
    from vist2_memory.training.evaluate import evaluate_recall

    with opened("memory://", model) as memory, progress_bar("recall") as progress:
        engine = memory.engine
        assert isinstance(engine, TorchEngine)
        figures = evaluate_recall(
            engine, conversations=conversations, seed=seed, history=history, progress=progress
        )
    _show_figures(figures, as_json)


def _show_figures(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(figures)
        return
    table = Table(box=None, show_header=False)
    for name, value in figures.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, number in parts:
            shown = f"{number:.3f}" if isinstance(number, float) else str(number)
            table.add_row(f"{name} {part}".strip().replace("_", " "), shown)
    Console().print(table)
