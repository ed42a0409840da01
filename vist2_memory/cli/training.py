"""``vist2 train``: making a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from vist2_memory.training import trainer


class Memory(StrEnum):
    """The forms of memory; see ``vist2_memory.training.forms``, which loads torch."""

    visual = "visual"
    text = "text"
    mean_pooled = "mean-pooled"
    convolution = "convolution"


def train(
    recipe: Annotated[str, typer.Option(help="A name of vist2_memory.training.stages.RECIPES.")],
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Takes checkpoints, metrics and the model.")
    ],
    data: Annotated[
        Path, typer.Option(help="A folder with prose/ and dialogues/: .txt, .jsonl, .xz, .gz, .zst")
    ],
    seed: Annotated[int, typer.Option(help="Of the weights and of what is drawn.")] = 0,
    start: Annotated[
        str | None, typer.Option(help="A model or checkpoint folder to go on from.")
    ] = None,
    memory: Annotated[
        Memory, typer.Option(help="How a chunk is remembered; all but visual are baselines.")
    ] = Memory.visual,
    preset: Annotated[
        str | None,
        typer.Option(help="The model's size, if not the recipe's; a start is widened to it."),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Read the prose as it is needed, not all of it at first."),
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Leave a GPU alone.")] = False,
    precision: Annotated[str, typer.Option(help="bf16 (autocast), or no: float32.")] = "bf16",
    micro_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tokens that run at once on a device; gradients add up. "
            "[default: 2048 on a CPU, 16384 on a GPU]",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that draw the next steps meanwhile; 1, 2, 4 or 8 with --stream. "
            "[default: 0 on a CPU, up to 8 on a GPU]",
        ),
    ] = None,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Less memory, a third more work.")
    ] = False,
    shard: Annotated[
        bool,
        typer.Option("--shard", help="Weights in shards over the GPUs (FSDP), for large models."),
    ] = False,
    compile_by: Annotated[
        str | None,
        typer.Option(
            "--compile", metavar="BACKEND", help="torch.compile, by inductor for example."
        ),
    ] = None,
    save_every_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps between checkpoints, beside every 2 minutes.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="A few short steps of each stage, in OUT/dry-run."),
    ] = False,
) -> None:
    """Train a model by a recorded recipe; a run that was stopped goes on.

    On several GPUs: accelerate launch --num-processes 8 -m vist2_memory.cli train ...
    """
    import torch

    from vist2_memory.training.devices import Execution, workers_of_a_gpu
    from vist2_memory.training.run import train as run

    on_cpu = cpu or not torch.cuda.is_available()
    if workers is None:
        workers = 0 if on_cpu else workers_of_a_gpu()
    execution = Execution(
        cpu=cpu,
        precision=precision,
        micro_tokens=micro_tokens or (2048 if on_cpu else 16_384),
        workers=workers,
        checkpointing=checkpointing,
        shard=shard,
        compile=compile_by,
        save_every_steps=save_every_steps,
    )
    with _training_bar() as progress:
        folder = run(
            recipe,
            data,
            out,
            seed,
            start,
            execution,
            memory=memory.value,
            size=preset,
            stream=stream,
            dry_run=dry_run,
            progress=progress,
        )
    if _is_main():
        typer.echo(folder)


def _is_main() -> bool:
    """Whether this is the only process of the run, or the first."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _training_bar() -> Iterator[Callable[[trainer.Progress], None]]:
    """Moves a bar on standard error, where that is a terminal: tokens a second, time left."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    shown = console.is_terminal and _is_main()
    with Progress(*columns, console=console, disable=not shown, speed_estimate_period=300) as bar:
        task = bar.add_task("preparing", total=None, figures="")

        def move(at: trainer.Progress) -> None:
            bar.update(
                task,
                description=f"{at.stage} {at.step}/{at.steps}",
                completed=at.done,
                total=at.of,
                figures=f"loss {at.loss:.3f}  {at.tokens_per_s:,.0f} tokens/s",
            )

        yield move
