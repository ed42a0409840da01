"""Answers of a server, ``vist2 serve``: sessions and model are there, message lists go there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from typing import Any
from urllib.parse import unquote

from langchain_vist2.chat.options import Asked
from langchain_vist2.errors import InvalidInputError
from vist2_memory.engine.remote.client import Client
from vist2_memory.engine.remote.wire import lines
from vist2_memory.errors import EngineUnavailableError
from vist2_memory.memory.entries import Entry
from vist2_memory.memory.streams import from_thread
from vist2_memory.types import (
    Finished,
    GenerationEvent,
    LeftOut,
    TextDelta,
    Timing,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
)


class ServedAnswer:
    """One call, from its messages to the events of its answer."""

    def __init__(
        self, client: Client, model: str | None, asked: Asked, entries: Sequence[Entry]
    ) -> None:
        """``model``: which one is meant, where a server may serve another.

        Raises ``InvalidInputError`` for what cannot be asked of a server.
        """
        if asked.visual_context is not None:
            raise InvalidInputError(
                "a middleware's memory is in this process, the model on a server: give the "
                "middleware a memory that is opened with engine='http://...'"
            )
        self._client, self._body = client, _body(asked, entries)
        if model is not None:
            self._body["model"] = model
        self.model_name = model or ""
        """What the server calls its model, when :meth:`events` was called."""
        self.session_id: str | None = None
        """The session that answers, if one does: the one that was asked, or a branch of it."""
        self.turn = ""
        """The turn of the answer in that session."""

    def events(self) -> Iterator[GenerationEvent]:
        """Ask, and answer; closing what is returned ends the answer."""
        opened = ExitStack()
        path = "/v1/chat/completions"
        response = opened.enter_context(self._client.stream("POST", path, json=self._body))
        told = {name: unquote(value) for name, value in response.headers.items()}
        self.model_name = told.get("x-model", self.model_name)
        self.session_id, self.turn = told.get("x-session-id"), told.get("x-turn", "")
        return self._told(response.iter_lines(), opened)

    async def aevents(self) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`events`, without blocking the event loop."""
        events = await asyncio.to_thread(self.events)
        return from_thread(lambda: events)

    def _told(self, data: Iterator[str], opened: ExitStack) -> Iterator[GenerationEvent]:
        answer = _Answer()
        with opened:
            for chunk in lines(data):
                if "error" in chunk:
                    raise self._client.failed(chunk["error"]["message"], chunk["error"].get("code"))
                yield from answer.read(chunk)
        if not answer.ended:
            raise EngineUnavailableError(
                f"the server at {self._client.url} broke off in the middle of an answer: ask again"
            )


class _Answer:
    """Chunks of a chat completion as the events that they were made of."""

    def __init__(self) -> None:
        self.ended = False
        self._text = ""
        self._calls: list[tuple[str, str]] = []  # id, and what was written so far

    def read(self, chunk: Mapping[str, Any]) -> Iterator[GenerationEvent]:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            if text := delta.get("content"):
                self._text += text
                told = (choice.get("logprobs") or {}).get("content") or ()
                yield TextDelta(text, tuple(map(_logprob, told)))
            for piece in delta.get("tool_calls") or ():
                yield self._piece(piece)
            if choice["finish_reason"]:
                self.ended = True
                yield self._finished(choice["finish_reason"], chunk["vist2"])

    def _piece(self, piece: Mapping[str, Any]) -> ToolCallDelta:
        index, function = piece["index"], piece["function"]
        text = function["arguments"]
        if index == len(self._calls):
            name = json.dumps(function["name"], ensure_ascii=False)
            text = f'{{"name": {name}, "arguments": {text}'
            self._calls.append((piece["id"], ""))
        id, before = self._calls[index]
        self._calls[index] = (id, before + text)
        return ToolCallDelta(index, id, text)

    def _finished(self, reason: Any, told: Mapping[str, Any]) -> Finished:
        usage, timing = (
            {part.name: told[of][part.name] for part in fields(kind) if part.name in told[of]}
            for of, kind in (("usage", Usage), ("timing", Timing))
        )
        return Finished(
            text=self._text,
            reason=reason,
            usage=Usage(**usage),
            timing=Timing(**timing),
            degraded=tuple(told["degraded"]),
            left_out_tokens=told["left_out_tokens"],
            calls=tuple(ToolCall(id, text + "}") for id, text in self._calls),
            left_out=tuple(
                LeftOut(part["kind"], part["name"], tuple(part["ids"]), part["tokens"])
                for part in told["left_out"]
            ),
        )


def _body(asked: Asked, entries: Sequence[Entry]) -> dict[str, Any]:
    params = asked.params
    names = [book if isinstance(book, str) else None for book in asked.include]
    if None in names:
        raise InvalidInputError("include takes names of collections, which are on the server")
    body: dict[str, Any] = {
        "messages": [_message(entry) for entry in entries],
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "seed": params.seed,
        "exact_quotes": params.exact_quotes,
        "stop": list(params.stop) or None,
        "logprobs": params.logprobs is not None,
        "top_logprobs": params.logprobs,
        "session_id": asked.session_id,
        "on_conflict": asked.on_conflict,
        "keep_recent": asked.keep_recent,
        "include": names,
        "stream": True,
    }
    if params.tools:
        body["tools"] = [_tool(tool) for tool in params.tools]
        body["tool_choice"] = _choice(params.tool_choice)
        body["parallel_tool_calls"] = params.parallel_tool_calls
    if params.schema is not None:
        form = {"name": "answer", "schema": dict(params.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    reading = dict(asked.reading)
    if "pins" in reading:
        reading["pins"] = list(reading["pins"])  # type: ignore[call-overload]
    if not isinstance(reading.get("selection", ""), str):
        raise InvalidInputError("selection takes the name of a policy: it is chosen on the server")
    return {name: value for name, value in {**body, **reading}.items() if value is not None}


def _message(entry: Entry) -> dict[str, Any]:
    message: dict[str, Any] = {"role": entry.role, "content": entry.text}
    for name in ("name", "tool_call_id"):
        if name in entry.payload:
            message[name] = entry.payload[name]
    if entry.calls:
        message["tool_calls"] = [_call(call) for call in entry.calls]
    return message


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = call.arguments
    told = call.text if arguments is None else json.dumps(arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": told}}


def _tool(tool: Tool) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}


def _choice(choice: str) -> Any:
    if choice in ("auto", "none"):
        return choice
    return "required" if choice == "any" else {"type": "function", "function": {"name": choice}}


def _logprob(told: Mapping[str, Any]) -> TokenLogprob:
    top = tuple(map(_logprob, told.get("top_logprobs") or ()))
    return TokenLogprob(told["token"], bytes(told["bytes"] or ()), told["logprob"], top)
