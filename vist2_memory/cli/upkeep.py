"""``vist2 session usage``, ``gc`` and ``reencode``: what a namespace holds, and keeping it tidy."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from vist2_memory.cli.common import (
    AsJson,
    Model,
    Namespace,
    Ratio,
    StoreURL,
    emit,
    opened,
    progress_bar,
    show,
)
from vist2_memory.cli.sessions import existing
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory import VisualMemory

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Which sessions.")]
Everything = Annotated[
    bool, typer.Option("--all", help="Every session and collection of the namespace.")
]


def usage(
    as_json: AsJson = False, store: StoreURL = None, namespace: Namespace = "default"
) -> None:
    """Count what a namespace holds: messages, their bytes, sessions and collections."""
    with opened(store, namespace=namespace) as memory:
        held = memory.usage()
    if as_json:
        emit({"namespace": namespace, **asdict(held)})
        return
    show(
        f"{held.messages:,} messages ({held.bytes:,} bytes) in {held.sessions:,} sessions and "
        f"{held.collections:,} collections"
    )


def gc(
    ids: Ids = None,
    everything: Everything = False,
    as_json: AsJson = False,
    model: Model = None,
    ratio: Ratio = None,
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Drop tensors that the model will not ask for: of other models, and of text that is gone."""
    with opened(store, model, namespace, ratio) as memory:
        chosen = _chosen(memory, ids, everything)
        with progress_bar("looked at") as bar:
            found = memory.collect_garbage(chosen, progress=bar)
    if as_json:
        emit({**asdict(found), "dropped": found.dropped})
        return
    show(
        f"{found.dropped} tensors dropped in {found.scopes} sessions and collections: {found.old} "
        f"of other models, {found.unused} of text that is gone; {found.kept} are left"
    )


def reencode(
    ids: Ids = None,
    everything: Everything = False,
    as_json: AsJson = False,
    model: Model = None,
    ratio: Ratio = None,
    store: StoreURL = None,
    namespace: Namespace = "default",
) -> None:
    """Encode ahead of time what the model has no tensors of, as after a change of it."""
    with opened(store, model, namespace, ratio) as memory:
        chosen = _chosen(memory, ids, everything)
        with progress_bar("encoded") as bar:
            found = memory.reencode(chosen, progress=bar)
    if as_json:
        emit(asdict(found))
        return
    show(
        f"{found.encoded} of {found.chunks} chunks encoded in {found.scopes} sessions and "
        "collections; the others had tensors already"
    )


def _chosen(memory: VisualMemory, ids: list[str] | None, everything: bool) -> list[str] | None:
    """The sessions that were named, which must be there; None for all."""
    if bool(ids) == everything:
        raise InvalidInputError("say which sessions, or --all, and not both")
    return [existing(memory, id).id for id in ids] if ids else None
