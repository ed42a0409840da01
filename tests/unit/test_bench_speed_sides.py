"""Both sides of ``vist2 bench speed``: the text twin, random checkpoints, and their histories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.checkpoints import small_config, small_model
from vist2_memory.benchmark.speed_models import (
    TOWERS,
    made_history,
    random_checkpoint,
    sized_config,
    talked_history,
    wide_tokenizer,
)
from vist2_memory.benchmark.speed_text import WAYS, TextTwin, length, nbytes, synthetic
from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.presets import SOURCES, WIDE_LINES
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.types import Context, GenerationParams

pytest_plugins = ("tests.support.fixtures",)

IDS = [20 + n % 50 for n in range(60)]


@pytest.fixture(scope="module")
def twin() -> TextTwin:
    return TextTwin(small_model().language_model)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEngine]:
    """Random weights of few parameters, with the geometry and the vocabulary of a large model."""
    config = small_config(
        text={"vocab_size": 6000},
        vision={"num_patches": 16},
        geometry=WIDE_LINES,
        chunk_tokens=64,
        keep_recent_chunks=1,
    )
    folder = random_checkpoint(config, tmp_path_factory.mktemp("random") / "model")
    engine = TorchEngine(folder, options=EngineOptions(device="cpu", dtype="bfloat16"))
    engine.check(GenerationParams())
    yield engine
    engine.close()


def test_the_twin_has_the_very_weights_and_says_what_the_model_says(twin: TextTwin) -> None:
    model = small_model().language_model
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([IDS])).logits[0, -1]
    cache, token = twin.prefill(IDS)
    assert token == int(logits.argmax())
    assert length(cache) == 60
    again = TextTwin(model)
    assert again.model.lm_head.weight.data_ptr() == model.lm_head.weight.data_ptr()


def test_a_next_turn_is_the_same_behind_each_cache_as_without_any(twin: TextTwin) -> None:
    cache, _ = twin.prefill(IDS)
    _, expected = twin.prefill([*IDS, 5, 6, 7])
    for held in twin.caches(cache, room=8).values():
        assert twin.prefill([5, 6, 7], held)[1] == expected


@pytest.mark.parametrize("way", WAYS)
def test_decoding_leaves_the_cache_as_it_was(twin: TextTwin, way: str) -> None:
    cache, _ = twin.prefill(IDS)
    held = twin.caches(cache, room=8)[way.split()[0]]
    _, expected = twin.prefill([*IDS, 5])
    assert twin.decode(way, held, 4) > 0
    assert length(held) == 60
    assert twin.prefill([5], held)[1] == expected


def test_random_keys_and_values_are_as_large_as_real_ones(twin: TextTwin) -> None:
    cache, _ = twin.prefill(IDS)
    assert nbytes(synthetic(twin.model, 60)) == nbytes(cache)
    assert nbytes(synthetic(twin.model, 60, batch=3)) == 3 * nbytes(cache)


def test_text_is_read_as_by_the_bundled_tokenizer() -> None:
    bundled = Vist2Tokenizer.load(find_model("vist2-tiny"))
    tokenizer = wide_tokenizer(6000)
    assert len(tokenizer) == 6000
    text = "Ms Ferro's cat is called Miso, as of 14 March.\n\tÀ bientôt!"
    assert tokenizer.encode(text) == bundled.encode(text)
    added = [tokenizer.bytes_of(token) for token in range(len(bundled), 6000)]
    assert len(set(added)) == len(added)
    assert {(len(word), word[:1]) for word in added} == {(5, b" ")}


@pytest.mark.parametrize(("ratio", "visual"), [(4.0, 160), (4.5, 142)])
def test_a_made_history_costs_what_the_ratio_says(
    wide: TorchEngine, ratio: float, visual: int
) -> None:
    history = made_history(wide, 640, ratio)
    assert [chunk.tokens for chunk in history.chunks] == [64] * 10
    assert sum(map(wide.cost, history.chunks)) == visual
    assert sum(map(len, wide.encode(history.chunks))) == visual
    tokens = wide.processor.tokenizer.encode(history.text)
    assert 640 + 48 < len(tokens) < 640 + 80  # and as much text as a session keeps


def test_a_ratio_that_short_words_cannot_have_is_refused(wide: TorchEngine) -> None:
    with pytest.raises(InvalidInputError, match="ratio=9"):
        made_history(wide, 640, 9.0)


def test_a_random_model_answers_in_words_as_long_as_text(wide: TorchEngine) -> None:
    history = made_history(wide, 64, 4.0)
    wide.stop_ids, stop_ids = frozenset(), wide.stop_ids
    try:
        context = Context("", tuple(wide.encode(history.chunks)), history.tail)
        events: list[Any] = list(wide.generate(context, GenerationParams(max_tokens=70)))
    finally:
        wide.stop_ids = stop_ids
    assert events[-1].usage.new_tokens == 70
    assert events[-1].usage.folds == 1
    assert len(events[-1].text) == 5 * 70


def test_a_conversation_is_as_long_as_asked_and_within_what_the_model_reads(
    checkpoint: Path,
) -> None:
    engine = TorchEngine(checkpoint)
    history = talked_history(engine, 100)
    assert 100 <= sum(chunk.tokens for chunk in history.chunks) < 110
    assert len({chunk.id for chunk in history.chunks}) > 10
    long = talked_history(engine, 100_000)
    assert 1000 < sum(map(engine.cost, long.chunks)) <= 1024


@pytest.mark.parametrize("name", SOURCES)
def test_sizes_have_their_tower_and_positions_for_the_history(name: str) -> None:
    for tower, changed in TOWERS.items():
        config: Any = sized_config(name, tower, 131_072)
        assert config.text_config.max_position_embeddings >= 131_072 + 1000
        assert config.max_visual_tokens >= 131_072 / 4
        assert config.vision_config.num_hidden_layers == changed.get("num_hidden_layers", 24)
