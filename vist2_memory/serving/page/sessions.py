"""``/`` and ``/page/session``: the conversations of a namespace, and one of them chunk by chunk.

Ids stand in queries, not in paths: an id may be ``..`` or have slashes.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from vist2_memory.memory import Session
from vist2_memory.memory.recollection import Recollection
from vist2_memory.memory.search import Found
from vist2_memory.serving import sessions as api
from vist2_memory.serving.openapi import JSON_LINES
from vist2_memory.serving.page import chunks
from vist2_memory.serving.page.answers import answer_view
from vist2_memory.serving.page.chunks import CHUNKS_A_PAGE
from vist2_memory.serving.page.figures import figures_of, health_of
from vist2_memory.serving.page.guard import PageRoute
from vist2_memory.serving.page.paging import Paged, paged, paged_by_name
from vist2_memory.serving.page.rendering import rendered, url
from vist2_memory.serving.page.state import PageState, page_state
from vist2_memory.serving.page.transcripts import rows_of, savings_of, tail_of
from vist2_memory.serving.problems import Problem
from vist2_memory.serving.state import Admin, Reader, State
from vist2_memory.serving.tenants import Tenant
from vist2_memory.types import Chunk

router = APIRouter(route_class=PageRoute)

SESSIONS_A_PAGE, FOUND = 50, 50
Number = Annotated[int | None, Query(ge=1)]
Name = Annotated[str, Query(min_length=1)]
Sent = Annotated[str, Form(min_length=1)]


@router.get("/")
async def overview(
    request: Request, tenant: Reader, state: State, q: str = "", page: Number = 1, done: str = ""
) -> Response:
    """The sessions, those used last first."""
    found = await tenant.memory.asessions()
    shown = paged_by_name(found, q, page, SESSIONS_A_PAGE)
    values: dict[str, Any] = {"health": await health_of(state), "figures": figures_of(state)}
    return rendered(request, "sessions.html", shown=shown, q=q, done=done, all=len(found), **values)


@router.get("/page/session")
async def session(
    request: Request, tenant: Reader, id: Name, page: Number = None, q: str = ""
) -> Response:
    """One session: what it takes, what its last answer read, and its chunks."""

    def looked_at() -> dict[str, Any]:
        whole = tenant.memory.session(id)
        return _view(tenant, page_state(request), whole, page, q)

    return rendered(request, "session.html", id=id, q=q, **(await asyncio.to_thread(looked_at)))


@router.get("/page/session/sketch")
async def sketch(request: Request, tenant: Reader, id: Name, chunk: Name) -> Response:
    """The picture of a chunk."""

    session = tenant.memory.session(id)
    return await chunks.picture(request, lambda: _chunk(session, chunk))


@router.post("/page/session/readback")
async def readback(
    request: Request, tenant: Reader, state: State, id: Sent, chunk: Sent
) -> Response:
    """What the model reads out of a chunk's visual tokens; takes a turn at the model."""
    memory, session = tenant.memory, tenant.memory.session(id)

    def find() -> tuple[Chunk, Recollection]:
        one = _chunk(session, chunk)
        return one, memory.tensors.recollect(memory.engine, session.scope, [one])

    back = url("/page/session", id=id)
    return await chunks.readback(request, state, memory.namespace, find, back)


@router.get("/page/session/export")
async def export(tenant: Reader, id: Name) -> Response:
    """The session as a file of JSON lines."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", id).strip(".-")[:80] or "session"
    name = f"filename=\"{plain}.jsonl\"; filename*=UTF-8''{quote(id[:80], safe='')}.jsonl"
    headers = {"Content-Disposition": f"attachment; {name}"}
    return Response(await api.exported(tenant, id), headers=headers, media_type=JSON_LINES)


@router.get("/page/session/delete")
async def ask_to_delete(request: Request, tenant: Admin, id: Name) -> Response:
    """Asks whether it is meant."""
    count = len(await tenant.memory.session(id).amessages())
    return rendered(
        request,
        "confirm.html",
        what="session",
        name=id,
        loses=f"{count} messages and all that was made of them",
        sent={"id": id},
        back=url("/page/session", id=id),
    )


@router.post("/page/session/delete")
async def delete(tenant: Admin, id: Sent) -> Response:
    """Delete a session."""
    await api.delete(id, tenant)
    return RedirectResponse(url("/", done="session"), 303)


@dataclass(frozen=True, slots=True)
class _Hit:
    role: str
    time: float
    pieces: tuple[tuple[str, bool], ...]
    """Text, and whether it is what was looked for."""


def _view(
    tenant: Tenant, own: PageState, session: Session, page: int | None, q: str
) -> dict[str, Any]:
    engine = tenant.memory.engine
    state = session.transcript()
    if not state.messages:
        raise Problem(404, f"there is no session {session.id!r}", "not_found")
    shown: Paged[Chunk] = paged(state.chunks, page, CHUNKS_A_PAGE)
    answered = tenant.answers.of(session.id)
    return {
        "messages": state.messages,
        "shown": shown,
        "rows": rows_of(engine, own.picture, state, shown.rows, shown.first),
        "tail": tail_of(state) if shown.number == shown.of else (),
        "pinned": [message.text for message in state.messages if message.role == "system"],
        "savings": savings_of(engine, state),
        "answer": answer_view(answered, session.id, state.messages) if answered else None,
        "model": engine.spec,
        "policy": getattr(tenant.memory.selection, "__name__", ""),
        "reads_back": engine.reads_back,
        "hits": [_hit(one) for one in session.search(q, limit=FOUND)] if q.strip() else None,
    }


def _hit(found: Found) -> _Hit:
    text, place = found.message.text, 0
    pieces: list[tuple[str, bool]] = []
    for start, end in found.spans:
        if end > place:
            start = max(place, start)
            pieces += [(text[place:start], False), (text[start:end], True)]
            place = end
    return _Hit(found.message.role, found.message.time, (*pieces, (text[place:], False)))


def _chunk(session: Session, id: str) -> Chunk:
    for chunk in session.chunks():
        if chunk.id == id:
            return chunk
    raise Problem(404, f"session {session.id!r} has no chunk {id!r}", "not_found")
