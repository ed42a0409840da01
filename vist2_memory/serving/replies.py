"""The events of an answer in the form of OpenAI's chat completions, whole or in chunks."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from vist2_memory.memory.openai_form import logprobs_of
from vist2_memory.text.call_pieces import CallPiece, CallPieces
from vist2_memory.types import (
    Finished,
    GenerationEvent,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

DONE = "data: [DONE]\n\n"


class Reply:
    """One answer. ``session`` and ``turn`` say where it is logged, if it is."""

    def __init__(self, model: str, session: str | None, turn: str) -> None:
        self._frame = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }
        self._memory = {"session_id": session, "turn": turn or None}
        self._told = ""
        self._calls: list[CallPieces] = []
        self._pieces: list[CallPiece] = []
        self._logprobs: list[dict[str, Any]] = []

    def chunks(self, event: GenerationEvent) -> Iterator[dict[str, Any]]:
        """What a stream tells of ``event``; after ``Finished`` comes only :meth:`usage_chunk`."""
        if isinstance(event, TextDelta) and event.text:
            yield self._text_chunk(event.text, event.logprobs)
        elif isinstance(event, ToolCallDelta):
            yield from self._call_chunks([self._call(event).push(event.text)])
        elif isinstance(event, Finished):
            if rest := event.text[len(self._told) :]:  # all of an answer from the log
                yield self._text_chunk(rest, ())
            yield from self._call_chunks(self._last_pieces(event))
            ended = self._chunk({}, finish_reason=event.reason)
            yield ended | {"vist2": self._told_of_memory(event)}

    def usage_chunk(self, end: Finished) -> dict[str, Any]:
        """The chunk of a stream that tells what it took."""
        return {
            **self._frame,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": usage_of(end.usage),
        }

    def whole(self, end: Finished) -> dict[str, Any]:
        """The answer as one object; all other events were given to :meth:`chunks`."""
        message: dict[str, Any] = {"role": "assistant", "content": end.text or None}
        message["refusal"] = None
        if end.calls:
            message["tool_calls"] = self._whole_calls()
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": end.reason,
            "logprobs": {"content": self._logprobs, "refusal": None} if self._logprobs else None,
        }
        return {
            **self._frame,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage_of(end.usage),
            "vist2": self._told_of_memory(end),
        }

    def _text_chunk(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any]:
        delta = {"content": text} if self._told or self._pieces else _opening(text)
        self._told += text
        told = logprobs_of(logprobs)
        self._logprobs += told
        return self._chunk(delta, {"content": told, "refusal": None} if told else None)

    def _call_chunks(self, pieces: list[CallPiece | None]) -> Iterator[dict[str, Any]]:
        for piece in pieces:
            if piece is not None:
                opening = {} if self._told or self._pieces else _opening(None)
                self._pieces.append(piece)
                yield self._chunk({**opening, "tool_calls": [_as_delta(piece)]})

    def _call(self, event: ToolCallDelta) -> CallPieces:
        if event.index == len(self._calls):
            self._calls.append(CallPieces(event.index, event.id))
        return self._calls[event.index]

    def _last_pieces(self, end: Finished) -> list[CallPiece | None]:
        told = len(self._calls)  # none of an answer from the log
        pieces = [call.push("", last=True) for call in self._calls]
        for index, call in enumerate(end.calls[told:], told):
            self._calls.append(CallPieces(index, call.id))
            pieces.append(self._calls[index].push(call.text, last=True))
        return pieces

    def _whole_calls(self) -> list[dict[str, Any]]:
        calls: dict[int, dict[str, Any]] = {}
        for piece in self._pieces:
            if piece.index not in calls:
                function = {"name": piece.name, "arguments": ""}
                calls[piece.index] = {"id": piece.id, "type": "function", "function": function}
            calls[piece.index]["function"]["arguments"] += piece.arguments
        return list(calls.values())

    def _chunk(
        self,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**self._frame, "object": "chat.completion.chunk", "choices": [choice]}

    def _told_of_memory(self, end: Finished) -> dict[str, Any]:
        return {
            **self._memory,
            "usage": asdict(end.usage),
            "compression_ratio": end.usage.compression_ratio,
            "context_ratio": end.usage.context_ratio,
            "timing": asdict(end.timing),
            "degraded": list(end.degraded),
            "left_out_tokens": end.left_out_tokens,
            "left_out": [asdict(part) for part in end.left_out],
        }


def usage_of(usage: Usage) -> dict[str, Any]:
    """``usage`` in OpenAI's terms: what the model read, visual tokens and text, is the prompt."""
    read = usage.visual_tokens + usage.prompt_text_tokens
    return {
        "prompt_tokens": read,
        "completion_tokens": usage.new_tokens,
        "total_tokens": read + usage.new_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_visual_tokens},
    }


def sent(value: dict[str, Any]) -> str:
    """``value`` as one server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _opening(text: str | None) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _as_delta(piece: CallPiece) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": piece.arguments}
    if piece.id is None:
        return {"index": piece.index, "function": function}
    named = {"name": piece.name, **function}
    return {"index": piece.index, "id": piece.id, "type": "function", "function": named}
