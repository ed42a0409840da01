"""What a chat model is made of: a memory, an engine and their settings, opened when needed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel, ModelProfile
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator, model_validator

from langchain_vist2.chat.profiles import profile_of
from langchain_vist2.errors import InvalidInputError, told_as_langchains
from vist2_memory import VisualMemory
from vist2_memory.engine.base import Engine
from vist2_memory.engine.catalog import DEFAULT_MODEL, find_model
from vist2_memory.engine.remote.client import Client
from vist2_memory.engine.remote.engine import RemoteEngine
from vist2_memory.memory.passing import Passing
from vist2_memory.store import Store

_NO_NETWORK = ("api_key", "max_retries", "timeout")
"""Standard parameters of LangChain that say nothing to a model in this process: let pass."""
_THERE = (
    "store",
    "key",
    "encryption_keys",
    "ratio",
    "ttl",
    "device",
    "engine_name",
    "engine_options",
)
"""What is chosen where the server is started."""


class Opened(BaseChatModel):
    """The part of ``ChatVIST2`` that opens and closes store and model, each once."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    model: str | Engine | None = None
    """A bundled model's name, a checkpoint folder, or an engine; ``VIST2_MODEL`` if not given."""
    store: str | SecretStr | Store | None = Field(
        default_factory=lambda: os.environ.get("VIST2_STORE") or None,
        repr=False,
        validate_default=True,
    )
    """Where sessions are kept, as a URL or an open store; ``VIST2_STORE`` if not given."""
    key: SecretStr | None = None
    """Signs what is stored, see ``VisualMemory.open``; ``VIST2_STORE_KEY`` if not given."""
    encryption_keys: SecretStr | None = None
    """Hide what is stored, several with commas; ``VIST2_ENCRYPTION_KEYS`` if not given."""
    ratio: float | None = None
    """About how many text tokens a visual token stands for; the model's own choice if None."""
    namespace: str = "default"
    """The tenant that the sessions belong to."""
    ttl: int | None = None
    """Seconds after its last use that a session is kept; None: for ever."""
    device: str | None = None
    """As torch names it; ``VIST2_DEVICE``, or a GPU if there is one."""
    engine_name: str | None = Field(default=None, alias="engine")
    """What runs the model, ``torch``, ``vllm`` or ``vllm+http://host:8000``; see
    ``VisualMemory.open``. ``VIST2_ENGINE`` if not given."""
    engine_options: dict[str, Any] | None = Field(default=None, repr=False)
    """How it is run, as ``{"kv_dtype": "fp8"}``; see ``EngineOptions``."""

    base_url: str | None = None
    """A server, ``vist2 serve``, as ``http://gpu-host:8000/v1``: model, sessions and collections
    are there, in the namespace of the key."""
    api_key: SecretStr | None = None
    """The server's key; ``VIST2_API_KEY`` if not given."""
    timeout: float | None = None
    """Seconds that the server may take to say anything."""

    _lock: Any = PrivateAttr(default_factory=threading.RLock)
    _client: Client | None = PrivateAttr(default=None)
    _memory: VisualMemory | None = PrivateAttr(default=None)
    _passing: Passing | None = PrivateAttr(default=None)
    _engine: Engine | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_network(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        unused = ("max_retries",) if values.get("base_url") else _NO_NETWORK
        return {name: value for name, value in values.items() if name not in unused}

    @model_validator(mode="after")
    def _refuse_what_a_server_chooses(self) -> Opened:
        given = [n for n in _THERE if n in self.model_fields_set and getattr(self, n) is not None]
        if isinstance(self.model, Engine):
            given.append("model")
        if self.base_url is not None and given:
            raise InvalidInputError(
                f"{given[0]} is chosen where the server at {self.base_url} is started: leave it out"
            )
        return self

    @field_validator("model", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        return str(value.absolute()) if isinstance(value, Path) else value

    @field_validator("store", mode="before")
    @classmethod
    def _hide_login(cls, value: Any) -> Any:
        return SecretStr(value) if isinstance(value, str) and _has_login(value) else value

    @field_validator("encryption_keys", mode="before")
    @classmethod
    def _one_of_several(cls, value: Any) -> Any:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return ",".join(_revealed(key) for key in value)
        return value

    @property
    def memory(self) -> VisualMemory:
        """The memory that the sessions live in, opened at the first use.

        Raises ``InvalidInputError`` where it is on a server.
        """
        with self._lock, told_as_langchains():
            if self.base_url is not None:
                raise InvalidInputError(
                    f"sessions and collections are on the server at {self.base_url}: use its "
                    "/v1/sessions and /v1/collections"
                )
            if self._memory is None:
                self._memory = VisualMemory.open(
                    self._place(),
                    model=self._engine or self.model,
                    ratio=None if self._engine else self.ratio,
                    namespace=self.namespace,
                    ttl=self.ttl,
                    device=self.device,
                    **({} if self._engine else self._run_by()),
                    **self._keys(),
                )
            return self._memory

    @property
    def engine(self) -> Engine:
        """The engine that answers, loaded at the first use."""
        with self._lock, told_as_langchains():
            if self._engine is None and self.base_url is not None:
                self._engine = RemoteEngine(self.base_url, **self._access())
            if self._engine is None:
                owner = self._memory or VisualMemory.open(
                    "memory://",
                    model=self.model,
                    ratio=self.ratio,
                    device=self.device,
                    **self._run_by(),
                )
                self._engine = owner.engine
            return self._engine

    @property
    def client(self) -> Client:
        """The connections to the server."""
        with self._lock:
            if self._client is None:
                assert self.base_url is not None
                self._client = Client(self.base_url, **self._access())
            return self._client

    def check_same(self, engine: Engine) -> None:
        """Raise ``InvalidInputError`` if this is a chat model of another model than ``engine`` is.

        One that was made without a model's name answers with any; nothing is loaded if a name says
        enough.
        """
        own = self.model if isinstance(self.model, Engine) else self._engine
        if own is None and self.ratio is None:
            if self.model is None or find_model(str(self.model)).name == engine.spec.model:
                return
        elif (own or self.engine).spec.fingerprint == engine.spec.fingerprint:
            return
        raise InvalidInputError(
            f"the chat model is of {self._model_name!r}, the memory of {engine.spec.model!r}, and "
            "visual tokens can be read by the model that made them only: give both the same "
            "engine, as in ChatVIST2(model=memory.engine)"
        )

    @property
    def passing(self) -> Passing:
        """What answers calls without a session; their tensors go to ``store`` if it is given.

        A store that is open already takes them only if what it holds ends some time, and one in
        this process would only hold them twice.
        """
        with self._lock, told_as_langchains():
            if self._passing is None:
                place, ttl = self._place(), self.ttl
                if isinstance(place, Store):
                    place, ttl = (place, place.ttl) if place.ttl else (None, None)
                self._passing = Passing(
                    self.engine,
                    tensors=None if place == "memory://" else place,
                    namespace=self.namespace,
                    ttl=ttl,
                    **self._keys(),
                )
            return self._passing

    def close(self) -> None:
        """Close the store and free the model, unless it was passed in. The next call opens them
        again."""
        with self._lock:
            for part in (self._memory, self._passing, self._engine, self._client):
                if part is not None and part is not self.model:  # an engine passed in stays open
                    part.close()
            self._memory = self._passing = self._engine = self._client = None

    async def aclose(self) -> None:
        """:meth:`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    # What LangChain asks of it

    @property
    def _model_name(self) -> str:
        if isinstance(self.model, Engine):
            return self.model.spec.model
        return self.model or DEFAULT_MODEL

    def _resolve_model_profile(self) -> ModelProfile | None:
        return None if self.base_url else profile_of(self.model, self.ratio)

    def _described_store(self) -> str | None:
        """The store's URL without user and password."""
        if self.store is None or isinstance(self.store, Store):
            return self.store.describe() if self.store else None
        if isinstance(self.store, str):
            return self.store
        scheme, mark, rest = self.store.get_secret_value().partition("://")
        return scheme + mark + rest.rpartition("@")[2].partition("?")[0]

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """``dumpd`` and ``load`` work where model and store are names, not objects."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where ``load`` finds the class: not where it lies, which may change."""
        return ["langchain_vist2"]

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Keys, and a store's URL that has a password in it, are never written down."""
        keys = {
            "key": "VIST2_STORE_KEY",
            "encryption_keys": "VIST2_ENCRYPTION_KEYS",
            "api_key": "VIST2_API_KEY",
        }
        return {**keys, "store": "VIST2_STORE"} if isinstance(self.store, SecretStr) else keys

    def _place(self) -> str | Store | None:
        return self.store.get_secret_value() if isinstance(self.store, SecretStr) else self.store

    def _run_by(self) -> dict[str, Any]:
        return {"engine": self.engine_name, "engine_options": self.engine_options}

    def _access(self) -> dict[str, Any]:
        key = None if self.api_key is None else self.api_key.get_secret_value()
        return {"api_key": key, "timeout": self.timeout}

    def _keys(self) -> dict[str, Any]:
        found = {"key": self.key, "encryption_keys": self.encryption_keys}
        return {name: _revealed(key) for name, key in found.items() if key is not None}


def _revealed(key: str | SecretStr) -> str:
    return key.get_secret_value() if isinstance(key, SecretStr) else key


def _has_login(url: str) -> bool:
    """Whether ``url`` has a user or a password in it."""
    host = url.partition("://")[2].partition("/")[0]
    return "@" in host or "password=" in url
