"""Servers for tests: an application on this event loop, and its clients."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from tests.support.engines import CountingEngine
from tests.support.plain import PlainEngine
from tests.support.redis_servers import free_port
from vist2_memory.engine.base import Engine
from vist2_memory.engine.remote.engine import RemoteEngine
from vist2_memory.serving.app import create_app
from vist2_memory.serving.keys import Key, Keyring, Right, new_key
from vist2_memory.serving.settings import ServerSettings
from vist2_memory.serving.tenants import Tenants
from vist2_memory.store import InMemoryStore, Store

JSON = "application/json"


class Served:
    """A server over a plain engine. ``keys`` are by namespace, and by ``namespace:right``."""

    def __init__(
        self,
        engine: PlainEngine | None = None,
        store: Store | None = None,
        rate: str = "600/minute",
        **settings: Any,
    ) -> None:
        self._rate = rate
        self.engine = engine or PlainEngine()
        self.store = store or InMemoryStore()
        self.told: dict[str, str] = {}
        self.keys: list[Key] = []
        for namespace in ("acme", "other"):
            self._key(namespace, namespace, ("read", "write", "admin"))
        for right in ("read", "write", "admin"):
            self._key(f"acme:{right}", "acme", (right,))
        self._key("other:read", "other", ("read",))
        self.settings = ServerSettings(Keyring(self.keys), **settings)
        self.tenants = Tenants(self.store, self.engine)
        self.app = create_app(self.tenants, self.settings)

    def _key(self, name: str, namespace: str, rights: Sequence[Right]) -> None:
        self.told[name], key = new_key(namespace, rights)
        self.keys.append(replace(key, rate=self._rate))

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

    async def post_and_leave(self, path: str, body: Any, left: asyncio.Event) -> None:
        """A request whose client goes away when ``left`` is set, and reads nothing."""
        sent = json.dumps(body).encode()
        asked: list[dict[str, Any]] = [{"type": "http.request", "body": sent, "more_body": False}]

        async def receive() -> Any:
            if asked:
                return asked.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        headers = {"authorization": f"Bearer {self.told['acme']}", "content-type": JSON}
        scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"},
            **{"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b""},
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await self.app(scope, receive, send)


class ServerThread:
    """A server on an event loop of its own, in this process; ends with it."""

    def __init__(self, app: FastAPI) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        config = uvicorn.Config(app, port=port, log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)


def serve(engine: Engine) -> ServerThread:
    """A server of ``engine`` without keys."""
    return ServerThread(create_app(Tenants(InMemoryStore(), engine), ServerSettings()))


@cache
def _served(checkpoint: Path, keep: int) -> ServerThread:
    return serve(CountingEngine(checkpoint, keep))


def remote_engine(checkpoint: Path, keep: int) -> RemoteEngine:
    """The engine of a checkpoint in a server, used over HTTP; the server is kept for others."""
    return RemoteEngine(_served(checkpoint, keep).url)


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
