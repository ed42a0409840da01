"""The encoder: batches of like sizes, results in the order of the chunks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.engines import CountingEngine
from tests.support.tokenizers import token_ids
from vist2_memory.engine import encoder
from vist2_memory.engine.steering import Grammars
from vist2_memory.text.chunking import chunk_id
from vist2_memory.types import Chunk, Context, Finished, GenerationParams

pytest_plugins = ("tests.support.fixtures",)

LENGTHS = [7, 30, 1, 22, 3, 15, 29, 8, 2, 30, 11]


def chunk(number: int, length: int) -> Chunk:
    text = f"{number} bees like rain and the sea"[:length]
    return Chunk(chunk_id(text), text, len(token_ids(text)))


def test_chunks_of_any_sizes_come_back_in_order_as_each_alone(
    engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "ENCODE_BATCH", 8)
    chunks = [chunk(number, length) for number, length in enumerate(LENGTHS)]
    together = engine.encoder.encode(chunks)
    assert [tokens.chunk_id for tokens in together] == [one.id for one in chunks]
    for one, tokens in zip(chunks, together, strict=True):
        [alone] = engine.encoder.encode([one])
        assert tokens.values.shape == alone.values.shape
        np.testing.assert_allclose(tokens.values, alone.values, atol=2**-7)


def test_a_batch_has_chunks_of_like_sizes(
    engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "ENCODE_BATCH", 8)
    drawn: list[list[int]] = []
    draw = engine.processor.renderer.draw

    def noting(chunks: list[Chunk]) -> object:
        sketches = draw(chunks)
        drawn.append([sketch.visual_tokens for sketch in sketches])
        return sketches

    monkeypatch.setattr(engine.processor.renderer, "draw", noting)
    engine.encoder.encode([chunk(number, length) for number, length in enumerate(LENGTHS)])
    assert list(map(len, drawn)) == [4, 4, 3]
    flat = [size for batch in drawn for size in batch]
    assert flat == sorted(flat)
    assert flat[0] < flat[-1]


def test_an_answer_that_is_held_to_nothing_takes_no_vocabulary(
    engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise AssertionError("made for an answer without a grammar")

    monkeypatch.setattr(engine, "_grammars", Grammars(refuse, engine._form))  # type: ignore[arg-type]
    params = GenerationParams(max_tokens=2)
    engine.check(params)
    *_, end = engine.generate(Context("", (), "Who?"), params)
    assert isinstance(end, Finished)
    with pytest.raises(AssertionError, match="without a grammar"):
        engine.check(GenerationParams(max_tokens=20, schema={"type": "object"}))
