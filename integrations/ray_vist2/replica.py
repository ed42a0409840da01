"""One engine with its memories, behind the application of ``vist2 serve``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI
from ray import serve
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ray_vist2.options import ReplicaOptions
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory import VisualMemory
from vist2_memory.serving import logs, telemetry
from vist2_memory.serving.app import create_app
from vist2_memory.serving.keys import find_keyring
from vist2_memory.serving.operations import store_answers
from vist2_memory.serving.settings import ServerSettings, is_loopback
from vist2_memory.serving.tenants import Tenants

HEADER = b"x-replica"
"""The header of an answer that says which replica gave it."""


class Replica:
    """What Ray Serve starts, asks whether it is well, and ends."""

    def __init__(self, options: ReplicaOptions, inline_keys: str | None) -> None:
        """``inline_keys``: the JSON text of keys, for a server without a key file."""
        self._options = options
        logs.set_up(options.log_level)
        telemetry.set_up()
        path = Path(options.keys) if options.keys else None
        keys = find_keyring(path, inline_keys or os.environ.get("VIST2_API_KEYS"))
        if keys is None:
            _check_peers(os.environ)
        self._settings = ServerSettings(
            keys,
            options.concurrency,
            options.queue,
            drain_s=options.drain,
            cors_origins=tuple(options.cors),
        )
        self._memory = VisualMemory.open(
            options.store,
            tensors=options.tensors,
            model=options.model,
            ratio=options.ratio,
            engine=options.engine,
            engine_options=options.engine_options or None,
            ttl=options.ttl,
        )
        self._tenants = Tenants(self._memory.store, self._memory.engine)  # loaded: ready after this
        self._answered = time.monotonic()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """What answers requests; Serve calls it after the constructor, on its event loop."""
        self._app = create_app(self._tenants, self._settings)
        replica = serve.get_replica_context().replica_id.unique_id
        self._app.add_middleware(Marked, replica=replica, open_door=self._settings.keys is None)
        return self._app

    async def check_health(self) -> None:
        """Raise ``RuntimeError`` when the store was out of reach for too long.

        Not at once: Serve ends a replica that is not well, and with it all answers in progress,
        which would be no help while the store is away for everybody.
        """
        if await store_answers(self._app.state.vist2):
            self._answered = time.monotonic()
            return
        away = time.monotonic() - self._answered
        if away > self._options.patience:
            raise RuntimeError(f"the store has not answered for {away:.0f} seconds")

    def __del__(self) -> None:
        """Write what waits; Serve calls it when the last answer has ended."""
        if hasattr(self, "_memory"):
            self._memory.close()


class Marked:
    """Says which replica answered; without keys, answers only who is on this machine."""

    def __init__(self, app: ASGIApp, replica: str, open_door: bool) -> None:
        self._app, self._replica, self._open_door = app, replica.encode(), open_door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Serve's proxy sets the request's id, too.
                others = [pair for pair in message["headers"] if pair[0] != b"x-request-id"]
                message["headers"] = [*others, (HEADER, self._replica)]
            await send(message)

        if self._open_door and not _is_near(scope):
            words = "this server has no keys, and answers only who is on its machine"
            told = {"message": words, "type": "authentication_error", "code": "no_keys"}
            await JSONResponse({"error": told}, 403)(scope, receive, sending)
            return
        await self._app(scope, receive, sending)


def _is_near(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and is_loopback(client[0])


def _check_peers(environment: Mapping[str, str]) -> None:
    """Raise ``InvalidInputError`` where who asks cannot be told, and there are no keys."""
    if environment.get("RAY_SERVE_ENABLE_HA_PROXY", "0") != "0":
        raise InvalidInputError(
            "behind HAProxy all requests seem to come from this machine: give keys (vist2 key "
            "create, keys=FILE), or leave RAY_SERVE_ENABLE_HA_PROXY out"
        )
