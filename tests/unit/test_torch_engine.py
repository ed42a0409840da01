"""The in-process engine: its KV cache through folds and forks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.checkpoints import save_small, small_config
from tests.support.engines import CountingEngine, Script, embed
from tests.support.memories import ANSWER
from tests.support.tokenizers import token_ids
from vist2_memory.engine.torch import TorchDecoder
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import (
    Chunk,
    ChunkFolded,
    Context,
    Finished,
    GenerationParams,
    VisualTokens,
)

pytest_plugins = ("tests.support.fixtures",)

TAIL = f"{MARKS['user']}Who?{MARKS['assistant']}"
GREEDY = GenerationParams(max_tokens=200)


@pytest.fixture(params=[0, 1], ids=["keep0", "keep1"])
def engine(request: pytest.FixtureRequest, checkpoint: Path) -> CountingEngine:
    return CountingEngine(checkpoint, request.param)


def chunks_of(*texts: str) -> list[Chunk]:
    return [Chunk(chunk_id(text), text, len(token_ids(text))) for text in texts]


def test_a_vocabulary_padded_beyond_the_tokenizer_is_never_said(tmp_path: Path) -> None:
    """Pretrained models round their tables up."""
    folder = save_small(tmp_path / "padded", small_config(text={"vocab_size": 4000}))
    engine = CountingEngine(folder)
    params = GenerationParams(max_tokens=20, temperature=2.0, seed=0)
    *_, end = engine.generate(Context("", (), TAIL), params)
    assert isinstance(end, Finished)
    assert end.usage.new_tokens > 0


def test_a_fold_leaves_the_cache_as_long_as_if_the_text_had_never_been(
    engine: CountingEngine,
) -> None:
    visual = engine.encode(chunks_of("My cat is called Miso."))
    cache = engine.prefill(MARKS["system"] + "Be kind.", visual)
    base = len(token_ids(MARKS["system"] + "Be kind.")) + len(visual[0])
    assert len(cache) == base
    assert cache.nbytes == base * engine.spec.kv_bytes_per_token
    cache.append(embed(engine, token_ids("They don't like rain")))
    new = torch.from_numpy(engine.encode(chunks_of("They don't like rain"))[0].values)
    cache.fold(base, new)
    assert len(cache) == base + len(new)
    assert cache.nbytes == (base + len(new)) * engine.spec.kv_bytes_per_token


@pytest.mark.parametrize("keep", [0, 1])
def test_while_generating_each_fold_leaves_visual_tokens_and_what_is_kept_where_the_text_stood(
    checkpoint: Path, script: Script, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    engine = CountingEngine(checkpoint, keep)
    lengths: list[tuple[int, int]] = []
    fold = TorchDecoder.fold

    def recorded(decoder: TorchDecoder, visual: VisualTokens, kept: list[int]) -> None:
        before = len(decoder._cache)
        fold(decoder, visual, kept)
        lengths.append((before, len(decoder._cache)))

    monkeypatch.setattr(TorchDecoder, "fold", recorded)
    script.say(ANSWER)
    visual = engine.encode(chunks_of("My cat is called Miso."))
    events = list(engine.generate(Context("", tuple(visual), TAIL), GREEDY))
    base, expected = len(visual[0]), []
    for event in events:
        if isinstance(event, ChunkFolded):
            # The token that filled the chunk was never run: its chunk is drawn instead.
            before = base + engine.spec.tail_limit - 1
            base += len(event.visual)
            kept = engine.spec.tail_limit - event.chunk.tokens
            expected.append((before, base + kept))
    assert len(expected) > 1
    assert lengths == expected


@pytest.mark.parametrize("drop_nothing", [True, False])
def test_after_a_fold_the_cache_answers_as_one_that_never_saw_the_text(
    engine: CountingEngine, drop_nothing: bool
) -> None:
    folded, fresh = (
        engine.prefill("", engine.encode(chunks_of("Bees"))),
        engine.prefill("", engine.encode(chunks_of("Bees"))),
    )
    base = len(folded)
    if not drop_nothing:
        folded.append(embed(engine, token_ids("They don't like rain")))
    new = torch.from_numpy(engine.encode(chunks_of("Lisbon"))[0].values)
    torch.testing.assert_close(folded.fold(base, new), fresh.append(new))


@pytest.mark.parametrize("length", [-1, 100])
def test_a_fold_to_a_length_that_is_not_there_is_refused(
    engine: CountingEngine, length: int
) -> None:
    cache = engine.prefill("", engine.encode(chunks_of("Bees")))
    with pytest.raises(ValueError, match=f"cannot fold to {length} tokens"):
        cache.fold(length, torch.zeros(1, 32))


def test_a_fork_and_its_origin_go_their_own_ways(engine: CountingEngine, script: Script) -> None:
    visual = engine.encode(chunks_of("My cat is called Miso."))
    memory = engine.prefill("", visual)
    before = len(memory)
    context = Context("", tuple(visual), TAIL)
    answers = []
    for _ in range(2):  # the second answer starts from a memory that the first left untouched
        script.logits = []
        script.say(ANSWER)
        list(engine.generate(context, GREEDY, memory))
        answers.append(script.logits)
        assert len(memory) == before
    script.logits = []
    script.say(ANSWER)
    list(engine.generate(context, GREEDY))
    for first, second, without in zip(*answers, script.logits, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first, without)


def test_text_beyond_the_limit_was_wanted_as_text_and_leaves_by_the_chunk(
    engine: CountingEngine, script: Script
) -> None:
    """Else every new token would fold, and run all that is kept again."""
    long = MARKS["user"] + "They don't like rain, you told me so. " * 20 + MARKS["assistant"]
    chunk, tokens = engine.spec.chunk_tokens, len(token_ids(long))
    assert tokens > engine.spec.tail_limit + 4 * chunk
    script.say([*token_ids(" rain" * (2 * chunk + 1))][: 2 * chunk + 1])
    params = GenerationParams(max_tokens=2 * chunk + 1)
    *events, end = engine.generate(Context("", (), long), params)
    folded = [event.chunk.text for event in events if isinstance(event, ChunkFolded)]
    assert len(folded) == 2
    assert long.startswith("".join(folded))
    assert isinstance(end, Finished)
    assert end.usage.new_tokens == 2 * chunk + 1
