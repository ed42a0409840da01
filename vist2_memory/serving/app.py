"""The application: everything a server answers, joined."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from vist2_memory import __version__
from vist2_memory.serving import chat, collections, engine, operations, page, problems, sessions
from vist2_memory.serving.door import Door
from vist2_memory.serving.gate import Gate
from vist2_memory.serving.metrics import Metrics
from vist2_memory.serving.settings import ServerSettings
from vist2_memory.serving.state import ServerState
from vist2_memory.serving.telemetry import Telemetry
from vist2_memory.serving.tenants import Tenants


def create_app(
    tenants: Tenants, settings: ServerSettings, telemetry: Telemetry | None = None
) -> FastAPI:
    """The application over ``tenants``, which are closed when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        tenants.close()

    gate = Gate(settings.concurrency, settings.queue)
    app = FastAPI(
        title="vist2_memory", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.vist2 = ServerState(tenants, settings, gate, Metrics(gate), telemetry or Telemetry())
    problems.add_handlers(app)
    for part in (operations, chat, sessions, collections, engine):
        app.include_router(part.router)
    page.add_to(app)
    app.add_middleware(Door)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Session-Id", "Idempotency-Key"],
        )
    return app
