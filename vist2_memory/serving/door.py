"""What every request passes first: its id, its key, its size, and the log of how it ended."""

from __future__ import annotations

import logging
import time
import uuid
from contextlib import AsyncExitStack

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vist2_memory.serving import logs, problems
from vist2_memory.serving.keys import Key
from vist2_memory.serving.settings import DEVELOPER, is_loopback
from vist2_memory.serving.state import ServerState
from vist2_memory.serving.telemetry import tell_request

log = logging.getLogger(__name__)

OPEN = ("/healthz", "/readyz")
"""Paths that need no key."""
PAGE = "/page/"
"""What the paths of the memory page begin with, but for its first, ``/``."""


class Door:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        id = logs.as_request_id(request.headers.get("x-request-id"), uuid.uuid4().hex)
        logs.set_request_id(id)
        state: ServerState = scope["app"].state.vist2
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", id.encode())]
            await send(message)

        with state.telemetry.request(request, id) as span:
            try:
                async with AsyncExitStack() as inside:
                    key = await self._enter(request, state, inside)
                    if key is not None:
                        scope.setdefault("state", {})["key"] = key
                    limited = _limited(receive, state.settings.max_body_bytes)
                    await self._app(scope, limited, sending)
            except Exception as error:
                response = problems.answer(error)
                if not status:
                    await response(scope, receive, sending)
            finally:
                took = time.perf_counter() - began
                route = getattr(scope.get("route"), "path", "(none)")
                state.metrics.request(request.method, route, status, took)
                tell_request(span, request.method, route, status)
                told = {"method": request.method, "route": route, "status": status}
                log.info("request", extra=told | {"seconds": took})

    async def _enter(
        self, request: Request, state: ServerState, inside: AsyncExitStack
    ) -> Key | None:
        """Who asks, let in until ``inside`` ends; raises ``Problem`` or ``BusyError``.

        None for the memory page, which knows people by a cookie and has its own guard.
        """
        # Behind a proxy that serves it below a path of its own, that is in both.
        if request.scope["path"].removeprefix(request.scope.get("root_path", "")) in OPEN:
            return DEVELOPER
        _check_host(request, state)
        if request.url.path == "/" or request.url.path.startswith(PAGE):
            return None
        if int(request.headers.get("content-length") or 0) > state.settings.max_body_bytes:
            raise _too_large(state.settings.max_body_bytes)
        key = _key(request, state)
        await inside.enter_async_context(state.gate.request(key))
        return key


def _check_host(request: Request, state: ServerState) -> None:
    """Refuse another site's name for this machine, by which its pages would read what is here."""
    host = request.url.hostname or ""
    if state.settings.keys is None and not is_loopback(host):
        raise problems.Problem(
            421, f"a server without keys is asked as localhost, not as {host[:80]}", "invalid_host"
        )


def _key(request: Request, state: ServerState) -> Key:
    keys = state.settings.keys
    if keys is None:
        return DEVELOPER
    kind, _, told = request.headers.get("authorization", "").partition(" ")
    found = keys.find(told.strip()) if kind.lower() == "bearer" else None
    if found is None:
        raise problems.Problem(
            401, "no valid API key: send it as `Authorization: Bearer vist2-...`", "invalid_api_key"
        )
    return found


def _limited(receive: Receive, most: int) -> Receive:
    """``receive``, which raises where a body turns out longer than it may be."""
    size = 0

    async def receiving() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise _too_large(most)
        return message

    return receiving


def _too_large(most: int) -> problems.Problem:
    return problems.Problem(413, f"the body is larger than {most} bytes", "too_large")
