"""Encoding and reading what is folded next, some tokens before: by their number, never by time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.support.engines import CountingEngine, Script
from tests.support.tokenizers import token_ids
from vist2_memory.engine import generation, kv
from vist2_memory.engine import torch as torch_engine
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import (
    Chunk,
    ChunkFolded,
    Context,
    GenerationEvent,
    GenerationParams,
    VisualTokens,
)

pytest_plugins = ("tests.support.fixtures",)

TAIL = f"{MARKS['user']}Who?{MARKS['assistant']}"
ANSWER = "They don't like rain, and it rained for 23 days. " * 8


class Watched(CountingEngine):
    """Notes after how many events what was encoded, and fails if it is told to."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.seen: list[GenerationEvent] = []
        self.encoded_after: list[int] = []
        self.fails = False
        super().__init__(folder, keep)

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        self.encoded_after.append(len(self.seen))
        if self.fails:
            raise MemoryError("no room for the tower")
        return super().encode(chunks)

    def say(self, script: Script, tokens: int = 60) -> list[ChunkFolded]:
        script.say(token_ids(ANSWER)[:tokens])
        params = GenerationParams(max_tokens=tokens)
        self.seen.clear()
        for event in self.generate(Context("", (), TAIL), params):
            self.seen.append(event)
        return [event for event in self.seen if isinstance(event, ChunkFolded)]


def test_where_recent_text_is_kept_chunks_are_encoded_before_their_fold(
    checkpoint: Path, script: Script
) -> None:
    engine = Watched(checkpoint, 1)
    folded = engine.say(script)
    folds = [place for place, event in enumerate(engine.seen) if isinstance(event, ChunkFolded)]
    assert len(folds) > 4
    ahead = [fold - after for fold, after in zip(folds, engine.encoded_after, strict=True)]
    assert min(ahead) >= min(generation.AHEAD, engine.spec.keep_recent) - 2
    for event, visual in zip(folded, engine.encode([e.chunk for e in folded]), strict=True):
        assert event.visual.chunk_id == visual.chunk_id
        assert event.visual.values == pytest.approx(visual.values, abs=1e-6)


def test_where_none_is_kept_the_text_is_not_there_before_the_fold(
    checkpoint: Path, script: Script
) -> None:
    engine = Watched(checkpoint, 0)
    engine.say(script)
    folds = [place for place, event in enumerate(engine.seen) if isinstance(event, ChunkFolded)]
    assert engine.encoded_after == folds != []


def test_a_failure_is_raised_at_the_fold(checkpoint: Path, script: Script) -> None:
    engine = Watched(checkpoint, 1)
    engine.fails = True
    with pytest.raises(MemoryError, match="no room for the tower"):
        engine.say(script)
    assert len(engine.seen) >= engine.spec.tail_limit - len(token_ids(TAIL)) - 2


def test_what_cannot_come_to_a_fold_is_not_encoded(checkpoint: Path, script: Script) -> None:
    engine = Watched(checkpoint, 1)
    short = engine.spec.tail_limit - len(token_ids(TAIL)) - 1
    assert engine.say(script, tokens=short) == []
    assert engine.encoded_after == []


@pytest.mark.parametrize("piece", [1, 3, 24])
def test_logits_are_those_of_an_engine_that_reads_nothing_ahead(
    checkpoint: Path, script: Script, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """Also where a fold comes before all was read ahead."""
    monkeypatch.setattr(torch_engine, "READ_AHEAD", piece)
    runs: list[int] = []
    append_with = kv.KVCache.append_with

    def recorded(cache: kv.KVCache, embeds: torch.Tensor, beside: kv.Beside, tokens: int) -> object:
        runs.append(min(tokens, beside.left))
        return append_with(cache, embeds, beside, tokens)

    monkeypatch.setattr(kv.KVCache, "append_with", recorded)
    Watched(checkpoint, 1).say(script)
    ahead, script.logits = script.logits, []
    monkeypatch.setattr(torch_engine.TorchDecoder, "read_ahead", lambda *_: None)
    Watched(checkpoint, 1).say(script)
    assert len(runs) > 4
    assert max(runs) <= piece
    assert len(ahead) == len(script.logits) > 50
    for one, other in zip(ahead, script.logits, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
