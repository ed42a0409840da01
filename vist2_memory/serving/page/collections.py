"""``/page/collections`` and ``/page/collection``: the documents of a namespace."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from vist2_memory.memory import Collection, Passage
from vist2_memory.serving import collections as api
from vist2_memory.serving.page.guard import PageRoute
from vist2_memory.serving.page.paging import paged, paged_by_name
from vist2_memory.serving.page.rendering import rendered, url
from vist2_memory.serving.page.sessions import Name, Number, Sent
from vist2_memory.serving.page.transcripts import Savings
from vist2_memory.serving.problems import Problem
from vist2_memory.serving.state import Admin, Reader

router = APIRouter(route_class=PageRoute)

COLLECTIONS_A_PAGE, DOCUMENTS_A_PAGE = 50, 25


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document, and what it takes."""

    id: str
    begins: str
    source: str
    chunks: int
    savings: Savings


@router.get("/page/collections")
async def overview(
    request: Request, tenant: Reader, q: str = "", page: Number = 1, done: str = ""
) -> Response:
    """The collections, those changed last first."""
    found = await tenant.memory.acollections()
    shown = paged_by_name(found, q, page, COLLECTIONS_A_PAGE)
    return rendered(request, "collections.html", shown=shown, q=q, done=done, all=len(found))


@router.get("/page/collection")
async def collection(
    request: Request, tenant: Reader, name: Name, q: str = "", page: Number = 1, done: str = ""
) -> Response:
    """The documents of a collection."""
    books = tenant.memory.collection(name)
    values = await asyncio.to_thread(_documents, books, q, page)
    return rendered(request, "collection.html", name=name, q=q, done=done, **values)


@router.get("/page/collection/delete")
async def ask_to_delete(request: Request, tenant: Admin, name: Name) -> Response:
    """Asks whether it is meant."""
    count = len(await tenant.memory.collection(name).adocuments())
    return rendered(
        request,
        "confirm.html",
        what="collection",
        name=name,
        loses=f"{count} documents and all that was made of them",
        sent={"name": name},
        back=url("/page/collection", name=name),
    )


@router.post("/page/collection/delete")
async def delete(tenant: Admin, name: Sent) -> Response:
    """Delete a collection."""
    await api.delete(name, tenant)
    return RedirectResponse(url("/page/collections", done="collection"), 303)


def _documents(books: Collection, q: str, page: int | None) -> dict[str, Any]:
    engine = books.engine
    passages: dict[str, list[Passage]] = {}
    for passage in books.passages():
        passages.setdefault(passage.document_id, []).append(passage)
    if not passages:
        raise Problem(404, f"there is no collection {books.name!r}", "not_found")
    total = sum(len(of) for of in passages.values())
    if q.strip():
        wanted = {found.message.id for found in books.search(q, limit=len(passages))}
        passages = {id: of for id, of in passages.items() if id in wanted}
    shown = paged(list(passages), page, DOCUMENTS_A_PAGE)
    rows = []
    for id in shown.rows:
        of = passages[id]
        visual = sum(engine.cost(passage.chunk) for passage in of)
        document = of[0].document
        rows.append(
            DocumentRow(
                id,
                " ".join(document.text[:400].split())[:160],
                str(document.metadata.get("source", "")),
                len(of),
                Savings(sum(passage.chunk.tokens for passage in of), visual, 0),
            )
        )
    return {"shown": shown, "rows": rows, "chunks": total}
