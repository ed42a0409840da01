"""What all commands share: their options, the two consoles, and how errors end a command.

Knows no command. Standard output is for what was asked for; progress, notes and errors go to
standard error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from vist2_memory.errors import InvalidInputError, ModelNotFoundError, StoreURLError, Vist2Error
from vist2_memory.memory import VisualMemory

BAD_USE = (InvalidInputError, ModelNotFoundError, StoreURLError)
"""Errors of what was typed: exit code 2, as for an unknown option. All others: 1."""

StoreURL = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where memory is kept: sqlite:///file.db, redis://host:6379/0, ... "
        "[default: $VIST2_STORE, or sqlite:///vist2.db]",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="A bundled model's name, the folder of a checkpoint or of a vision-language model, or "
        "the id of one on the hub. [default: $VIST2_MODEL, or vist2-tiny]"
    ),
]
Ratio = Annotated[
    float | None,
    typer.Option(
        help="About how many text tokens a visual token stands for, of those that the model was "
        "trained on. [default: the model's own]"
    ),
]
Namespace = Annotated[str, typer.Option(help="Whose memory: sessions of others are not seen.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="Text tokens of an answer, at most.")]
SessionId = Annotated[str, typer.Option("--session", metavar="ID", help="Which conversation.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


class Commands(TyperGroup):
    """A group whose commands end with one clear line where the library raises its errors."""

    def invoke(self, ctx: Any) -> Any:  # click's context, or that of the click inside typer
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever read our output went away: typer ends quietly
        except (Vist2Error, OSError) as error:
            say_error(error)
            raise typer.Exit(2 if isinstance(error, BAD_USE) else 1) from None


def say_error(error: Exception) -> None:
    """One line on standard error."""
    if isinstance(error, OSError) and error.filename:
        error = Vist2Error(f"{error.filename}: {error.strerror}")
    typer.echo(f"vist2: error: {printable(' '.join(str(error).split()))}", err=True)


def note(text: str) -> None:
    """A remark on standard error."""
    typer.echo(f"vist2: {printable(text)}", err=True)


def show(text: str, *, newline: bool = True) -> None:
    """Stored or generated text on standard output, at once."""
    typer.echo(printable(text), nl=newline)


def emit(value: Any) -> None:
    """``value`` as JSON, the only thing on standard output."""
    typer.echo(json.dumps(value, indent=2))


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """``text`` with control characters written out: what was stored cannot steer a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function of the number done and the number in all that moves a bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@contextmanager
def opened(
    store: str | None = None,
    model: str | None = None,
    namespace: str = "default",
    ratio: float | None = None,
    engine: str | None = None,
    engine_options: Mapping[str, Any] | None = None,
) -> Iterator[VisualMemory]:
    """The memory that the options name, closed at the end."""
    with VisualMemory.open(
        store,
        model=model,
        ratio=ratio,
        namespace=namespace,
        engine=engine,
        engine_options=engine_options,
    ) as memory:
        yield memory
