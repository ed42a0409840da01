"""``VisualMemory``: the front door."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, cast
from weakref import WeakValueDictionary

from vist2_memory.engine.base import Engine
from vist2_memory.engine.catalog import DEFAULT_MODEL, find_geometry, find_model, open_engine
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.carrying import take_in, take_tensors
from vist2_memory.memory.collection import Collection
from vist2_memory.memory.exports import is_export, read_export
from vist2_memory.memory.histories import (
    Blocks,
    Form,
    History,
    Part,
    read_histories,
    to_messages,
)
from vist2_memory.memory.moving import Moved, move
from vist2_memory.memory.session import Session
from vist2_memory.memory.upkeep import Collected, Progress, Reencoded, collect, reencode
from vist2_memory.store import open_store
from vist2_memory.store.base import Quota, Scope, ScopeInfo, Store, StoreUsage
from vist2_memory.store.formats import DTYPES, DType
from vist2_memory.store.sealed import SealedStore, find_seal
from vist2_memory.types import Chunk

DEFAULT_STORE = "sqlite:///vist2.db"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import took in, in counts."""

    sessions: int
    messages: int
    new: int
    """Messages that were not there before."""
    warnings: tuple[str, ...] = ()
    """Content that is no text and was left out, by file and line."""


class VisualMemory:
    """Sessions and collections in one store, answered by one engine.

    The engine is loaded when it is first needed; a model that is not there is told at once.
    """

    def __init__(
        self,
        store: Store,
        model: Path | Engine,
        namespace: str,
        device: str | None,
        ratio: float | None,
        tensors_dtype: DType = "bfloat16",
    ):
        """Use :meth:`open`."""
        self.store = store
        self.namespace = namespace
        self._engine = model if isinstance(model, Engine) else None
        self._model = model
        self._device = device
        self._ratio = ratio
        self._tensors_dtype = tensors_dtype
        self._lock = threading.Lock()
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._recent: deque[Session] = deque(maxlen=64)  # kept, so that their logs stay read
        self._owns_store = True

    @classmethod
    def open(
        cls,
        url: str | Store | None = None,
        *,
        model: str | Path | Engine | None = None,
        namespace: str = "default",
        ratio: float | None = None,
        ttl: int | None = None,
        quota: Quota | None = None,
        device: str | None = None,
        tensors_dtype: DType | None = None,
        key: str | Sequence[str] | None = None,
        encryption_keys: str | Sequence[str] | None = None,
    ) -> VisualMemory:
        """Open the memory in the store at ``url``.

        ``url``: ``sqlite:///file.db``, ``redis://``, ``rediss://``, ``unix://``,
        ``redis+sentinel://``, ``redis+cluster://`` or ``memory://``, or a store (default:
        ``VIST2_STORE``, or a SQLite file here). ``model``: a bundled model's name, a folder with a
        VIST2 checkpoint or a vision-language model, or the id of one on the Hugging Face hub
        (default: ``VIST2_MODEL``, or ``vist2-tiny``); or ``pages:`` and a provider, as in
        ``pages:openai``, for a memory that is drawn and read by a hosted model. ``ratio``: about
        how many text tokens a visual token stands for, one that a VIST2 model was trained on
        (default: the model's own choice). ``ttl``: seconds after which an unused session is
        forgotten. ``quota``: what the namespace, and each session in it, may hold; kept by all that
        is written through this store. ``device``: as torch names it (default: ``VIST2_DEVICE``, or
        a GPU if there is one). ``tensors_dtype``: what visual tokens are stored in, bfloat16,
        float32 or int8 (default: ``VIST2_TENSORS_DTYPE``, or bfloat16). ``key`` signs what is
        stored, ``encryption_keys`` hide it too, each base64 of 32 bytes, of several the newest
        first (default: ``VIST2_STORE_KEY``, ``VIST2_ENCRYPTION_KEYS``; see docs/storage.md).

        Raises ``StoreURLError``, ``StoreUnavailableError``, ``ModelNotFoundError``,
        ``InvalidScopeError``, or ``InvalidInputError`` for a ratio that is not offered, a dtype, or
        keys that are none.
        """
        Scope(namespace, "session", "check")  # a bad namespace is told now, not at the first use
        if not isinstance(model, Engine):
            model = model or os.environ.get("VIST2_MODEL") or DEFAULT_MODEL
            model = _page_engine(model) or find_model(model)
        if ratio is not None:
            if isinstance(model, Engine):
                raise InvalidInputError(
                    f"ratio={ratio:g} is chosen where an engine is made, and only a VIST2 "
                    "checkpoint has several: leave it out"
                )
            find_geometry(model, ratio)  # one that is not offered is told now
        device = device or os.environ.get("VIST2_DEVICE") or None
        dtype = _tensors_dtype(tensors_dtype, model)
        seal = None if isinstance(url, SealedStore) else find_seal(key, encryption_keys)
        if isinstance(url, SealedStore) and (key or encryption_keys):
            raise InvalidInputError("the store that was given has keys already: give no others")
        if isinstance(url, Store):
            store = url
        else:
            store = open_store(url or os.environ.get("VIST2_STORE") or DEFAULT_STORE, ttl=ttl)
        if quota is not None:
            store.limit(namespace, quota)
        kept = store if seal is None else SealedStore(store, seal)
        memory = cls(kept, model, namespace, device, ratio, dtype)
        memory._owns_store = store is not url
        return memory

    @property
    def engine(self) -> Engine:
        """The engine, loaded at the first call."""
        with self._lock:
            if self._engine is None:
                assert isinstance(self._model, Path)
                self._engine = open_engine(
                    self._model, self._ratio, self._device, self._tensors_dtype
                )
            return self._engine

    def session(self, id: str) -> Session:
        """The session called ``id``, which need not exist yet."""
        scope = Scope(self.namespace, "session", id)
        with self._lock:
            session = self._sessions.get(id)
            if session is None:
                session = self._sessions[id] = Session(self, scope)
                self._recent.append(session)
            return session

    def collection(self, name: str) -> Collection:
        """The collection called ``name``, which need not exist yet."""
        return Collection(self, Scope(self.namespace, "collection", name))

    def sessions(self) -> list[ScopeInfo]:
        """The sessions of this namespace."""
        return self.store.scopes(self.namespace, "session")

    def collections(self) -> list[ScopeInfo]:
        """The collections of this namespace."""
        return self.store.scopes(self.namespace, "collection")

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
        target = self._opened(to) if isinstance(to, str) else to.store
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

    def _opened(self, url: str) -> Store:
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
        self.store.usage(self.namespace)  # what is counted for a quota is put right too
        return collect(self.store, self.engine, self._scopes(ids), self._cut, progress)

    def reencode(
        self, ids: Iterable[str] | None = None, *, progress: Progress = lambda done, of: None
    ) -> Reencoded:
        """Encode ahead of time what this memory's model has no tensors of, as after a change of it.

        ``ids``: sessions; None: every session and collection of the namespace. Begun again, it
        goes on where it ended.
        """
        return reencode(self.store, self.engine, self._scopes(ids), self._cut, progress)

    def _scopes(self, ids: Iterable[str] | None = None) -> list[Scope]:
        if ids is not None:
            return [Scope(self.namespace, "session", id) for id in ids]
        return [info.scope for info in [*self.sessions(), *self.collections()]]

    def _cut(self, scope: Scope) -> list[Chunk]:
        is_session = scope.kind == "session"
        return (self.session if is_session else self.collection)(scope.name).chunks()

    def close(self) -> None:
        """Close the store and free the engine, unless they were passed in by the caller."""
        if self._owns_store:
            self.store.close()
        if self._engine is not None and self._engine is not self._model:
            self._engine.close()

    async def aclose(self) -> None:
        """:meth:`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> VisualMemory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> VisualMemory:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _page_engine(model: str | Path) -> Engine | None:
    """The engine of a name such as ``pages:openai``; it is light, and made at once."""
    from vist2_memory.engine.pages import PREFIX, PageEngine  # loads Pillow

    name = str(model)
    return PageEngine(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None


def _tensors_dtype(asked: str | None, model: Path | Engine) -> DType:
    """``asked``, or what the environment says; raises ``InvalidInputError``."""
    if isinstance(model, Engine):
        if asked is not None:
            raise InvalidInputError(
                f"tensors_dtype={asked!r} is chosen where an engine is made: leave it out"
            )
        return model.spec.tensors.dtype
    dtype = asked or os.environ.get("VIST2_TENSORS_DTYPE") or "bfloat16"
    if dtype not in DTYPES:
        raise InvalidInputError(
            f"tensors_dtype={dtype!r} is not allowed: give one of {', '.join(DTYPES)}"
        )
    return cast(DType, dtype)


def _only(path: Path, histories: list[History], id: str) -> History:
    """The one session of a file, called ``id``."""
    if len(histories) != 1:
        raise InvalidInputError(
            f"{path} holds {len(histories)} sessions: they cannot all be called {id!r}"
        )
    return replace(histories[0], session=id)
