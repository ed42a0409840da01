"""What keeps a server running asks it: health, readiness, figures, models."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from vist2_memory.errors import Vist2Error
from vist2_memory.serving.metrics import CONTENT_TYPE
from vist2_memory.serving.problems import Problem
from vist2_memory.serving.state import Admin, Reader, ServerState, State
from vist2_memory.store.base import Scope

router = APIRouter()

_PROBE = Scope("vist2-probe", "session", "probe")
_PROBE_S = 5.0


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def ready(state: State) -> JSONResponse:
    """Whether requests should come here: the store answers, and the server is not about to end."""
    up = await store_answers(state)
    status = "draining" if state.draining else "ok" if up else "store unavailable"
    return JSONResponse({"status": status}, 200 if status == "ok" else 503)


@router.get("/metrics")
async def metrics(_: Admin, state: State) -> Response:
    """The figures, as Prometheus reads them."""
    await store_answers(state)
    return Response(state.metrics.exposition(), media_type=CONTENT_TYPE)


@router.get("/v1/models")
async def models(tenant: Reader) -> dict[str, Any]:
    """The model that is served."""
    return {"object": "list", "data": [_model(tenant.memory.engine.spec)]}


@router.get("/v1/models/{id:path}")
async def model(id: str, tenant: Reader) -> dict[str, Any]:
    """One model."""
    spec = tenant.memory.engine.spec
    if id != spec.model:
        raise Problem(404, f"there is no model {id!r} here, only {spec.model!r}", "model_not_found")
    return _model(spec)


def _model(spec: Any) -> dict[str, Any]:
    return {
        "id": spec.model,
        "object": "model",
        "created": 0,
        "owned_by": "vist2",
        "max_visual_tokens": spec.max_visual_tokens,
        "max_text_tokens": spec.max_text_tokens,
        "chunk_tokens": spec.chunk_tokens,
    }


async def store_answers(state: ServerState) -> bool:
    """Whether the store answers, which the figures tell from now on."""
    store = state.tenants.store
    try:
        await asyncio.wait_for(asyncio.to_thread(store.count, _PROBE), _PROBE_S)
        up = True
    except (Vist2Error, TimeoutError):
        up = False
    state.metrics.store_up(up)
    return up
