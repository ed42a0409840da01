"""``vist2 outbox``: answers that a store could not take and that this machine keeps. No model."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from vist2_memory.cli.common import AsJson, Namespace, StoreURL, emit, show
from vist2_memory.errors import InvalidInputError, StoreFormatError
from vist2_memory.memory import VisualMemory
from vist2_memory.store.outbox import Kept, Outbox, default_path

app = typer.Typer(help="List, replay and discard answers not logged yet.", no_args_is_help=True)


@app.command("list")
def list_answers(as_json: AsJson = False) -> None:
    """List what the outbox keeps, of all stores."""
    entries = _outbox().entries()
    if as_json:
        emit([_entry(kept) for kept in entries])
        return
    for kept in entries:
        day = datetime.fromtimestamp(kept.kept).astimezone().strftime("%Y-%m-%d %H:%M")
        state = f"cannot be logged: {kept.aside}" if kept.aside else "waits for its store"
        where = f"session {kept.scope.name!r} of {kept.scope.namespace!r} in {kept.store}"
        show(f"{kept.number}  {day}  {where}, {state}")
        show(f"    {_text(kept)[:200]!r}")


@app.command("replay")
def replay(
    aside: Annotated[
        bool, typer.Option("--aside", help="Try those again that could not be logged.")
    ] = False,
    as_json: AsJson = False,
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Log what waits for a store; exit code 1 if anything is left."""
    outbox = _outbox()
    with VisualMemory.open(store, namespace=namespace, outbox=None) as memory:
        memory.outbox = outbox  # now, so that what is replayed is counted
        done = memory.replay(aside=aside)
    if as_json:
        emit(asdict(done))
    else:
        show(f"{done.logged} logged, {done.waiting} wait on, {done.aside} cannot be logged")
    if done.waiting or done.aside:
        raise typer.Exit(1)


@app.command("discard")
def discard(number: Annotated[int, typer.Argument(help="As `vist2 outbox list` says.")]) -> None:
    """Throw one answer away, for good."""
    if not _outbox().remove(number):
        raise InvalidInputError(f"there is no answer {number} in the outbox: see vist2 outbox list")
    show(f"answer {number} discarded")


def _outbox() -> Outbox:
    path = default_path()
    if path is None:
        raise InvalidInputError("there is no outbox: VIST2_OUTBOX is set to none")
    return Outbox(path)


def _entry(kept: Kept) -> dict[str, object]:
    return {
        "number": kept.number,
        "store": kept.store,
        "namespace": kept.scope.namespace,
        "session": kept.scope.name,
        "id": kept.id,
        "kept": kept.kept,
        "aside": kept.aside,
        "text": _text(kept),
    }


def _text(kept: Kept) -> str:
    try:
        return kept.answer().text
    except StoreFormatError as error:
        return str(error)
