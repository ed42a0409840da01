"""``/v1/collections``: the documents of a namespace."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, File, Header, Query, UploadFile
from fastapi.responses import JSONResponse, Response, StreamingResponse

from vist2_memory.memory import Collection
from vist2_memory.memory.shelf import Document
from vist2_memory.serving.openapi import EVENTS, answered, refusals, sent_as
from vist2_memory.serving.problems import Problem, told
from vist2_memory.serving.schemas import DocumentsRequest
from vist2_memory.serving.sessions import Page, page_of
from vist2_memory.serving.state import Admin, Reader, Writer
from vist2_memory.serving.told import Added, Deleted, DocumentDeleted, Documents, Scopes
from vist2_memory.text.chunking import chunk_id

router = APIRouter(prefix="/v1/collections")

Accept = Annotated[str, Header()]
_ADDED = {**refusals(409), 200: {**sent_as(EVENTS)[200], "model": Added}}


@router.get("", responses=answered(Scopes))
async def list_collections(tenant: Reader, limit: Page = 100, after: str = "") -> dict[str, Any]:
    """The collections by name, ``limit`` of them from the one that follows ``after``."""
    return page_of(await tenant.memory.acollections(), limit, after)


@router.get("/{name:path}/documents", responses=answered(Documents))
async def documents(
    name: str, tenant: Reader, limit: Page = 100, offset: Annotated[int, Query(ge=0)] = 0
) -> dict[str, Any]:
    """The documents of a collection, verbatim, in the order in which they were added."""
    found = await tenant.memory.collection(name).adocuments()
    return {
        "object": "list",
        "data": [
            {"id": chunk_id(one.text), "text": one.text, "metadata": dict(one.metadata)}
            for one in found[offset : offset + limit]
        ],
        "total": len(found),
        "has_more": offset + limit < len(found),
    }


@router.post("/{name:path}/documents", response_model=None, responses=_ADDED)
async def add_documents(
    name: str, body: DocumentsRequest, tenant: Writer, accept: Accept = ""
) -> Response:
    """Add documents that are not there yet; progress is told to who accepts server-sent events."""
    given = [Document(one.text, one.metadata) for one in body.documents]
    return await _add(tenant.memory.collection(name), given, accept)


@router.post("/{name:path}/files", response_model=None, responses=_ADDED)
async def add_files(
    name: str, files: Annotated[list[UploadFile], File()], tenant: Writer, accept: Accept = ""
) -> Response:
    """Add text files in UTF-8, each as a document; otherwise as :func:`add_documents`."""
    given = []
    for file in files:
        source = PurePath(file.filename or "file").name
        try:
            text = (await file.read()).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Problem(
                400, f"{source} is no text in UTF-8: {error.reason}", "invalid_file", "files"
            ) from error
        given.append(Document(text, {"source": source}))
    return await _add(tenant.memory.collection(name), given, accept)


@router.delete("/{name:path}/documents/{document}", responses=answered(DocumentDeleted))
async def remove_document(name: str, document: str, tenant: Admin) -> dict[str, Any]:
    """Take out the document with this id."""
    await tenant.memory.collection(name).aremove_document(document)
    return {"object": "document.deleted", "id": document, "deleted": True}


@router.delete("/{name:path}", responses=answered(Deleted))
async def delete(name: str, tenant: Admin) -> dict[str, Any]:
    """Delete a collection, texts and tensors."""
    deleted = await tenant.memory.collection(name).adelete()
    return {"object": "collection.deleted", "id": name, "deleted": True, **asdict(deleted)}


async def _add(collection: Collection, given: list[Document], accept: str) -> Response:
    if EVENTS in accept:
        return StreamingResponse(_progress(collection, given), media_type=EVENTS)
    new = await collection.aadd_documents(given)
    return JSONResponse({"object": "list", "added": new, "given": len(given)})


async def _progress(collection: Collection, given: list[Document]) -> AsyncIterator[str]:
    """Events of how far it is, and how it ended; it goes on if the client goes away."""
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    adding = asyncio.ensure_future(collection.aadd_documents(given, progress=done.put))
    while not adding.done():
        await asyncio.wait([adding], timeout=0.2)
        latest = _latest(done)
        if latest:
            yield _event({"done": latest, "of": len(given)})
    try:
        yield _event({"object": "list", "added": adding.result(), "given": len(given)})
    except Exception as error:
        yield _event(told(error)[1])


def _latest(done: queue.SimpleQueue[int]) -> int:
    def waiting() -> Iterable[int]:
        while not done.empty():
            yield done.get()

    return max(waiting(), default=0)


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
