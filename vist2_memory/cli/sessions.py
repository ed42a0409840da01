"""``vist2 session``: the conversations in a store.

Only what changes a conversation loads the model, to cut and draw it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vist2_memory.cli.common import (
    AsJson,
    Model,
    Namespace,
    Ratio,
    StoreURL,
    emit,
    opened,
    printable,
    show,
)
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory import Collection, Session, VisualMemory
from vist2_memory.text.transcript import CALL, LABELS
from vist2_memory.types import Message

app = typer.Typer(
    help="List, show, search, change, export, import, move, reseal, delete, tidy sessions.",
    no_args_is_help=True,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]
Long = Annotated[bool, typer.Option("--long", help="Each message's id and time, too.")]


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
    id: Id,
    long: Long = False,
    as_json: AsJson = False,
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Show the messages of a session, verbatim."""
    with opened(store, namespace=namespace) as memory:
        messages = existing(memory, id).messages()
    if as_json:
        emit({"id": id, "messages": [asdict(message) for message in messages]})
        return
    _show_messages(messages, long)


@app.command("search")
def search_session(
    id: Id,
    text: Annotated[str, typer.Argument(help="Words that must all occur.")],
    limit: Annotated[int, typer.Option(min=1, help="Messages to show, at most.")] = 20,
    as_json: AsJson = False,
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Show the messages in which all words occur, the best and newest first."""
    with opened(store, namespace=namespace) as memory:
        found = existing(memory, id).search(text, limit=limit)
    if as_json:
        emit({"id": id, "found": [asdict(hit) for hit in found]})
        return
    _show_messages([hit.message for hit in found], long=True)


@app.command("undo")
def undo_turn(
    id: Id,
    as_json: AsJson = False,
    store: StoreURL = None,
    model: Model = None,
    ratio: Ratio = None,
    namespace: Namespace = "default",
) -> None:
    """Take back the last turn: the question and its answer."""
    with opened(store, model, namespace, ratio) as memory:
        removed = existing(memory, id).undo()
    if as_json:
        emit({"id": id, "removed": [asdict(message) for message in removed]})
        return
    show(f"{len(removed)} messages of session {id!r} taken back")
    _show_messages(removed, long=True)


@app.command("edit")
def edit_message(
    id: Id,
    message: Annotated[str, typer.Argument(help="The message's id, as `show --long` tells it.")],
    text: Annotated[str, typer.Argument(help="What it says from now on.")],
    as_json: AsJson = False,
    store: StoreURL = None,
    model: Model = None,
    ratio: Ratio = None,
    namespace: Namespace = "default",
) -> None:
    """Give a message another text."""
    with opened(store, model, namespace, ratio) as memory:
        edited = existing(memory, id).edit(message, text)
    if as_json:
        emit({"id": id, "message": asdict(edited)})
        return
    _show_messages([edited], long=True)


@app.command("branch")
def branch_session(
    id: Id,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new session's id.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="MESSAGE", help="The last message to take. [default: the newest]"),
    ] = None,
    as_json: AsJson = False,
    store: StoreURL = None,
    model: Model = None,
    ratio: Ratio = None,
    namespace: Namespace = "default",
) -> None:
    """Begin a new session with what was said in another."""
    with opened(store, model, namespace, ratio) as memory:
        count = len(existing(memory, id).branch(new, at=at).messages())
    if as_json:
        emit({"id": new, "messages": count})
        return
    show(f"session {new!r} begins with {count} messages of session {id!r}")


@app.command("delete")
def delete_session(id: Id, store: StoreURL = None, namespace: Namespace = "default") -> None:
    """Delete a session: its messages and all tensors made of them."""
    with opened(store, namespace=namespace) as memory:
        gone = existing(memory, id).delete()
    show(
        f"session {id!r} deleted: {gone.messages} messages, {gone.chunks} chunks, "
        f"{gone.tensors} tensors" + (f", {gone.outbox} in the outbox" if gone.outbox else "")
    )


@app.command("reseal")
def reseal_sessions(
    id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="One session. [default: all, and all collections]"),
    ] = None,
    store: StoreURL = None,
    model: Model = None,
    namespace: Namespace = "default",
) -> None:
    """Sign or encrypt anew under the newest of the keys; the older ones are then not needed."""
    with opened(store, model, namespace) as memory:
        if id is not None:
            found: list[Session | Collection] = [existing(memory, id)]
        else:
            found = [memory.session(info.scope.name) for info in memory.sessions()]
            found += [memory.collection(info.scope.name) for info in memory.collections()]
        for one in found:
            show(f"{one.scope.kind} {one.scope.name!r}: {one.reseal()} messages resealed")


def existing(memory: VisualMemory, id: str) -> Session:
    """The session called ``id``, which must hold messages."""
    session = memory.session(id)
    if not memory.store.count(session.scope):
        raise InvalidInputError(
            f"there is no session {id!r} in {memory.store.describe()}, namespace "
            f"{memory.namespace!r}"
        )
    return session


def _show_messages(messages: Sequence[Message], long: bool) -> None:
    for message in messages:
        if long:
            show(f"[{message.id!r} {_day(message.time)}]")
        calls = [f"{LABELS[CALL]}{call.text}" for call in message.calls]
        show("\n  ".join([f"{message.role}: {message.text}", *calls]))


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
