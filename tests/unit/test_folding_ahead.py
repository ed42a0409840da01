"""Encoding while decoding goes on: begun by the number of tokens, waited for, and left by none."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.engines import CountingEngine, Script
from tests.support.tokenizers import token_ids
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import Chunk, ChunkFolded, Context, GenerationParams, VisualTokens

pytest_plugins = ("tests.support.fixtures",)

TAIL = f"{MARKS['user']}Who?{MARKS['assistant']}"
ANSWER = "They don't like rain, and it rained for 23 days. " * 8


class Watched(CountingEngine):
    """Notes what was encoded where; waits for leave to begin, and fails if it is told to."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.threads: list[str] = []
        self.leave = threading.Event()
        self.leave.set()
        self.fails = False
        super().__init__(folder, keep)

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        self.threads.append(threading.current_thread().name)
        assert self.leave.wait(20)
        if self.fails:
            raise MemoryError("no room for the tower")
        return super().encode(chunks)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [t.name for t in threading.enumerate() if t.name == "vist2-encode"] == []


def answer(engine: Watched, script: Script, tokens: int = 60) -> list[ChunkFolded]:
    script.say(token_ids(ANSWER)[:tokens])
    events = engine.generate(Context("", (), TAIL), GenerationParams(max_tokens=tokens))
    return [event for event in events if isinstance(event, ChunkFolded)]


def test_where_recent_text_is_kept_chunks_are_encoded_beside_decoding(
    checkpoint: Path, script: Script
) -> None:
    engine = Watched(checkpoint, 1)
    folded = answer(engine, script)
    assert len(folded) > 4
    assert engine.threads == ["vist2-encode"] * len(folded)
    for event, visual in zip(folded, engine.encode([e.chunk for e in folded]), strict=True):
        assert event.visual.chunk_id == visual.chunk_id
        assert event.visual.values == pytest.approx(visual.values, abs=1e-6)


def test_where_none_is_kept_the_text_is_not_there_before_the_fold(
    checkpoint: Path, script: Script
) -> None:
    engine = Watched(checkpoint, 0)
    folded = answer(engine, script)
    assert engine.threads == [threading.current_thread().name] * len(folded) != []


def test_tokens_come_while_a_chunk_is_encoded_and_the_fold_waits_for_it(
    checkpoint: Path, script: Script
) -> None:
    engine = Watched(checkpoint, 1)
    engine.leave.clear()
    script.say(token_ids(ANSWER)[:60])
    events = engine.generate(Context("", (), TAIL), GenerationParams(max_tokens=60))
    room = engine.spec.tail_limit - len(token_ids(TAIL))
    for _ in range(room - 2):
        next(events)  # would wait if it were not beside
    assert engine.threads == ["vist2-encode"]
    engine.leave.set()
    assert any(isinstance(event, ChunkFolded) for event in events)


def test_a_failure_beside_is_raised_at_the_fold(checkpoint: Path, script: Script) -> None:
    engine = Watched(checkpoint, 1)
    engine.fails = True
    script.say(token_ids(ANSWER)[:60])
    events = engine.generate(Context("", (), TAIL), GenerationParams(max_tokens=60))
    seen: list[object] = []
    with pytest.raises(MemoryError, match="no room for the tower"):
        seen.extend(events)
    assert len(seen) >= engine.spec.tail_limit - len(token_ids(TAIL)) - 2


def test_closed_meanwhile_a_generation_waits_for_its_thread(
    checkpoint: Path, script: Script
) -> None:
    engine = Watched(checkpoint, 1)
    script.say(token_ids(ANSWER)[:60])
    events = engine.generate(Context("", (), TAIL), GenerationParams(max_tokens=60))
    while not engine.threads:
        next(events)
    events.close()  # type: ignore[attr-defined]
    assert engine.threads == ["vist2-encode"]


def test_what_cannot_come_to_a_fold_is_not_encoded(checkpoint: Path, script: Script) -> None:
    engine = Watched(checkpoint, 1)
    assert answer(engine, script, tokens=engine.spec.tail_limit - len(token_ids(TAIL)) - 1) == []
    assert engine.threads == []
