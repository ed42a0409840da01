"""The command line, ``vist2``. Every command calls one function of the library.

Nothing here loads torch before a command needs a model.
"""

from __future__ import annotations

from typing import Annotated

import typer

from vist2_memory import __version__
from vist2_memory.cli import (
    benchmarks,
    composing,
    conversation,
    demonstration,
    diagnosis,
    drawing,
    evaluation,
    outbox,
    serving,
    sessions,
    training,
    transfers,
    upkeep,
)
from vist2_memory.cli.common import Commands

app = typer.Typer(
    name="vist2",
    cls=Commands,
    help="Long-context memory for chat models, kept as visual tokens.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demonstration.demo)
app.command()(conversation.chat)
app.command()(conversation.ask)
app.command()(conversation.ingest)
app.command()(drawing.render)
sessions.app.command("export")(transfers.export_session)
sessions.app.command("import")(transfers.import_sessions)
sessions.app.command("move")(transfers.move_sessions)
sessions.app.command("usage")(upkeep.usage)
sessions.app.command("gc")(upkeep.gc)
sessions.app.command("reencode")(upkeep.reencode)
app.add_typer(sessions.app, name="session")
app.add_typer(outbox.app, name="outbox")
app.add_typer(evaluation.app, name="eval")
app.add_typer(benchmarks.app, name="bench")
app.command()(composing.init)
app.command()(training.train)
app.command()(serving.serve)
app.add_typer(serving.keys_app, name="key")
app.command()(diagnosis.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vist2 {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; it ends the process."""
    app()
