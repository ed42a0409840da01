"""The events of an answer as LangChain's chunks."""

from __future__ import annotations

from dataclasses import asdict

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from vist2_memory.types import Finished, GenerationEvent, TextDelta, Usage


class Reply:
    """One answer: a chunk for each piece of text, and a last one with usage and metadata."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._told = 0

    def chunk(self, event: GenerationEvent) -> ChatGenerationChunk | None:
        """The chunk that tells of ``event``; None where there is nothing to tell."""
        if isinstance(event, TextDelta):
            self._told += len(event.text)
            return ChatGenerationChunk(message=AIMessageChunk(content=event.text))
        if isinstance(event, Finished):
            return ChatGenerationChunk(message=self._last(event))
        return None

    def _last(self, end: Finished) -> AIMessageChunk:
        return AIMessageChunk(
            content=end.text[self._told :],  # all of an answer that came from the log
            chunk_position="last",
            usage_metadata=usage_metadata(end.usage),
            response_metadata={
                "model_provider": "vist2",
                "model_name": self._model_name,
                "finish_reason": end.reason,
                "compression_ratio": end.usage.compression_ratio,
                "context_ratio": end.usage.context_ratio,
                "text_tokens": end.usage.text_tokens,
                "visual_tokens": end.usage.visual_tokens,
                "left_out_tokens": end.left_out_tokens,
                "degraded": list(end.degraded),
                "timing": asdict(end.timing),
            },
        )


def usage_metadata(usage: Usage) -> UsageMetadata:
    """``usage`` in LangChain's terms: what the model read, visual tokens and text, is its input."""
    read = usage.visual_tokens + usage.prompt_text_tokens
    return UsageMetadata(
        input_tokens=read,
        output_tokens=usage.new_tokens,
        total_tokens=read + usage.new_tokens,
        input_token_details=InputTokenDetails(
            cache_read=usage.cached_visual_tokens,
            cache_creation=usage.visual_tokens - usage.cached_visual_tokens,
        ),
    )
