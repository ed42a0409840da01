"""``VisualMemory``: the front door."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import warnings
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

from vist2_memory.engine.base import Engine
from vist2_memory.engine.catalog import DEFAULT_MODEL, find_geometry, find_model, open_engine
from vist2_memory.errors import (
    ConflictError,
    InvalidInputError,
    StoreFormatError,
    StoreUnavailableError,
    StoreWarning,
)
from vist2_memory.memory.behind import WriteBehind
from vist2_memory.memory.collection import Collection
from vist2_memory.memory.lately import LatelyUsed
from vist2_memory.memory.recollection import Tensors
from vist2_memory.memory.session import EXPORT_FORMAT, EXPORT_VERSION, Session
from vist2_memory.memory.validation import check_role, check_text
from vist2_memory.store import JoinedStore, open_store
from vist2_memory.store.base import Scope, ScopeInfo, Store
from vist2_memory.types import Message

DEFAULT_STORE = "sqlite:///vist2.db"
CACHE_BYTES = 256 * 2**20
"""Of visual tokens, that a memory holds beside its store."""


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
        cache_bytes: int,
    ):
        """Use :meth:`open`."""
        self.store = store
        self.tensors = Tensors(store, LatelyUsed(cache_bytes), WriteBehind(store))
        self.namespace = namespace
        self._engine = model if isinstance(model, Engine) else None
        self._model = model
        self._device = device
        self._ratio = ratio
        self._lock = threading.Lock()
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._recent: deque[Session] = deque(maxlen=64)  # kept, so that their logs stay read
        self._opened: list[Store] = []  # what is closed with this memory

    @classmethod
    def open(
        cls,
        url: str | Store | None = None,
        *,
        tensors: str | Store | None = None,
        model: str | Path | Engine | None = None,
        namespace: str = "default",
        ratio: float | None = None,
        ttl: int | None = None,
        device: str | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> VisualMemory:
        """Open the memory in the store at ``url``.

        ``url``: ``sqlite:///file.db``, ``redis://``, ``rediss://``, ``unix://``,
        ``redis+sentinel://``, ``redis+cluster://`` or ``memory://``, or a store (default:
        ``VIST2_STORE``, or a SQLite file here). ``tensors``: another place for the visual tokens
        alone, which may be lost, such as a Redis that evicts keys when it is full. ``model``: a
        bundled model's name, a folder with a VIST2 checkpoint or a vision-language model, or the
        id of one on the Hugging Face hub (default: ``VIST2_MODEL``, or ``vist2-tiny``); or
        ``pages:`` and a provider, as in ``pages:openai``, for a memory that is drawn and read by a
        hosted model. ``ratio``: about how many text tokens a visual token stands for, one that a
        VIST2 model was trained on (default: the model's own choice). ``ttl``: seconds after which
        an unused session is forgotten. ``device``: as torch names it (default: ``VIST2_DEVICE``,
        or a GPU if there is one). ``cache_bytes``: of visual tokens that were used lately, to be
        held in this process beside the store; 0 for none.

        Raises ``StoreURLError``, ``StoreUnavailableError``, ``ModelNotFoundError``,
        ``InvalidScopeError``, or ``InvalidInputError`` for a ratio that is not offered. Warns
        (``StoreWarning``) of a server that may evict logs, and of tensors that are out of reach.
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
        if cache_bytes < 0:
            raise InvalidInputError(f"cache_bytes={cache_bytes} is not allowed: bytes, 0 or more")
        device = device or os.environ.get("VIST2_DEVICE") or None
        opened: list[Store] = []
        try:
            store = _open(url or os.environ.get("VIST2_STORE") or DEFAULT_STORE, ttl, opened)
            if tensors is not None:
                store = JoinedStore(store, _open(tensors, ttl, opened, away=True))
        except BaseException:
            for part in opened:
                part.close()
            raise
        _warn_of_eviction(store)
        memory = cls(store, model, namespace, device, ratio, cache_bytes)
        memory._opened = opened
        return memory

    @property
    def engine(self) -> Engine:
        """The engine, loaded at the first call."""
        with self._lock:
            if self._engine is None:
                assert isinstance(self._model, Path)
                self._engine = open_engine(self._model, self._ratio, self._device)
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

    def import_session(self, path: Path | str, id: str | None = None) -> Session:
        """Take in a session that was written by :meth:`Session.export`, under ``id`` if given.

        Raises ``StoreFormatError`` for a file of another kind and ``ConflictError`` when the
        session exists already with other messages; nothing is stored then.
        """
        name, messages = read_export(Path(path))
        session = self.session(id or name)
        count = self.store.count(session.scope)
        if count and _said(session.messages()) != _said(messages):
            raise ConflictError(
                f"session {session.id!r} exists already with {count} messages: delete it, or "
                "import under another id"
            )
        if not count:
            self.store.append(session.scope, messages, expected=0)
        return session

    def flush(self) -> None:
        """Wait until the visual tokens of all that was said are written.

        Messages are written when :meth:`Session.add` or an answer returns; only tensors follow.
        What could not be written is told in ``degraded`` of the session's next answer.
        """
        self.tensors.flush()

    def close(self) -> None:
        """Close the store and free the engine, unless they were passed in by the caller."""
        self.flush()
        for store in self._opened:
            store.close()
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


def _open(place: str | Store, ttl: int | None, opened: list[Store], away: bool = False) -> Store:
    """The store at ``place``; one that is opened for it is put into ``opened``."""
    if isinstance(place, Store):
        return place
    opened.append(open_store(place, ttl=ttl, away=away))
    return opened[-1]


def _warn_of_eviction(store: Store) -> None:
    try:
        risk = store.eviction()
    except StoreUnavailableError:
        return  # a client that was passed in: whoever uses the log first is told
    if risk is not None:
        warnings.warn(risk, StoreWarning, stacklevel=3)


def _page_engine(model: str | Path) -> Engine | None:
    """The engine of a name such as ``pages:openai``; it is light, and made at once."""
    from vist2_memory.engine.pages import PREFIX, PageEngine  # loads Pillow

    name = str(model)
    return PageEngine(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None


def _said(messages: list[Message]) -> list[tuple[str, str, str]]:
    return [(message.id, message.role, message.text) for message in messages]


def read_export(path: Path) -> tuple[str, list[Message]]:
    """The session id and the messages in a file that :meth:`Session.export` wrote."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise StoreUnavailableError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoreFormatError(f"{path} is no exported session: it is not UTF-8") from error
    try:
        header: dict[str, Any] = json.loads(lines[0])
        known = (header["format"], header["version"]) == (EXPORT_FORMAT, EXPORT_VERSION)
        known = known and isinstance(header["session"], str)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise StoreFormatError(
            f"{path} is no exported session: its first line is not "
            f'{{"format": "{EXPORT_FORMAT}", "version": {EXPORT_VERSION}, ...}}'
        )
    messages = []
    for number, line in enumerate(lines[1:], 2):
        try:
            fields = json.loads(line)
            message = Message(**{**fields, "cuts": tuple(fields["cuts"])})
            check_role(message.role)
            if message.text or message.role != "assistant":  # a model may have said nothing
                check_text(message.text)
            messages.append(message)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreFormatError(f"{path}:{number} holds no message: {error}") from error
    return str(header["session"]), messages
