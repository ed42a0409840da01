"""``/v1/sessions``: the conversations of a namespace."""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse

from vist2_memory.errors import ConflictError, InvalidInputError, StoreFormatError
from vist2_memory.memory.histories import to_messages
from vist2_memory.serving.messages import read_messages
from vist2_memory.serving.problems import Problem
from vist2_memory.serving.schemas import AppendRequest, ForkRequest
from vist2_memory.serving.state import Admin, Reader, Writer
from vist2_memory.serving.tenants import Tenant
from vist2_memory.store.base import ScopeInfo
from vist2_memory.types import Message, ToolCall

router = APIRouter(prefix="/v1/sessions")
T = TypeVar("T")

Page = Annotated[int, Query(ge=1, le=1000)]
JSON_LINES = "application/x-ndjson"
_ATTEMPTS = 10
"""How often an addition is tried again after another writer came first."""


@router.get("")
async def list_sessions(tenant: Reader, limit: Page = 100, after: str = "") -> dict[str, Any]:
    """The sessions by name, ``limit`` of them from the one that follows ``after``."""
    return page_of(await tenant.memory.asessions(), limit, after)


@router.get("/{id:path}/messages")
async def messages(
    id: str, tenant: Reader, limit: Page = 1000, offset: Annotated[int, Query(ge=0)] = 0
) -> dict[str, Any]:
    """The messages of a session, verbatim and in order."""
    found = await tenant.memory.session(id).amessages()
    page = found[offset : offset + limit]
    return {
        "object": "list",
        "data": [told(message) for message in page],
        "total": len(found),
        "has_more": offset + limit < len(found),
    }


@router.post("/{id:path}/messages")
async def append(id: str, body: AppendRequest, tenant: Writer) -> dict[str, Any]:
    """Add what was said elsewhere, all or none; what is there under its ``id`` is passed over."""
    parts = read_messages(body.messages)
    given = [
        message if part.id else replace(message, id=uuid.uuid4().hex)
        for part, message in zip(parts, to_messages(parts), strict=True)
    ]
    session = tenant.memory.session(id)
    for attempt in range(_ATTEMPTS):
        held = await session.aheld()
        known = {message.id for message in held}
        new = [message for message in given if message.id not in known]
        try:
            await session.aextend(new, after=len(held))
            break
        except ConflictError:  # another writer came first
            if attempt == _ATTEMPTS - 1:
                raise
    return {"object": "list", "added": len(new)}


@router.post("/{id:path}/fork")
async def fork(id: str, body: ForkRequest, tenant: Writer) -> dict[str, Any]:
    """A new session that begins as this one."""
    session = await tenant.memory.session(id).abranch(body.id, at=body.at)
    return {"object": "session", "id": session.id, "messages": len(await session.amessages())}


@router.get("/{id:path}/export")
async def export(id: str, tenant: Reader) -> PlainTextResponse:
    """The session as JSON lines, a header and then the messages."""
    return PlainTextResponse(await exported(tenant, id), media_type=JSON_LINES)


@router.post("/{id:path}/import")
async def import_session(id: str, request: Request, tenant: Writer) -> dict[str, Any]:
    """Take in what :func:`export` gave, or JSON lines of OpenAI's or LangChain's messages."""
    data = await request.body()

    def taken_in(folder: Path) -> dict[str, Any]:
        path = folder / "session.jsonl"
        path.write_bytes(data)
        imported = tenant.memory.import_histories(path, id=id, tensors=False)
        return asdict(imported)

    try:
        return {"object": "import", **(await _in_a_folder(taken_in))}
    except (StoreFormatError, InvalidInputError) as error:
        raise Problem(400, _without_folder(error), "invalid_file") from error


@router.delete("/{id:path}")
async def delete(id: str, tenant: Admin) -> dict[str, Any]:
    """Delete a session, its log and its tensors."""
    deleted = await tenant.memory.session(id).adelete()
    tenant.answers.forget(id)
    return {"object": "session.deleted", "id": id, "deleted": True, **asdict(deleted)}


async def exported(tenant: Tenant, id: str) -> str:
    """What :func:`export` gives."""
    session = tenant.memory.session(id)
    if not await session.amessages():
        raise Problem(404, f"there is no session {id!r}", "not_found")

    def written(folder: Path) -> str:
        session.export(folder / "session.jsonl")
        return (folder / "session.jsonl").read_text(encoding="utf-8")

    return await _in_a_folder(written)


def page_of(found: list[ScopeInfo], limit: int, after: str) -> dict[str, Any]:
    """``found`` by name, so many of them from the one that follows ``after``."""
    rows = sorted(found, key=lambda info: info.scope.name)
    rest = [info for info in rows if info.scope.name > after]
    return {
        "object": "list",
        "data": [
            {
                "id": info.scope.name,
                "messages": info.messages,
                "created": info.created,
                "updated": info.updated,
            }
            for info in rest[:limit]
        ],
        "has_more": len(rest) > limit,
    }


def told(message: Message) -> dict[str, Any]:
    """``message`` as clients see it."""
    row = {
        "id": message.id,
        "role": message.role,
        "content": message.text,
        "turn": message.turn,
        "time": message.time,
    }
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": _arguments(call)},
        }
        for call in message.calls
    ]
    return {**row, **({"tool_calls": calls} if calls else {}), "payload": dict(message.payload)}


def _arguments(call: ToolCall) -> str:
    """The arguments as JSON; of a call that was cut off, all that there is of it."""
    found = call.arguments
    return call.text if found is None else json.dumps(found, ensure_ascii=False)


async def _in_a_folder(work: Callable[[Path], T]) -> T:
    def in_a_folder() -> T:
        with tempfile.TemporaryDirectory(prefix="vist2-") as folder:
            return work(Path(folder))

    return await asyncio.to_thread(in_a_folder)


def _without_folder(error: Exception) -> str:
    """The words of ``error`` without the path of a file that only the server knows."""
    return str(error).rpartition("session.jsonl")[2].lstrip(": ") or "it cannot be read"
