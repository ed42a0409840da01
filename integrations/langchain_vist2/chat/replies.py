"""The events of an answer as LangChain's chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from langchain_core.messages import AIMessageChunk, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

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
            pieces = tool_call_chunks_of([piece])
            return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=pieces))
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
            metadata["logprobs"] = {"content": logprobs_of(self._logprobs)}
        return AIMessageChunk(
            content=end.text[self._told :],  # all of an answer that came from the log
            tool_call_chunks=tool_call_chunks_of(pieces),
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


def tool_call_chunks_of(pieces: Sequence[CallPiece | None]) -> list[ToolCallChunk]:
    """``pieces`` of calls as LangChain's, without those that tell nothing."""
    return [
        tool_call_chunk(name=piece.name, args=piece.arguments, id=piece.id, index=piece.index)
        for piece in pieces
        if piece is not None
    ]
