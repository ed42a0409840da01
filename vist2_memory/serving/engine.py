"""``/v1/engine``: the engine itself, for memories that are kept elsewhere (``engine/remote``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from opentelemetry.trace import Span
from pydantic import BaseModel, ConfigDict, Field

from vist2_memory.engine.base import Engine
from vist2_memory.engine.remote import wire
from vist2_memory.errors import CodecError
from vist2_memory.memory.context import check_answers
from vist2_memory.memory.streams import from_thread
from vist2_memory.serving.chat import EventStream, unless_gone
from vist2_memory.serving.openapi import BYTES, EVENTS, answered, refusals, sent_as, takes
from vist2_memory.serving.problems import Problem, told
from vist2_memory.serving.replies import DONE, sent
from vist2_memory.serving.state import (
    Reader,
    ServerState,
    State,
    Writer,
    observer_of,
    tell_end,
)
from vist2_memory.serving.telemetry import tell_failure
from vist2_memory.serving.tenants import Tenant
from vist2_memory.serving.told import Checked, Missing
from vist2_memory.store.base import Scope
from vist2_memory.text.chunking import chunk_id
from vist2_memory.tracing import watching
from vist2_memory.types import Chunk, Finished, GenerationEvent, VisualTokens

router = APIRouter(prefix="/v1/engine")


class _Bytes(Response):
    media_type = BYTES


class _Text(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1, max_length=100_000)
    tokens: int = Field(ge=0)


class EncodeRequest(BaseModel):
    """``POST /v1/engine/encode``."""

    chunks: list[_Text] = Field(min_length=1, max_length=1024)


class MissingRequest(BaseModel):
    """``POST /v1/engine/missing``: chunks by their ids."""

    ids: list[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]] = Field(max_length=100_000)


class ForgetRequest(BaseModel):
    """``POST /v1/engine/forget``."""

    owner: str = Field(min_length=1, max_length=1000)


@router.get("", responses=refusals(501))
async def describe(tenant: Reader) -> dict[str, Any]:
    """What a client needs to cut text as the engine does."""
    engine = tenant.memory.engine
    processor = getattr(engine, "processor", None)
    if processor is None:
        raise Problem(
            501,
            f"{engine.spec.model} is no VIST2 model: only these are used from elsewhere",
            "not_a_vist2_model",
        )
    return {
        "spec": wire.told_spec(engine.spec),
        "tokenizer": processor.tokenizer.backend.to_str(),
        "geometry": processor.geometry.to_dict(),
    }


@router.post("/encode", response_class=_Bytes, responses=sent_as(BYTES))
async def encode(body: EncodeRequest, tenant: Writer, state: State) -> Response:
    """The visual tokens of chunks, as a packet."""
    engine = tenant.memory.engine
    chunks = [Chunk(chunk_id(one.text), one.text, one.tokens) for one in body.chunks]
    async with state.gate.answer():
        try:
            visual = await asyncio.to_thread(engine.encode, chunks)
        except ValueError as error:
            raise Problem(400, f"a chunk cannot be drawn: {error}", "invalid_input") from error
    tenant.sent.put(_scope(tenant), visual)
    return _Bytes(wire.packed({}, visual, engine.spec.tensors))


@router.post("/missing", responses=answered(Missing))
async def missing(body: MissingRequest, tenant: Writer) -> dict[str, Any]:
    """Which chunks' visual tokens have to be sent with the next generation."""
    fingerprint = tenant.memory.engine.spec.fingerprint
    found = tenant.sent.get(_scope(tenant), fingerprint, body.ids)
    return {"missing": [id for id in dict.fromkeys(body.ids) if id not in found]}


@router.post("/check", responses=answered(Checked))
async def check(body: dict[str, Any], tenant: Writer) -> dict[str, bool]:
    """Whether a generation can honour parameters; an error says why not."""
    params = wire.read_params(body)
    await asyncio.to_thread(check_answers, tenant.memory.engine, params)
    return {"ok": True}


@router.post("/forget")
async def forget(body: ForgetRequest, tenant: Writer) -> dict[str, bool]:
    """Drop what is kept of generations from contexts of an owner, and what was sent for them."""
    tenant.sent.forget(_scope(tenant))
    owner = wire.owner_of(tenant.memory.namespace, body.owner)
    await asyncio.to_thread(tenant.memory.engine.forget, owner)
    return {"ok": True}


@router.post(
    "/generate",
    response_class=Response,
    responses=sent_as(EVENTS),
    openapi_extra=takes(BYTES),
)
async def generate(request: Request, tenant: Writer, state: State) -> Response:
    """Generate from a packet of a context and those of its visual tokens that are not here."""
    inside = AsyncExitStack()
    span = inside.enter_context(state.telemetry.answer(tenant.memory.engine.spec.model))
    try:
        begun = _begun(await request.body(), tenant, state, inside, span)
        first, events = await unless_gone(request, begun)
    except BaseException as error:
        tell_failure(span, error)
        await inside.aclose()
        raise
    return EventStream(_told(first, events, tenant.memory.engine, state, span), inside, {})


async def _begun(
    data: bytes, tenant: Tenant, state: ServerState, inside: AsyncExitStack, span: Span
) -> tuple[GenerationEvent, AsyncGenerator[GenerationEvent, None]]:
    """The first event, and the others."""
    engine = tenant.memory.engine
    try:
        header, visual = wire.unpacked(data, engine.spec.fingerprint)
    except CodecError as error:
        raise Problem(400, str(error), "invalid_input") from error
    _check_width(engine, visual)
    tenant.sent.put(_scope(tenant), visual)
    try:
        params = wire.read_params(header["params"])
        ids = list(header["context"]["visual"])
        known = tenant.sent.get(_scope(tenant), engine.spec.fingerprint, ids)
        known |= {tokens.chunk_id: tokens for tokens in visual}
        if lacking := [id for id in ids if id not in known]:
            raise Problem(
                400,
                f"{len(lacking)} chunks were named whose visual tokens are not here any more: send "
                "them",
                "visual_tokens_lacking",
            )
        context = wire.read_context(header["context"], known, tenant.memory.namespace)
    except (KeyError, TypeError) as error:
        raise Problem(400, f"the packet lacks {error}: send it again", "invalid_input") from error
    state.metrics.queued(await inside.enter_async_context(state.gate.answer()))
    with watching(observer_of(state, span)):
        events = from_thread(lambda: engine.generate(context, params))
    await inside.enter_async_context(aclosing(events))
    return await anext(events), events


async def _told(
    first: GenerationEvent,
    events: AsyncIterator[GenerationEvent],
    engine: Engine,
    state: ServerState,
    span: Span,
) -> AsyncIterator[str]:
    event = first
    try:
        while True:
            yield sent(wire.told_event(event, engine.spec.tensors))
            if isinstance(event, Finished):
                tell_end(state, span, event)
                break
            event = await anext(events)
    except Exception as error:
        tell_failure(span, error)
        yield sent(told(error)[1])
        return
    yield DONE


def _check_width(engine: Engine, visual: list[VisualTokens]) -> None:
    """Raise for visual tokens that the language model could not take."""
    width = getattr(engine, "hidden_size", None)
    for tokens in visual:
        if width is not None and tokens.values.shape[1] != width:
            raise Problem(
                400,
                f"visual tokens of width {tokens.values.shape[1]}, the model has {width}",
                "invalid_input",
            )


def _scope(tenant: Tenant) -> Scope:
    return Scope(tenant.memory.namespace, "session", "(sent)")
