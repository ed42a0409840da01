"""``/v1/chat/completions``: answers to lists of messages, by a session or by the list alone."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from opentelemetry.trace import Span
from starlette.types import Receive, Scope, Send

from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.continuation import check_end
from vist2_memory.memory.conversing import ListTurn, aopen_turn, as_messages
from vist2_memory.memory.entries import Entry
from vist2_memory.memory.openai_form import choice_of, schema_of, tool_of
from vist2_memory.serving.answers import Reading
from vist2_memory.serving.messages import read_messages
from vist2_memory.serving.openapi import EVENTS, refusals, sent_as
from vist2_memory.serving.problems import Problem, told
from vist2_memory.serving.replies import DONE, Reply, sent
from vist2_memory.serving.schemas import ChatRequest
from vist2_memory.serving.state import ServerState, State, Writer, observer_of, tell_end
from vist2_memory.serving.telemetry import tell_failure
from vist2_memory.serving.tenants import Tenant
from vist2_memory.serving.told import Completion
from vist2_memory.tracing import watching
from vist2_memory.types import Finished, GenerationEvent, GenerationParams

router = APIRouter()
T = TypeVar("T")

TOLD = ("X-Model", "X-Session-Id", "X-Turn")
"""Headers of an answer: by which model, and if it is logged where, percent-encoded."""
GONE = 499
"""The status of a request whose client went away; nobody reads it."""


@router.post(
    "/v1/chat/completions",
    response_model=None,
    responses={**refusals(404, 409), 200: {**sent_as(EVENTS)[200], "model": Completion}},
)
async def complete(
    body: ChatRequest,
    request: Request,
    tenant: Writer,
    state: State,
    x_session_id: Annotated[str | None, Header()] = None,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Answer a list of messages; with a session, the client need send only what is new to it."""
    began = time.perf_counter()
    if body.session_id and x_session_id and body.session_id != x_session_id:
        raise Problem(
            400,
            f"session_id is {body.session_id!r} and the header X-Session-Id {x_session_id!r}",
            "invalid_input",
            "session_id",
        )
    asked = _asked(body, tenant, body.session_id or x_session_id)
    inside = AsyncExitStack()
    span = inside.enter_context(state.telemetry.answer(tenant.memory.engine.spec.model))
    answering = _Answering(asked, tenant, state, span, idempotency_key)
    try:
        first = await unless_gone(request, answering.begin(inside))
        state.metrics.first_token(time.perf_counter() - began)
        if body.stream:
            with_usage = body.stream_options is not None and body.stream_options.include_usage
            events = answering.stream(first, with_usage)
            return EventStream(events, inside, answering.headers)
        whole = await unless_gone(request, answering.whole(first))
    except BaseException as error:
        tell_failure(span, error)
        await inside.aclose()
        raise
    await inside.aclose()
    return JSONResponse(whole, headers=answering.headers)


@dataclass(frozen=True, slots=True)
class _Asked:
    entries: list[Entry]
    params: GenerationParams
    session_id: str | None
    options: dict[str, Any]
    """How the memory is read."""
    body: ChatRequest


def _asked(body: ChatRequest, tenant: Tenant, session_id: str | None) -> _Asked:
    spec = tenant.memory.engine.spec
    if body.model not in (None, spec.model):
        raise Problem(
            404, f"there is no model {body.model!r} here, only {spec.model!r}", "model_not_found"
        )
    entries = list(map(Entry.of_part, read_messages(body.messages)))
    check_end(entries)
    tools = tuple(tool_of(tool) for tool in body.tools or ())
    logprobs = body.top_logprobs or 0 if body.logprobs or body.top_logprobs else None
    try:
        params = GenerationParams(
            max_tokens=body.max_completion_tokens or body.max_tokens or 256,
            temperature=body.temperature or 0.0,
            top_p=body.top_p or 1.0,
            top_k=body.top_k,
            seed=body.seed,
            stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
            tools=tools,
            tool_choice=choice_of(body.tool_choice, [tool.name for tool in tools]),
            parallel_tool_calls=body.parallel_tool_calls,
            schema=schema_of(body.response_format),
            logprobs=logprobs,
            exact_quotes=body.exact_quotes,
        )
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
    options: dict[str, Any] = {
        "include": [tenant.memory.collection(name) for name in body.include],
        "pins": body.pins,
        "budget": body.budget,
    }
    if body.selection is not None:
        options["selection"] = body.selection
    return _Asked(entries, params, session_id, options, body)


class _Answering:
    """One answer, from its request to its end."""

    def __init__(
        self, asked: _Asked, tenant: Tenant, state: ServerState, span: Span, again: str | None
    ) -> None:
        """``again``: what makes a request that is sent again the same one."""
        self._asked, self._tenant, self._again = asked, tenant, again
        self._state, self._span = state, span
        self.headers: dict[str, str] = {}
        """See ``TOLD``."""
        self._events: AsyncGenerator[GenerationEvent, None]
        self._reply: Reply
        self._session: tuple[str | None, str] = (None, "")

    async def begin(self, inside: AsyncExitStack) -> GenerationEvent:
        """Wait for a turn at the model; the first event. The rest is closed with ``inside``."""
        state = self._state
        state.metrics.queued(await inside.enter_async_context(state.gate.answer()))
        with watching(observer_of(state, self._span)):
            turn = await self._turn()
            asked = self._asked
            options = {"params": asked.params, **asked.options}
            if turn is None:
                messages = as_messages(asked.entries)
                options["keep_recent"] = asked.body.keep_recent
                self._events = self._tenant.passing.acomplete(messages, **options)
            else:
                self._events = turn.astream(**options)
        await inside.enter_async_context(aclosing(self._events))
        model = self._tenant.memory.engine.spec.model
        session = (None, "") if turn is None else (turn.session.id, turn.plan.turn)
        self._session = session
        self._reply = Reply(model, *session)
        said = zip(TOLD, (model, *session), strict=True)
        self.headers = {name: quote(value) for name, value in said if value}
        return await anext(self._events)

    async def whole(self, first: GenerationEvent) -> dict[str, Any]:
        """The answer as one object."""
        async for event in self._all(first):
            for _ in self._reply.chunks(event):
                pass
            if isinstance(event, Finished):
                end = event
        return self._reply.whole(end)

    async def stream(self, first: GenerationEvent, with_usage: bool) -> AsyncIterator[str]:
        """The answer as server-sent events; an error on the way is told as the last one."""
        try:
            async for event in self._all(first):
                for chunk in self._reply.chunks(event):
                    yield sent(chunk)
                if isinstance(event, Finished) and with_usage:
                    yield sent(self._reply.usage_chunk(event))
        except Exception as error:
            tell_failure(self._span, error)
            yield sent(told(error)[1])
            return
        yield DONE

    async def _all(self, first: GenerationEvent) -> AsyncIterator[GenerationEvent]:
        event = first
        while True:
            if isinstance(event, Finished):
                tell_end(self._state, self._span, event)
                self._note(event)
            yield event
            if isinstance(event, Finished):
                return
            event = await anext(self._events)

    def _note(self, end: Finished) -> None:
        """Keep what the answer of a session was read from, for the memory page."""
        session, turn = self._session
        if session is not None:
            body = self._asked.body
            reading = Reading(body.selection, tuple(body.include), len(body.pins), body.budget)
            self._tenant.answers.note(session, turn, end, reading)

    async def _turn(self) -> ListTurn | None:
        asked = self._asked
        if asked.session_id is None:
            return None
        memory = self._tenant.memory
        turn = await aopen_turn(memory, asked.session_id, asked.entries, asked.body.on_conflict)
        if self._again and turn.plan.question is not None and not turn.plan.again:
            named = hashlib.blake2b(self._again.encode(), digest_size=16).hexdigest()
            turn = replace(turn, plan=replace(turn.plan, turn=named))
        return turn


class EventStream(StreamingResponse):
    """A stream that frees what it held, however it ends, also before it began."""

    media_type = EVENTS

    def __init__(
        self, events: AsyncIterator[str], inside: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        unbuffered = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **headers}
        super().__init__(events, headers=unbuffered)
        self._inside = inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._inside.aclose()


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives; it is cancelled when the client goes away meanwhile."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Problem(GONE, "the client went away", "cancelled")
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await working


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
