"""What a memory does with whole sessions: count, take in, move and look after them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vist2_memory.engine.base import Engine
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.carrying import take_in, take_tensors
from vist2_memory.memory.collection import Collection
from vist2_memory.memory.content import Part
from vist2_memory.memory.exports import is_export, read_export
from vist2_memory.memory.histories import (
    Blocks,
    Form,
    History,
    read_histories,
    to_messages,
)
from vist2_memory.memory.moving import Moved, move
from vist2_memory.memory.recollection import Tensors
from vist2_memory.memory.session import Session
from vist2_memory.memory.upkeep import Collected, Progress, Reencoded, collect, reencode
from vist2_memory.store import open_store
from vist2_memory.store.base import Scope, ScopeInfo, Store, StoreUsage
from vist2_memory.store.sealed import SealedStore
from vist2_memory.types import Chunk

if TYPE_CHECKING:
    from vist2_memory.memory.memory import VisualMemory


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import took in, in counts."""

    sessions: int
    messages: int
    new: int
    """Messages that were not there before."""
    warnings: tuple[str, ...] = ()
    """Content that is no text and was left out, by file and line."""


class Housekeeping:
    """The part of :class:`VisualMemory` that is about sessions as a whole."""

    store: Store
    namespace: str
    tensors: Tensors

    if TYPE_CHECKING:

        @property
        def engine(self) -> Engine: ...
        def session(self, id: str) -> Session: ...
        def collection(self, name: str) -> Collection: ...
        def sessions(self) -> list[ScopeInfo]: ...
        def collections(self) -> list[ScopeInfo]: ...

    def usage(self) -> StoreUsage:
        """What this namespace holds: messages, their bytes, sessions and collections."""
        return self.store.usage(self.namespace)

    # Sessions from elsewhere, and to elsewhere

    def import_session(
        self, path: Path | str, id: str | None = None, *, tensors: bool = True
    ) -> Session:
        """Take in a session that was written by :meth:`Session.export`, under ``id`` if given.

        With ``tensors``, the visual tokens beside it too, if the memory's model made them and they
        are whole; others are encoded again when they are needed. Raises ``StoreFormatError`` for a
        file of another kind and ``ConflictError`` when the session exists already with other
        messages; nothing is stored then.
        """
        return self._import(Path(path), id, tensors)[0]

    def import_histories(
        self,
        path: Path | str,
        id: str | None = None,
        *,
        form: Form | Literal["vist2"] = "auto",
        blocks: Blocks = "name",
        tensors: bool = True,
        progress: Callable[[str, int], None] = lambda session, new: None,
    ) -> Imported:
        """Take in the conversations of a JSON lines file, whoever wrote it.

        ``form``: ``openai``, ``langchain``, ``vist2`` for what :meth:`import_session` takes, or
        ``auto`` to see. ``id``: what its session is called, if it holds one. Content that is no
        text is named in its place and told in ``warnings``, or refused with ``blocks="refuse"``.
        ``progress`` is called with each session's id and how many of its messages were new: doing
        it again stores nothing twice. Raises ``StoreFormatError`` naming file and line, and
        ``ConflictError`` for a session that holds other messages; of such a session nothing is
        stored.
        """
        path = Path(path)
        if form == "vist2" or (form == "auto" and is_export(path)):
            session, count, new = self._import(path, id, tensors)
            progress(session.id, new)
            return Imported(1, count, new)
        histories = read_histories(path, form, blocks)
        if id is not None:
            histories = iter([_only(path, list(histories), id)])
        sessions = messages = new = 0
        warnings: list[str] = []
        for history in histories:
            stored = take_in(self.store, self.session(history.session).scope, history.messages)
            progress(history.session, stored)
            sessions, messages, new = sessions + 1, messages + len(history.messages), new + stored
            warnings += history.warnings
        return Imported(sessions, messages, new, tuple(warnings))

    def import_messages(self, id: str, parts: Iterable[Part]) -> int:
        """Take in a conversation as the session ``id``; how many of its messages were new.

        As in :meth:`import_histories`, from values instead of a file.
        """
        return take_in(self.store, self.session(id).scope, to_messages(parts))

    def move_session(self, id: str, to: VisualMemory | str) -> Moved:
        """Move a session to another memory, or to the store at a URL, under the same id.

        A store at a URL is opened with the keys of this memory.

        Messages are copied verbatim, tensors that are whole with them, and the session here is
        deleted once the other is proved to hold it all. Killed in between, the same call does the
        rest. Raises ``ConflictError`` where the other holds something else under that id.
        """
        return self._move([Scope(self.namespace, "session", id)], to, lambda done, of: None)

    def move_all(
        self, to: VisualMemory | str, *, progress: Progress = lambda done, of: None
    ) -> Moved:
        """:meth:`move_session` for every session and collection of this namespace."""
        return self._move(self._scopes(), to, progress)

    def _import(self, path: Path, id: str | None, tensors: bool) -> tuple[Session, int, int]:
        """The session, how many messages the file has, and how many of them were new."""
        export = read_export(path)
        session = self.session(id or export.session)
        known = export.tensors if tensors else None
        if known is not None:
            known.check()
        new = take_in(self.store, session.scope, export.messages)
        if known is not None and known.fingerprint == self.engine.spec.fingerprint:
            ids = sorted({chunk.id for chunk in session.chunks()})
            take_tensors(self.store, session.scope, known, ids)
        return session, len(export.messages), new

    def _move(self, scopes: Sequence[Scope], to: VisualMemory | str, progress: Progress) -> Moved:
        namespace = self.namespace if isinstance(to, str) else to.namespace
        self.tensors.flush()
        target = self._open_like_this(to) if isinstance(to, str) else to.store
        try:
            moved = Moved()
            for done, scope in enumerate(scopes, 1):
                into = replace(scope, namespace=namespace)
                moved += move(self.store, scope, target, into, self._cut)
                progress(done, len(scopes))
            return moved
        finally:
            if isinstance(to, str):
                target.close()

    def _open_like_this(self, url: str) -> Store:
        """Another store, under the keys of this one."""
        store = open_store(url, ttl=self.store.ttl)
        return self.store.around(store) if isinstance(self.store, SealedStore) else store

    # Upkeep

    def collect_garbage(
        self, ids: Iterable[str] | None = None, *, progress: Progress = lambda done, of: None
    ) -> Collected:
        """Drop tensors that this memory's model will not ask for; None: of the whole namespace.

        Those of other models, and of chunks that are in their session or collection no more. It
        reads the logs: through a store with a ``ttl`` that is a use of every session.
        """
        self.tensors.flush()
        self.store.usage(self.namespace)  # what is counted for a quota is put right too
        return collect(self.store, self.engine, self._scopes(ids), self._cut, progress)

    def reencode(
        self, ids: Iterable[str] | None = None, *, progress: Progress = lambda done, of: None
    ) -> Reencoded:
        """Encode ahead of time what this memory's model has no tensors of, as after a change of it.

        ``ids``: sessions; None: every session and collection of the namespace. Begun again, it
        goes on where it ended.
        """
        self.tensors.flush()
        return reencode(self.store, self.engine, self._scopes(ids), self._cut, progress)

    def _scopes(self, ids: Iterable[str] | None = None) -> list[Scope]:
        if ids is not None:
            return [Scope(self.namespace, "session", id) for id in ids]
        return [info.scope for info in [*self.sessions(), *self.collections()]]

    def _cut(self, scope: Scope) -> list[Chunk]:
        is_session = scope.kind == "session"
        return (self.session if is_session else self.collection)(scope.name).chunks()


def _only(path: Path, histories: list[History], id: str) -> History:
    """The one session of a file, called ``id``."""
    if len(histories) != 1:
        raise InvalidInputError(
            f"{path} holds {len(histories)} sessions: they cannot all be called {id!r}"
        )
    return replace(histories[0], session=id)
