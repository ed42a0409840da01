"""``VisualMemory``: the front door."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

from vist2_memory.engine.base import Engine
from vist2_memory.engine.pages import PageEngine
from vist2_memory.errors import (
    InvalidInputError,
    StoreError,
)
from vist2_memory.memory import opening
from vist2_memory.memory.asking import Asking
from vist2_memory.memory.behind import WriteBehind
from vist2_memory.memory.collection import Collection
from vist2_memory.memory.housekeeping import Housekeeping
from vist2_memory.memory.lately import LatelyUsed
from vist2_memory.memory.recollection import Tensors
from vist2_memory.memory.replay import Replayed, replay
from vist2_memory.memory.session import Session
from vist2_memory.selection import Policy, find_policy, recent
from vist2_memory.store import AsyncStore
from vist2_memory.store.asynchronous import asynchronous
from vist2_memory.store.base import Quota, Scope, ScopeInfo, Store
from vist2_memory.store.formats import DType
from vist2_memory.store.outbox import Outbox

DEFAULT_STORE = "sqlite:///vist2.db"
CACHE_BYTES = 256 * 2**20
"""Of visual tokens, that a memory holds beside its store."""


class VisualMemory(Housekeeping, Asking):
    """Sessions and collections in one store, answered by one engine.

    The engine is loaded when it is first needed; a model that is not there is told at once.
    """

    def __init__(
        self,
        store: Store,
        model: Path | Engine | None,
        namespace: str,
        load: Callable[[], Engine],
        cache_bytes: int = CACHE_BYTES,
        outbox: Outbox | None = None,
        selection: Policy = recent,
    ):
        """Use :meth:`open`."""
        self.store = store
        self.async_store = asynchronous(store)
        lately = LatelyUsed(cache_bytes)
        behind = WriteBehind(store, failed=lately.not_stored)
        self.tensors = Tensors(store, lately, behind)
        self.outbox = outbox
        self.selection = selection
        self.namespace = namespace
        self._engine = model if isinstance(model, Engine) else None
        self._model = model
        self._load = load
        self._lock = threading.Lock()
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._recent: deque[Session] = deque(maxlen=64)  # kept, so that their logs stay read
        self._collections: WeakValueDictionary[str, Collection] = WeakValueDictionary()
        self._recent_collections: deque[Collection] = deque(maxlen=16)  # likewise
        self._opened: list[Store] = []  # what is closed with this memory

    @classmethod
    def open(
        cls,
        url: str | Store | AsyncStore | None = None,
        *,
        tensors: str | Store | None = None,
        model: str | Path | Engine | None = None,
        namespace: str = "default",
        ratio: float | None = None,
        ttl: int | None = None,
        device: str | None = None,
        tensors_dtype: DType | None = None,
        cache_bytes: int = CACHE_BYTES,
        quota: Quota | None = None,
        key: str | Sequence[str] | None = None,
        encryption_keys: str | Sequence[str] | None = None,
        outbox: str | Path | None = "default",
        selection: Policy | str = "recent",
        engine: str | None = None,
        engine_options: Mapping[str, Any] | None = None,
    ) -> VisualMemory:
        """Open the memory in the store at ``url``.

        ``url``: ``sqlite:///file.db``, ``redis://``, ``rediss://``, ``unix://``,
        ``redis+sentinel://``, ``redis+cluster://`` or ``memory://``, or a store, for
        threads or for event loops (default:
        ``VIST2_STORE``, or a SQLite file here). ``tensors``: another place for the visual tokens
        alone, which may be lost, such as a Redis that evicts keys when it is full. ``model``: a
        bundled model's name, a folder with a VIST2 checkpoint or a vision-language model, or the
        id of one on the Hugging Face hub (default: ``VIST2_MODEL``, or ``vist2-tiny``); or
        ``pages:`` and a provider, as in ``pages:openai``, for a memory that is drawn and read by a
        hosted model. ``ratio``: about how many text tokens a visual token stands for, one that a
        VIST2 model was trained on (default: the model's own choice). ``ttl``: seconds after which
        an unused session is forgotten. ``device``: as torch names it (default: ``VIST2_DEVICE``,
        or a GPU if there is one).

        ``tensors_dtype``: what visual tokens are stored in, bfloat16, float32 or int8 (default:
        ``VIST2_TENSORS_DTYPE``, or bfloat16). ``cache_bytes``: of visual tokens that were used
        lately, to be held in this process beside the store; 0 for none. ``quota``: what the
        namespace, and each session in it, may hold; kept by all that is written through this store.
        ``key`` signs what is
        stored, ``encryption_keys`` hide it too, each base64 of 32 bytes, of several the newest
        first (default: ``VIST2_STORE_KEY``, ``VIST2_ENCRYPTION_KEYS``; see docs/storage.md).
        ``outbox``: the file that keeps answers which the store could not take, until it can; None
        for no such file (default: ``VIST2_OUTBOX``, or ``outbox.db`` in the user's state folder;
        none for a store in memory). ``selection``: how to choose what is read where not all fits,
        unless a question says it: see :class:`ReadingOptions`.

        ``engine``: what runs the model: ``torch``, in this process; ``vllm``, vLLM in this
        process; ``vllm+http://host:8000``, a vLLM server; or ``http://host:8000``, the model that
        ``vist2 serve`` serves there (default: ``VIST2_ENGINE``, or ``torch``). ``engine_options``:
        see :class:`EngineOptions`, as ``{"kv_dtype": "int8"}``; for a server ``api_key`` (default:
        ``VIST2_API_KEY``) and ``timeout`` in seconds.

        Raises ``StoreURLError``, ``StoreUnavailableError``, ``ModelNotFoundError``,
        ``InvalidScopeError``, or ``InvalidInputError`` for a ratio that is not offered, a dtype, a
        selection, an engine or an option of it that is not known, or keys that are none. Warns
        (``StoreWarning``) of a server that may evict logs, and of tensors that are out of reach.
        """
        Scope(namespace, "session", "check")  # a bad namespace is told now, not at the first use
        if cache_bytes < 0:
            raise InvalidInputError(f"cache_bytes={cache_bytes} is not allowed: bytes, 0 or more")
        found, load = opening.model(
            model, engine, engine_options, ratio=ratio, device=device, tensors_dtype=tensors_dtype
        )
        if isinstance(url, AsyncStore):
            url = url.synchronous()
        if not isinstance(url, (str, Store, type(None))):
            raise TypeError(
                f"url is a {type(url).__module__}.{type(url).__qualname__}: give a URL or a store; "
                "a client of redis-py is passed in as RedisStore(client) or, one of redis.asyncio, "
                "AsyncRedisStore(client), both in vist2_memory.store.redis"
            )
        policy = find_policy(selection)
        opened: list[Store] = []
        try:
            place = url or os.environ.get("VIST2_STORE") or DEFAULT_STORE
            store = opening.store(place, tensors, ttl, key, encryption_keys, opened)
            if quota is not None:
                store.limit(namespace, quota)
            kept = opening.outbox(outbox, store)
        except BaseException:
            for part in opened:
                part.close()
            raise
        memory = cls(store, found, namespace, load, cache_bytes, kept, policy)
        memory._opened = opened
        memory.replay()
        return memory

    @classmethod
    async def aopen(
        cls, url: str | Store | AsyncStore | None = None, **options: Any
    ) -> VisualMemory:
        """:meth:`open`, without blocking the event loop."""
        return await asyncio.to_thread(cls.open, url, **options)

    @property
    def engine(self) -> Engine:
        """The engine, loaded at the first call."""
        with self._lock:
            if self._engine is None:
                self._engine = self._load()
            return self._engine

    @property
    def draws_pages(self) -> bool:
        """Whether it was opened with ``pages:``, for hosted models; loads no engine."""
        return isinstance(self._model, PageEngine)

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
        scope = Scope(self.namespace, "collection", name)
        with self._lock:
            collection = self._collections.get(name)
            if collection is None:
                collection = self._collections[name] = Collection(self, scope)
                self._recent_collections.append(collection)
            return collection

    def sessions(self) -> list[ScopeInfo]:
        """The sessions of this namespace."""
        return self.store.scopes(self.namespace, "session")

    def collections(self) -> list[ScopeInfo]:
        """The collections of this namespace."""
        return self.store.scopes(self.namespace, "collection")

    async def asessions(self) -> list[ScopeInfo]:
        """:meth:`sessions`, without blocking the event loop; Redis is asked without a thread."""
        return await self.async_store.scopes(self.namespace, "session")

    async def acollections(self) -> list[ScopeInfo]:
        """:meth:`collections`, without blocking the event loop; Redis is asked without a thread."""
        return await self.async_store.scopes(self.namespace, "collection")

    def replay(self, *, aside: bool = False) -> Replayed:
        """Log the answers of this namespace that the outbox keeps; what became of them, in counts.

        Every use of a session does this for that session. ``aside``: try those again that could
        not be logged, as where a backup was restored since. Raises ``StoreError`` for an outbox
        that cannot be used; what the store does not take waits on.
        """
        if self.outbox is None:
            return Replayed()
        found = self.outbox.entries(self.store.identity)
        scopes = dict.fromkeys(k.scope for k in found if k.scope.namespace == self.namespace)
        parts = []
        for scope in scopes:
            try:
                parts.append(replay(self.store, self.outbox, scope, aside=aside))
            except StoreError:
                of = [k for k in self.outbox.entries(self.store.identity, scope)]
                set_aside = sum(bool(kept.aside) for kept in of)
                parts.append(Replayed(waiting=len(of) - set_aside, aside=set_aside))
        return Replayed(
            logged=sum(part.logged for part in parts),
            waiting=sum(part.waiting for part in parts),
            aside=sum(part.aside for part in parts),
        )

    def drop_kept(self, scope: Scope) -> None:
        """Drop the keys and values that the engine keeps of a session, if there is an engine."""
        if self._engine is not None:
            self._engine.forget(scope.key)

    def flush(self) -> None:
        """Wait until the visual tokens of all that was said are written.

        Messages are written when :meth:`Session.add` or an answer returns; only tensors follow.
        What could not be written is told in ``degraded`` of the session's next answer.
        """
        self.tensors.flush()

    def close(self) -> None:
        """Close the store and free the engine, unless they were passed in by the caller."""
        self.flush()
        if self.outbox is not None:
            self.outbox.close()
        for store in self._opened:
            store.close()
        if self._engine is not None and self._engine is not self._model:
            self._engine.close()

    async def aclose(self) -> None:
        """:meth:`close`, without blocking the event loop, and with its connections closed."""
        await asyncio.to_thread(self.flush)
        for store in self._opened:
            await asynchronous(store).close()
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
