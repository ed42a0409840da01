"""``ChatVIST2``: a chat model whose conversations are kept as visual tokens.

Three things happen to a message list: it is compared with the session (``continuation``), what is
new is added, and its last message is asked, with the answer streamed as LangChain's chunks
(``replies``).
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import (
    agenerate_from_stream,
    generate_from_stream,
)
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field, PrivateAttr, field_validator, model_validator

from langchain_vist2.continuation import Continuation, continuation
from langchain_vist2.messages import Entry, to_entries
from langchain_vist2.replies import Reply
from vist2_memory import GenerationParams, Session, VisualMemory
from vist2_memory.engine.base import Engine
from vist2_memory.engine.catalog import DEFAULT_MODEL
from vist2_memory.memory.validation import check_text
from vist2_memory.store import Store
from vist2_memory.text.transcript import write_message

_PARAMS = ("max_tokens", "temperature", "top_p", "top_k", "seed")
_NO_NETWORK = ("api_key", "max_retries", "timeout")
"""Standard parameters of LangChain that say nothing to a model in this process: let pass."""


class ChatVIST2(BaseChatModel):
    """A VIST2 model in this process, with memory.

    With a ``session_id``, given here, by ``.bind(session_id=...)`` or with the call, the
    conversation is kept in ``store``, and a chain need send only what is new;
    ``langchain_vist2.continuation`` says exactly what becomes of a message list, and when it is a
    ``ConflictError``. Without one it is an ordinary chat model: the list is all it knows,
    compressed all the same, and nothing is kept.

    Store and model are opened when they are first needed, once, and freed by :meth:`close`. Every
    field from ``max_tokens`` on can be given with a call too.

    Raises what the library raises, e.g. ``InvalidMessageError`` for images and for a list that does
    not end with a human message, and ``ContextOverflowError`` for a question too long to be read.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: str | Engine | None = None
    """A bundled model's name, a checkpoint folder, or an engine; ``VIST2_MODEL`` if not given."""
    store: str | Store | None = Field(default=None, repr=False)
    """Where sessions are kept, as a URL or an open store; ``VIST2_STORE`` if not given."""
    ratio: float | None = None
    """About how many text tokens a visual token stands for; the model's own choice if None."""
    namespace: str = "default"
    """The tenant that the sessions belong to."""
    ttl: int | None = None
    """Seconds after its last use that a session is kept; None: for ever."""
    device: str | None = None
    """As torch names it; ``VIST2_DEVICE``, or a GPU if there is one."""
    max_tokens: int = 256
    """New text tokens at most."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Above 0 and at most 1, which is off."""
    top_k: int = 0
    """0 is off."""
    seed: int | None = None
    """Makes sampling repeatable."""
    stop: list[str] = Field(default_factory=list)
    """Texts before which the answer ends."""
    session_id: str | None = None
    """The session of every call that does not name one; None: no memory."""
    streaming: bool = False
    """Whether ``invoke`` tells its callbacks of every piece of text."""

    _lock: Any = PrivateAttr(default_factory=threading.RLock)
    _memory: VisualMemory | None = PrivateAttr(default=None)
    _engine: Engine | None = PrivateAttr(default=None)

    # What it is made of

    @model_validator(mode="before")
    @classmethod
    def _leave_out_network(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if name not in _NO_NETWORK}

    @field_validator("model", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        return str(value.absolute()) if isinstance(value, Path) else value

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop_or_none(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value or []

    @model_validator(mode="after")
    def _check_params(self) -> ChatVIST2:
        self._params(None, {})
        return self

    @property
    def memory(self) -> VisualMemory:
        """The memory that the sessions live in, opened at the first use."""
        with self._lock:
            if self._memory is None:
                self._memory = VisualMemory.open(
                    self.store,
                    model=self._engine or self.model,
                    ratio=None if self._engine else self.ratio,
                    namespace=self.namespace,
                    ttl=self.ttl,
                    device=self.device,
                )
            return self._memory

    @property
    def engine(self) -> Engine:
        """The engine that answers, loaded at the first use."""
        with self._lock:
            if self._engine is None:
                owner = self._memory or VisualMemory.open(
                    "memory://", model=self.model, ratio=self.ratio, device=self.device
                )
                self._engine = owner.engine
            return self._engine

    def close(self) -> None:
        """Close the store and free the model. The next call opens them again."""
        with self._lock:
            if self._memory is not None:
                self._memory.close()
            if self._engine is not None:
                self._engine.close()
            self._memory = self._engine = None

    async def aclose(self) -> None:
        """:meth:`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    # Answering

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        params, id = self._params(stop, kwargs), self._session_id(kwargs)
        given = to_entries(messages)
        session = self._session(id)
        plan = continuation(session.messages(), given)
        for entry, turn in _checked(plan):
            session.add(entry.role, entry.text, turn=turn, payload=entry.payload)
        reply = Reply(self.engine.spec.model)
        for event in session.stream(plan.question, params=params, turn=plan.turn):
            if chunk := reply.chunk(event):
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        params, id = self._params(stop, kwargs), self._session_id(kwargs)
        given = to_entries(messages)
        session = await asyncio.to_thread(self._session, id)
        plan = continuation(await session.amessages(), given)
        for entry, turn in _checked(plan):
            await session.aadd(entry.role, entry.text, turn=turn, payload=entry.payload)
        reply = Reply((await asyncio.to_thread(lambda: self.engine)).spec.model)
        events: Any = session.astream(plan.question, params=params, turn=plan.turn)
        async with aclosing(events):  # a cancelled stream stops its generation now, not some day
            async for event in events:
                if chunk := reply.chunk(event):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    def _session(self, id: str | None) -> Session:
        """The session called ``id``, or one that nobody else sees and that leaves nothing."""
        if id is not None:
            return self.memory.session(id)
        return VisualMemory.open("memory://", model=self.engine).session("one call")

    def _session_id(self, kwargs: Mapping[str, Any]) -> str | None:
        id: str | None = kwargs.get("session_id")
        return self.session_id if id is None else id

    def _params(self, stop: Sequence[str] | None, kwargs: Mapping[str, Any]) -> GenerationParams:
        """The fields, with what the call says instead; an option that is not known is an error."""
        unknown = sorted(set(kwargs) - {*_PARAMS, "session_id", "stream"})
        if unknown:
            raise TypeError(
                f"ChatVIST2 does not know the option {unknown[0]!r}: a call takes stop, "
                f"session_id, {', '.join(_PARAMS)}"
            )
        chosen = {name: getattr(self, name) for name in _PARAMS}
        chosen |= {name: kwargs[name] for name in _PARAMS if kwargs.get(name) is not None}
        return GenerationParams(stop=tuple(self.stop if stop is None else stop), **chosen)

    # Counting

    def get_num_tokens(self, text: str) -> int:
        """Text tokens of ``text``, by the model's own tokenizer."""
        return self.engine.chunker.count(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Text tokens of ``messages`` as they stand in a transcript, before any is compressed."""
        if tools is not None:
            raise NotImplementedError("ChatVIST2 does not take tools yet")
        return sum(
            self.get_num_tokens(write_message(entry.role, entry.text))
            for entry in to_entries(messages)
        )

    def get_token_ids(self, text: str) -> list[int]:
        """The base class's, with ``custom_get_token_ids``; the model's own ids are not for callers.

        Without that LangChain would load GPT-2's tokenizer, whose counts are wrong here.
        """
        if self.custom_get_token_ids is None:
            raise NotImplementedError("ChatVIST2 counts tokens (get_num_tokens), it has no ids")
        return self.custom_get_token_ids(text)

    # What LangChain asks

    @property
    def _llm_type(self) -> str:
        return "vist2"

    @property
    def _model_name(self) -> str:
        if isinstance(self.model, Engine):
            return self.model.spec.model
        return self.model or DEFAULT_MODEL

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        own = ("ratio", "namespace", "ttl", "device", *_PARAMS, "stop", "session_id")
        return {
            "model": self._model_name,
            "store": self._described_store(),
            **{name: getattr(self, name) for name in own},
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = super()._get_ls_params(stop=self.stop if stop is None else stop, **kwargs)
        return {"ls_model_name": self._model_name, **params, "ls_provider": "vist2"}

    def _described_store(self) -> str | None:
        """The store's URL without user and password."""
        if self.store is None or isinstance(self.store, Store):
            return self.store.describe() if self.store else None
        if not _has_login(self.store):
            return self.store
        scheme, mark, rest = self.store.partition("://")
        return scheme + mark + rest.rpartition("@")[2].partition("?")[0]

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The key in LangChain's cache; no two calls share one where a session is to be told."""
        key = super()._get_llm_string(stop=stop, **kwargs)
        return key if self._session_id(kwargs) is None else f"{key}---{uuid.uuid4().hex}"

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """``dumpd`` and ``load`` work where model and store are names, not objects."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """A store's URL that has a password in it is never written down."""
        return {"store": "VIST2_STORE"} if _has_login(self.store) else {}


def _has_login(store: str | Store | None) -> bool:
    """Whether ``store`` is a URL with a user or a password."""
    if not isinstance(store, str):
        return False
    host = store.partition("://")[2].partition("/")[0]
    return "@" in host or "password=" in store


def _checked(plan: Continuation) -> list[tuple[Entry, str]]:
    """What ``plan`` adds, each with its turn; none of it is stored when one cannot be."""
    check_text(plan.question, "question")
    turns, turn = [], ""
    for entry in plan.added:
        if entry.role == "user":
            turn = uuid.uuid4().hex
        turns.append((entry, "" if entry.role == "system" else turn))
    return turns
