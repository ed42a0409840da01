"""``vist2 session``: the conversations in a store. Loads no model."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vist2_memory.cli.common import AsJson, Namespace, StoreURL, emit, opened, printable, show
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory import Session, VisualMemory

app = typer.Typer(help="List, show, export, import and delete sessions.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]


@app.command("list")
def list_sessions(
    as_json: AsJson = False, store: StoreURL = None, namespace: Namespace = "default"
) -> None:
    """List the sessions of a store."""
    with opened(store, namespace=namespace) as memory:
        found = memory.sessions()
    if as_json:
        emit(
            [
                {
                    "id": info.scope.name,
                    "messages": info.messages,
                    "created": info.created,
                    "updated": info.updated,
                }
                for info in found
            ]
        )
        return
    table = Table("session", "messages", "begun", "last message", box=None)
    for info in found:
        name = Text(printable(info.scope.name), overflow="fold")  # no markup in what users named
        table.add_row(name, str(info.messages), _day(info.created), _day(info.updated))
    Console().print(table)


@app.command("show")
def show_session(
    id: Id, as_json: AsJson = False, store: StoreURL = None, namespace: Namespace = "default"
) -> None:
    """Show the messages of a session, verbatim."""
    with opened(store, namespace=namespace) as memory:
        messages = _existing(memory, id).messages()
    if as_json:
        emit({"id": id, "messages": [asdict(message) for message in messages]})
        return
    for message in messages:
        show(f"{message.role}: {message.text}")


@app.command("export")
def export_session(
    id: Id,
    file: Annotated[Path, typer.Argument(help="The JSON lines file to write.")],
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Write a session to a file, from which it can be imported elsewhere."""
    with opened(store, namespace=namespace) as memory:
        count = _existing(memory, id).export(file)
    show(f"{count} messages of session {id!r} written to {file}")


@app.command("import")
def import_session(
    file: Annotated[Path, typer.Argument(help="What `vist2 session export` wrote.")],
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Its id here. [default: the exported one's]")
    ] = None,
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Take in an exported session."""
    with opened(store, namespace=namespace) as memory:
        taken = memory.import_session(file, session)
        count = memory.store.count(taken.scope)
    show(f"session {taken.id!r} holds {count} messages")


@app.command("delete")
def delete_session(id: Id, store: StoreURL = None, namespace: Namespace = "default") -> None:
    """Delete a session: its messages and all tensors made of them."""
    with opened(store, namespace=namespace) as memory:
        gone = _existing(memory, id).delete()
    show(
        f"session {id!r} deleted: {gone.messages} messages, {gone.chunks} chunks, "
        f"{gone.tensors} tensors" + (f", {gone.outbox} in the outbox" if gone.outbox else "")
    )


def _existing(memory: VisualMemory, id: str) -> Session:
    """The session called ``id``, which must hold messages."""
    session = memory.session(id)
    if not memory.store.count(session.scope):
        raise InvalidInputError(
            f"there is no session {id!r} in {memory.store.describe()}, namespace "
            f"{memory.namespace!r}"
        )
    return session


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
