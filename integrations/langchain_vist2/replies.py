"""The events of an answer as LangChain's chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from langchain_vist2.call_pieces import CallPieces
from vist2_memory.types import (
    Finished,
    GenerationEvent,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)


class Reply:
    """One answer: chunks for the pieces of its text and calls, and a last one with metadata."""

    def __init__(self, model_name: str, session_id: str | None = None, turn: str = "") -> None:
        self._metadata: dict[str, Any] = {"model_provider": "vist2", "model_name": model_name}
        if session_id is not None:
            self._metadata |= {"session_id": session_id, "turn": turn}
        self._told = 0
        self._calls: list[CallPieces] = []
        self._logprobs: list[TokenLogprob] = []

    def chunk(self, event: GenerationEvent) -> ChatGenerationChunk | None:
        """The chunk that tells of ``event``; None where there is nothing to tell."""
        if isinstance(event, TextDelta):
            self._told += len(event.text)
            self._logprobs += event.logprobs
            return ChatGenerationChunk(message=AIMessageChunk(content=event.text))
        if isinstance(event, ToolCallDelta):
            piece = self._call(event.index, event.id).push(event.text)
            if piece is None:
                return None
            return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[piece]))
        if isinstance(event, Finished):
            return ChatGenerationChunk(message=self._last(event))
        return None

    def _call(self, index: int, id: str) -> CallPieces:
        if index == len(self._calls):
            self._calls.append(CallPieces(index, id))
        return self._calls[index]

    def _last(self, end: Finished) -> AIMessageChunk:
        told = len(self._calls)  # none of an answer that came from the log
        pieces = [call.push("", last=True) for call in self._calls]
        for index, call in enumerate(end.calls[told:], told):
            pieces.append(self._call(index, call.id).push(call.text, last=True))
        metadata = {
            **self._metadata,
            "finish_reason": end.reason,
            "compression_ratio": end.usage.compression_ratio,
            "context_ratio": end.usage.context_ratio,
            "text_tokens": end.usage.text_tokens,
            "visual_tokens": end.usage.visual_tokens,
            "reused_tokens": end.usage.reused_tokens,
            "left_out_tokens": end.left_out_tokens,
            "degraded": list(end.degraded),
            "timing": asdict(end.timing),
        }
        if end.left_out:
            metadata["left_out"] = [asdict(part) for part in end.left_out]
        if self._logprobs:
            metadata["logprobs"] = {"content": _as_openai_has_them(self._logprobs)}
        return AIMessageChunk(
            content=end.text[self._told :],  # all of an answer that came from the log
            tool_call_chunks=[piece for piece in pieces if piece is not None],
            chunk_position="last",
            usage_metadata=usage_metadata(end.usage),
            response_metadata=metadata,
        )


def usage_metadata(usage: Usage) -> UsageMetadata:
    """``usage`` in LangChain's terms: what the model read, visual tokens and text, is its input.

    ``text_tokens``, those that the visual tokens stand for, are beside ``input_token_details`` and
    not among them: by LangChain's rule details are parts of the input, and this is several times
    what was read.
    """
    read = usage.visual_tokens + usage.prompt_text_tokens
    details = {
        "cache_read": usage.cached_visual_tokens,
        "cache_creation": usage.visual_tokens - usage.cached_visual_tokens,
    }
    known = {
        "input_tokens": read,
        "output_tokens": usage.new_tokens,
        "total_tokens": read + usage.new_tokens,
        "input_token_details": details,
        "text_tokens": usage.text_tokens,
    }
    return cast(UsageMetadata, known)


def _as_openai_has_them(logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    return [
        {**_likely(one), "top_logprobs": [_likely(other) for other in one.top]} for one in logprobs
    ]


def _likely(one: TokenLogprob) -> dict[str, Any]:
    return {"token": one.token, "bytes": list(one.bytes), "logprob": one.logprob}
