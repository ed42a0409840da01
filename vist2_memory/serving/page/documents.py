"""``/page/document``: one document, chunk by chunk."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from vist2_memory.memory import Collection, Passage
from vist2_memory.memory.recollection import Recollection
from vist2_memory.serving.page import chunks
from vist2_memory.serving.page.chunks import CHUNKS_A_PAGE
from vist2_memory.serving.page.guard import PageRoute
from vist2_memory.serving.page.paging import Paged, paged
from vist2_memory.serving.page.rendering import rendered, url
from vist2_memory.serving.page.sessions import Name, Number, Sent
from vist2_memory.serving.page.state import page_state
from vist2_memory.serving.page.transcripts import Savings, document_rows
from vist2_memory.serving.problems import Problem
from vist2_memory.serving.state import Admin, Reader, State
from vist2_memory.types import Chunk

router = APIRouter(route_class=PageRoute)


@router.get("/page/document")
async def document(
    request: Request, tenant: Reader, name: Name, id: Name, page: Number = 1
) -> Response:
    """A document of a collection."""
    books = tenant.memory.collection(name)

    def looked_at() -> dict[str, Any]:
        own = _passages(books, id)
        shown: Paged[Passage] = paged(own, page, CHUNKS_A_PAGE)
        visual = sum(books.engine.cost(passage.chunk) for passage in own)
        chunks = [(passage.chunk, passage.text) for passage in shown.rows]
        return {
            "metadata": dict(own[0].document.metadata),
            "shown": shown,
            "rows": document_rows(books.engine, page_state(request).picture, chunks, shown.first),
            "savings": Savings(sum(passage.chunk.tokens for passage in own), visual, 0),
            "reads_back": books.engine.reads_back,
        }

    values = await asyncio.to_thread(looked_at)
    return rendered(request, "document.html", name=name, id=id, **values)


@router.get("/page/document/sketch")
async def sketch(request: Request, tenant: Reader, name: Name, id: Name, chunk: Name) -> Response:
    """The picture of a chunk."""
    books = tenant.memory.collection(name)
    return await chunks.picture(request, lambda: _passage(books, id, chunk).chunk)


@router.post("/page/document/readback")
async def readback(
    request: Request, tenant: Reader, state: State, name: Sent, id: Sent, chunk: Sent
) -> Response:
    """What the model reads out of a chunk's visual tokens; takes a turn at the model."""
    memory, books = tenant.memory, tenant.memory.collection(name)

    def find() -> tuple[Chunk, Recollection]:
        one = _passage(books, id, chunk).chunk
        return one, books.recollect([one])

    back = url("/page/document", name=name, id=id)
    return await chunks.readback(request, state, memory.namespace, find, back)


@router.get("/page/document/delete")
async def ask_to_delete(request: Request, tenant: Admin, name: Name, id: Name) -> Response:
    """Asks whether it is meant."""
    found = await asyncio.to_thread(_passages, tenant.memory.collection(name), id)
    return rendered(
        request,
        "confirm.html",
        what="document",
        name=" ".join(found[0].document.text[:200].split())[:80],
        loses=f"its text and its {len(found)} chunks",
        sent={"name": name, "id": id},
        back=url("/page/document", name=name, id=id),
    )


@router.post("/page/document/delete")
async def delete(tenant: Admin, name: Sent, id: Sent) -> Response:
    """Take a document out of its collection."""
    books = tenant.memory.collection(name)
    await books.aremove_document(id)
    left = await books.adocuments()
    path = ("/page/collection", {"name": name}) if left else ("/page/collections", {})
    return RedirectResponse(url(path[0], **path[1], done="document"), 303)


def _passages(books: Collection, id: str) -> list[Passage]:
    found = [passage for passage in books.passages() if passage.document_id == id]
    if not found:
        raise Problem(404, f"collection {books.name!r} has no document {id!r}", "not_found")
    return found


def _passage(books: Collection, id: str, chunk: str) -> Passage:
    for passage in _passages(books, id):
        if passage.chunk.id == chunk:
            return passage
    raise Problem(404, f"document {id!r} has no chunk {chunk!r}", "not_found")
