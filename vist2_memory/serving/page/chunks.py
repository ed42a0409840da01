"""What sessions and documents show of one chunk: its picture, and its readback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request
from fastapi.responses import Response

from vist2_memory.engine.readback import read_back
from vist2_memory.memory.recollection import Recollection
from vist2_memory.serving.page.guard import FRAGMENT
from vist2_memory.serving.page.marks import Readback, compared
from vist2_memory.serving.page.rendering import rendered
from vist2_memory.serving.page.state import page_state
from vist2_memory.serving.problems import Problem
from vist2_memory.serving.state import ServerState
from vist2_memory.types import Chunk

CHUNKS_A_PAGE = 12
KEPT = {"Cache-Control": "private, max-age=86400", "Vary": "Cookie"}
"""Of pictures: they are named by their chunk's text."""


async def picture(request: Request, find: Callable[[], Chunk]) -> Response:
    """The picture of the chunk that ``find`` finds, as a PNG."""
    drawn = await asyncio.to_thread(lambda: page_state(request).picture(find()))
    if drawn is None:
        raise Problem(404, "the model is shown no picture of this chunk", "not_found")
    return Response(drawn.png, media_type="image/png", headers=KEPT)


async def readback(
    request: Request,
    state: ServerState,
    namespace: str,
    find: Callable[[], tuple[Chunk, Recollection]],
    back: str,
) -> Response:
    """What the model reads out of the chunk that ``find`` finds; takes a turn at the model.

    ``back``: where the chunk stands.
    """
    engine = state.tenants.engine
    if not engine.reads_back:
        raise Problem(404, f"{engine.spec.model} was not trained to read back", "not_found")

    def read() -> Readback:
        chunk, found = find()
        return compared(chunk.text, read_back(engine, chunk, found.visual[0], namespace))

    async with state.gate.answer():
        made = await asyncio.to_thread(read)
    template = "_readback.html" if FRAGMENT in request.headers else "readback.html"
    return rendered(request, template, readback=made, back=back)
