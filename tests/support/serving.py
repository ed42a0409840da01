"""Servers for tests: an application on this event loop, and its clients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.support.plain import PlainEngine
from vist2_memory.serving.app import create_app
from vist2_memory.serving.keys import Key, Keyring, Right, new_key
from vist2_memory.serving.settings import ServerSettings
from vist2_memory.serving.tenants import Tenants
from vist2_memory.store import InMemoryStore, Store


class Served:
    """A server over a plain engine. ``keys`` are by namespace, and by ``namespace:right``."""

    def __init__(
        self, engine: PlainEngine | None = None, store: Store | None = None, **settings: Any
    ) -> None:
        self.engine = engine or PlainEngine()
        self.store = store or InMemoryStore()
        self.told: dict[str, str] = {}
        self.keys: list[Key] = []
        for namespace in ("acme", "other"):
            self._key(namespace, namespace, ("read", "write", "admin"))
        for right in ("read", "write", "admin"):
            self._key(f"acme:{right}", "acme", (right,))
        self.settings = ServerSettings(Keyring(self.keys), **settings)
        self.tenants = Tenants(self.store, self.engine)
        self.app = create_app(self.tenants, self.settings)

    def _key(self, name: str, namespace: str, rights: Sequence[Right]) -> None:
        self.told[name], key = new_key(namespace, rights)
        self.keys.append(key)

    @asynccontextmanager
    async def client(
        self, key: str | None = "acme", **headers: str
    ) -> AsyncIterator[httpx.AsyncClient]:
        """A client with the key called ``key``; None: without one."""
        if key is not None:
            headers["Authorization"] = f"Bearer {self.told.get(key, key)}"
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://server", headers=headers
        ) as client:
            yield client


def chat(question: str, session: str | None = None, **more: Any) -> dict[str, Any]:
    """The body of a request."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": question}], **more}
    return body | ({"session_id": session} if session else {})


def events(text: str) -> Iterator[Any]:
    """The server-sent events in ``text``."""
    for line in text.split("\n\n"):
        if line:
            assert line.startswith("data: ")
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)
