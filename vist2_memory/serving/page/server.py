"""``/page/server`` and ``/page/live``: how the server is, and its figures."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from vist2_memory.serving.page.figures import figures_of, health_of
from vist2_memory.serving.page.guard import PageRoute
from vist2_memory.serving.page.rendering import rendered
from vist2_memory.serving.state import State

router = APIRouter(route_class=PageRoute)


@router.get("/page/server")
async def server(request: Request, state: State) -> Response:
    """Health for whoever signed in, figures for who may see them."""
    return await _shown(request, state, "server.html")


@router.get("/page/live")
async def live(request: Request, state: State) -> Response:
    """The part of it that changes, for the page's script."""
    return await _shown(request, state, "_live.html")


async def _shown(request: Request, state: State, template: str) -> Response:
    health, figures = await health_of(state), figures_of(state)
    return rendered(request, template, health=health, figures=figures)
