"""``vist2 session export``, ``import`` and ``move``: sessions elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vist2_memory.cli.common import (
    AsJson,
    Model,
    Namespace,
    StoreURL,
    emit,
    note,
    opened,
    progress_bar,
    show,
)
from vist2_memory.cli.sessions import Id, existing
from vist2_memory.errors import InvalidInputError

NoTensors = Annotated[
    bool, typer.Option("--no-tensors", help="Leave the visual tokens beside it; load no model.")
]


class Format(StrEnum):
    """Who wrote a file."""

    auto = "auto"
    vist2 = "vist2"
    openai = "openai"
    langchain = "langchain"


class OtherContent(StrEnum):
    """What becomes of content that is no text."""

    name = "name"
    refuse = "refuse"


def export_session(
    id: Id,
    file: Annotated[Path, typer.Argument(help="The JSON lines file to write.")],
    tensors: Annotated[
        bool,
        typer.Option(
            "--tensors", help="And the cached visual tokens, beside it, ending in .safetensors."
        ),
    ] = False,
    model: Model = None,
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Write a session to a file, from which it can be imported elsewhere."""
    with opened(store, model=model, namespace=namespace) as memory:
        count = existing(memory, id).export(file, tensors=tensors)
    beside = f", visual tokens to {file.with_suffix('.safetensors')}" if tensors else ""
    show(f"{count} messages of session {id!r} written to {file}{beside}")


def import_sessions(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="JSON lines: what `export` wrote, or histories."),
    ],
    session: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Its id here, for one file that holds one session."),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="Who wrote them; auto looks.")
    ] = Format.auto,
    blocks: Annotated[
        OtherContent,
        typer.Option(
            "--other-content", help="Content that is no text is named in its place, or refused."
        ),
    ] = OtherContent.name,
    no_tensors: NoTensors = False,
    as_json: AsJson = False,
    model: Model = None,
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Take in sessions from files. Doing it again stores nothing twice."""
    if session is not None and len(files) > 1:
        raise InvalidInputError(f"--session {session!r} names one session: pass one file")
    told = []
    with opened(store, model=model, namespace=namespace) as memory:
        with progress_bar("sessions") as bar:
            for file in files:

                def taken(id: str, new: int, file: Path = file) -> None:
                    told.append({"file": str(file), "session": id, "new": new})
                    bar(len(told), 0)

                found = memory.import_histories(
                    file,
                    session,
                    form=form.value,
                    blocks=blocks.value,
                    tensors=not no_tensors,
                    progress=taken,
                )
                for warning in found.warnings:
                    note(warning)
        counts = {str(t["session"]): memory.session(str(t["session"])) for t in told}
        held = {id: memory.store.count(one.scope) for id, one in counts.items()}
    if as_json:
        emit([{**entry, "messages": held[str(entry["session"])]} for entry in told])
        return
    for entry in told:
        id = str(entry["session"])
        show(f"session {id!r} holds {held[id]} messages, {entry['new']} of them new")


def move_sessions(
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The session's id.")] = None,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The store to move it to.")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Every session and collection of the namespace.")
    ] = False,
    as_json: AsJson = False,
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Move a session to another store; it is deleted here once the other is proved to hold it."""
    if not to:
        raise InvalidInputError("say where to: --to URL")
    if (id is None) != everything:
        raise InvalidInputError("say which session, or --all, and not both")
    with opened(store, namespace=namespace) as memory:
        if id is not None:
            moved = memory.move_session(id, to)
        else:
            with progress_bar("moved") as bar:
                moved = memory.move_all(to, progress=bar)
    if as_json:
        emit(asdict(moved))
        return
    show(
        f"{moved.sessions} sessions and {moved.collections} collections moved: {moved.messages} "
        f"messages, {moved.tensors} tensors"
    )
