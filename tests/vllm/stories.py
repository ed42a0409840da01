"""Contexts of pages, for engines of stock vision-language models."""

from __future__ import annotations

from vist2_memory.engine.vlm.engine import VLMEngine
from vist2_memory.text.transcript import write_message
from vist2_memory.types import Context

STORY = (
    "Anna moved to 12 Harbour Street with three cats, and Ben, who had seven boats, wrote to her "
    "every nine days about the weather, the price of coal and the geese by the old mill. "
)


def context_of(engine: VLMEngine, pages: int = 3, *, salt: str = "", first: str = "") -> Context:
    text, chunks = write_message("user", first + STORY * 3), []
    for _ in range(pages):
        chunk = engine.chunker.first(text)
        assert chunk is not None
        chunks.append(chunk)
        text = text.removeprefix(chunk.text)
    tail = write_message("user", "Who had boats?") + write_message("assistant", "")
    return Context(
        write_message("system", "You are kind."),
        tuple(engine.encode(chunks)),
        tail,
        sources=tuple(chunks),
        cache_salt=salt,
    )


def endless_pages(*engines: VLMEngine) -> None:
    """What ends an answer is never said from now on: it goes on to the last token."""
    for engine in engines:
        never = {*engine._never.tolist(), *engine._stop_ids}
        engine._never = engine._never.new_tensor(sorted(never))
