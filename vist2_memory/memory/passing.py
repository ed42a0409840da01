"""Answers to conversations that are handed over whole with each call, and logged nowhere.

Their chunks are known by content, so a list that grows from call to call has only its new chunks
encoded, and two that share a beginning share its tensors. What a call reads is made of its own
messages alone.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, Unpack

from vist2_memory.engine.base import Engine
from vist2_memory.memory.context import assemble, check_answers, completed
from vist2_memory.memory.memory import CACHE_BYTES, VisualMemory
from vist2_memory.memory.reading import Reading, ReadingOptions, reading
from vist2_memory.memory.streams import from_thread
from vist2_memory.memory.transcript import Transcript
from vist2_memory.memory.validation import check_said
from vist2_memory.store import InMemoryStore, Store
from vist2_memory.store.base import Scope
from vist2_memory.types import GenerationEvent, GenerationParams, Message

DAY = 86_400
"""Seconds that tensors of such conversations are kept in a store after their last use."""


class Passing:
    """Conversations that pass through; their tensors are kept for a while.

    In this process the least recently used go first when there are ``cache_bytes`` of them. With a
    ``tensors`` store they go there too, under scopes of their own, one a day, each of which ends
    ``ttl`` seconds after its last use.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        tensors: str | Store | None = None,
        namespace: str = "default",
        ttl: int | None = None,
        cache_bytes: int = CACHE_BYTES,
        **keys: Any,
    ) -> None:
        """``keys``: as ``VisualMemory.open`` takes them. Raises what that raises."""
        ttl = None if tensors is None else ttl or DAY
        self._memory = VisualMemory.open(
            InMemoryStore(ttl=ttl),
            tensors=_Nowhere() if tensors is None else tensors,
            model=engine,
            namespace=namespace,
            ttl=ttl,
            cache_bytes=cache_bytes,
            outbox=None,
            **keys,
        )
        self._by_day = tensors is not None

    def complete(
        self,
        messages: Sequence[Message],
        *,
        keep_recent: int | None = None,
        params: GenerationParams | None = None,
        **options: Unpack[ReadingOptions],
    ) -> Iterator[GenerationEvent]:
        """Generate what comes after ``messages``.

        The last ``keep_recent`` of them, and as many tokens before as the model was made to keep
        (with None: these alone), are read as text, older ones as visual tokens. ``options``: as
        for ``Session.complete``, which also says what is raised.
        """
        if keep_recent is not None and keep_recent < 0:
            raise ValueError(f"keep_recent={keep_recent!r} is not allowed: messages, 0 or more")
        for message in messages:
            check_said(message)
        params = params or GenerationParams()
        check_answers(self._memory.engine, params)
        read = reading(options, self._memory.selection)
        return self._complete(messages, keep_recent or 0, read, params)

    def acomplete(
        self, messages: Sequence[Message], **options: Any
    ) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`complete`, without blocking the event loop; cancelling stops the generation."""
        return from_thread(lambda: self.complete(messages, **options))

    def close(self) -> None:
        """Close the store; the engine stays open."""
        self._memory.close()

    def _complete(
        self,
        messages: Sequence[Message],
        keep_recent: int,
        read: Reading,
        params: GenerationParams,
    ) -> Iterator[GenerationEvent]:
        engine, scope = self._memory.engine, self._scope()
        flow = [message for message in messages if message.role != "system"]
        recent = flow[max(0, len(flow) - keep_recent) :] if keep_recent else []
        state = Transcript(engine.chunker, engine.spec.layout, engine.spec.tail_limit)
        state.take(message for message in messages if message.role == "system")
        state.take(flow[: len(flow) - len(recent)])
        tensors = self._memory.tensors
        assembled = assemble(tensors, engine, scope, state, read, params, recent=recent)
        yield from completed(engine, assembled, params, state.tail_start)

    def _scope(self) -> Scope:
        """Where tensors are kept now; its log has a note, since a scope without any is deleted."""
        today = time.strftime(" %Y-%m-%d", time.gmtime()) if self._by_day else ""
        scope = Scope(self._memory.namespace, "collection", f"(conversations in passing){today}")
        store = self._memory.store
        if not store.count(scope):
            store.append(scope, [Message("system", "tensors of conversations in passing", "note")])
        return scope


class _Nowhere(InMemoryStore):
    """Takes tensors and keeps none: what was used lately is held elsewhere."""

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        pass
