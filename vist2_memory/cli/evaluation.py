"""``vist2 eval``: what a model can do, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from vist2_memory.cli.common import AsJson, Model, Ratio, emit, opened, progress_bar

if TYPE_CHECKING:
    from vist2_memory.engine.torch import TorchEngine

app = typer.Typer(help="Measure a model.", no_args_is_help=True)

Data = Annotated[
    Path, typer.Option("--data", help="A .txt or .jsonl file (also .xz), or a folder of them.")
]
Twin = Annotated[
    Path | None,
    typer.Option(
        help="A Qwen3 checkpoint folder: a text-only model trained with the same tokenizer."
    ),
]
MeanPooled = Annotated[
    Path | None, typer.Option(help="A model trained by vist2 train --memory mean-pooled.")
]
Convolution = Annotated[
    Path | None, typer.Option(help="A model trained by vist2 train --memory convolution.")
]
Seed = Annotated[int, typer.Option(help="Decides what is drawn.")]


class Kind(StrEnum):
    """What the histories of ``vist2 eval recall`` are."""

    synthetic = "synthetic"
    dialogues = "dialogues"
    topics = "topics"


_KINDS: dict[Kind, Literal["synthetic", "dialogues", "topics"]] = {
    Kind.synthetic: "synthetic",
    Kind.dialogues: "dialogues",
    Kind.topics: "topics",
}


@app.command()
def readback(
    data: Data,
    chunks: Annotated[int, typer.Option(min=1, help="How many chunks to read.")] = 200,
    by_kind: Annotated[
        bool,
        typer.Option("--by-kind", help="Read dialogue, code and numbers too, as --ratio does."),
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
    model: Model = None,
    ratio: Ratio = None,
) -> None:
    """Read text out of its visual tokens; how many characters come back right."""
    from vist2_memory.training.evaluate import evaluate_readback

    with _engine(model, ratio) as engine, progress_bar("readback") as progress:
        figures = evaluate_readback(
            engine,
            data,
            chunks=chunks,
            ratio=ratio,
            by_kind=by_kind,
            seed=seed,
            progress=progress,
        )
    _show_figures(figures, as_json)


@app.command()
def recall(
    kind: Annotated[Kind, typer.Option(help="What the histories are.")] = Kind.synthetic,
    data: Annotated[
        Path | None,
        typer.Option(help="For --kind dialogues or topics: SGD or LongChat as .jsonl.xz."),
    ] = None,
    conversations: Annotated[int, typer.Option(min=1, help="How many to ask about.")] = 200,
    seed: Seed = 12345,
    history: Annotated[
        int, typer.Option(min=64, metavar="TOKENS", help="Text tokens of each, about.")
    ] = 1500,
    seen: Annotated[
        Path | None,
        typer.Option(help="Dialogues trained on: answers that occur in them are scored apart."),
    ] = None,
    twin: Twin = None,
    mean_pooled: MeanPooled = None,
    convolution: Convolution = None,
    skip_baselines: Annotated[
        bool, typer.Option("--skip-baselines", help="Ask with visual memory only.")
    ] = False,
    as_json: AsJson = False,
    model: Model = None,
    ratio: Ratio = None,
) -> None:
    """Ask about held-out conversations: with memory, without, and with what fits as text."""
    from vist2_memory.training.evaluate import evaluate_recall

    with _engine(model, ratio) as engine, progress_bar("recall") as progress:
        figures = evaluate_recall(
            engine,
            conversations=conversations,
            seed=seed,
            history=history,
            kind=_KINDS[kind],
            data=data,
            seen=seen,
            twin=twin,
            mean_pooled=mean_pooled,
            convolution=convolution,
            baselines=not skip_baselines,
            progress=progress,
        )
    _show_figures(figures, as_json)


@app.command()
def perplexity(
    data: Data,
    history: Annotated[
        int, typer.Option(min=1, metavar="TOKENS", help="Text tokens before the scored chunk.")
    ] = 1000,
    passages: Annotated[int, typer.Option(min=1, help="How many to draw.")] = 200,
    seed: Seed = 0,
    twin: Twin = None,
    mean_pooled: MeanPooled = None,
    convolution: Convolution = None,
    as_json: AsJson = False,
    model: Model = None,
    ratio: Ratio = None,
) -> None:
    """Predict text whose history is in visual tokens, and in as many tokens of text."""
    from vist2_memory.training.evaluate import evaluate_perplexity

    with _engine(model, ratio) as engine, progress_bar("perplexity") as progress:
        figures = evaluate_perplexity(
            engine,
            data,
            history=history,
            passages=passages,
            seed=seed,
            twin=twin,
            mean_pooled=mean_pooled,
            convolution=convolution,
            progress=progress,
        )
    _show_figures(figures, as_json)


@app.command()
def calls(
    cases: Annotated[
        int, typer.Option(min=1, help="Questions on made-up functions, held out from training.")
    ] = 200,
    standard: Annotated[
        int,
        typer.Option(min=0, help="Questions on the functions of LangChain's standard tests."),
    ] = 60,
    seed: Seed = 12345,
    as_json: AsJson = False,
    model: Model = None,
    ratio: Ratio = None,
) -> None:
    """Ask for calls of functions it never saw: the right one, its arguments, or none at all."""
    from vist2_memory.training.evaluate import evaluate_calls

    with _engine(model, ratio) as engine, progress_bar("calls") as progress:
        figures = evaluate_calls(
            engine, cases=cases, standard=standard, seed=seed, progress=progress
        )
    _show_figures(figures, as_json)


@contextmanager
def _engine(model: str | None, ratio: float | None) -> Iterator[TorchEngine]:
    """The in-process engine of a model, without any store."""
    from vist2_memory.engine.torch import TorchEngine

    with opened("memory://", model, ratio=ratio) as memory:
        assert isinstance(memory.engine, TorchEngine)
        yield memory.engine


def _show_figures(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(figures)
        return
    table = Table("", "", "95%", box=None)
    extra = {name: figures.pop(name, {}) for name in ("intervals95", "counts", "not_measured")}
    figures.pop("interval95", None)
    for name, value in figures.items():
        parts = value if isinstance(value, dict) else {"": value}
        for part, number in parts.items():
            low_high, count = (extra[k].get(name) for k in ("intervals95", "counts"))
            if isinstance(value, dict):
                low_high, count = ((of or {}).get(part) for of in (low_high, count))
            label = f"{name} {part}".strip().replace("_", " ")
            label += f" ({count})" if count is not None else ""
            table.add_row(label, _shown(number), "–".join(map(_shown, low_high or ())))
    Console().print(table)
    for name, why in extra["not_measured"].items():
        typer.echo(f"{name.replace('_', ' ')}: not measured, {why}")


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
