"""Keys and values in buffers: against transformers' own cache, and what is copied and held."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, Qwen3ForCausalLM

from tests.support.checkpoints import small_model
from vist2_memory.engine.kv import BLOCK, Beside, KVCache, KVLayer
from vist2_memory.engine.steps import PlainSteps, Tokens
from vist2_memory.errors import ModelError

LENGTHS = [5, 1, 1, 7, 1, BLOCK, 3]


@pytest.fixture(scope="module")
def language_model() -> Qwen3ForCausalLM:
    return small_model().language_model


def embeds(tokens: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, 32, generator=generator)


@torch.inference_mode()
def by_transformers(pieces: list[Tensor]) -> list[Tensor]:
    model = small_model().language_model
    cache = DynamicCache(config=model.config)
    return [
        model(inputs_embeds=piece[None], past_key_values=cache, logits_to_keep=1).logits[0, -1]
        for piece in pieces
    ]


def test_logits_are_those_of_transformers_with_its_own_cache(
    language_model: Qwen3ForCausalLM,
) -> None:
    pieces = [embeds(tokens, seed) for seed, tokens in enumerate(LENGTHS)]
    cache = KVCache(language_model)
    for ours, theirs in zip(map(cache.append, pieces), by_transformers(pieces), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert len(cache) == sum(LENGTHS)


def test_long_texts_behind_others_are_run_in_pieces(
    language_model: Qwen3ForCausalLM,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vist2_memory.engine.kv.PIECE", 4)
    cache = KVCache(language_model)
    cache.append(embeds(3))
    ours = cache.append(embeds(11, 1))
    _, theirs = by_transformers([embeds(3), embeds(11, 1)])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_neither_appending_nor_folding_moves_what_stays(language_model: Qwen3ForCausalLM) -> None:
    cache = KVCache(language_model)
    cache.append(embeds(10))
    places = [layer.buffers[0].data_ptr() for layer in cache._layers]
    for seed in range(BLOCK - 20):
        cache.append(embeds(1, seed))
    cache.fold(4, embeds(2))
    cache.append(embeds(5))
    assert [layer.buffers[0].data_ptr() for layer in cache._layers] == places


def test_buffers_grow_seldom_and_hold_little_more_than_is_used() -> None:
    layer, nothing = KVLayer(), torch.zeros(1, 2, 0, 8)
    layer.begin(nothing, nothing)
    moves, place = 0, 0
    for length in range(2000, 3001):
        layer.reserve(length)
        layer.length = length
        moves, place = moves + (layer.keys.data_ptr() != place), layer.keys.data_ptr()
    assert moves <= 3
    assert 3000 < layer.room < 1.3 * 3000 + BLOCK
    assert layer.token_bytes == 2 * 2 * 8 * 4


def test_a_copy_of_a_beginning_holds_that_alone_and_goes_its_own_way(
    language_model: Qwen3ForCausalLM,
) -> None:
    cache = KVCache(language_model)
    cache.append(embeds(300))
    fork = cache.fork(20)
    assert len(fork) == 20
    assert fork.nbytes * 15 == cache.nbytes
    assert fork.allocated < cache.allocated
    _, expected = by_transformers([embeds(300)[:20], embeds(2, 7)])
    torch.testing.assert_close(fork.append(embeds(2, 7)), expected, rtol=1e-4, atol=1e-4)
    _, expected = by_transformers([embeds(300), embeds(2, 8)])
    torch.testing.assert_close(cache.append(embeds(2, 8)), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="cannot fold to 23 tokens"):
        fork.fork(23)


def test_attention_in_windows_is_refused() -> None:
    model = small_model().language_model
    model.config.layer_types = ["sliding_attention"] * 2
    with pytest.raises(ModelError, match="windows"):
        KVCache(model)


@pytest.mark.parametrize("pieces", [(6,), (4, 2), (1, 3, 9)])
def test_what_is_read_beside_is_as_if_the_text_in_between_had_never_been(
    language_model: Qwen3ForCausalLM, pieces: tuple[int, ...]
) -> None:
    cache = KVCache(language_model)
    cache.append(embeds(10))
    cache.append(embeds(7, 1))
    cache.reserve(50)
    beside = Beside(base=10, place=30, embeds=embeds(6, 2))
    said = [embeds(1 + n, 30 + n) for n in range(len(pieces))]
    for own, piece in zip(said, pieces, strict=True):  # which goes on undisturbed
        ours = cache.append_with(own, beside, piece)
    *_, theirs = by_transformers([embeds(10), embeds(7, 1), *said])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (beside.read, beside.left) == (6, 0)
    cache.settle(beside)
    assert len(cache) == 16
    ours = cache.append(embeds(2, 4))
    _, _, theirs = by_transformers([embeds(10), embeds(6, 2), embeds(2, 4)])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_run_that_fails_leaves_both_as_they_were(
    language_model: Qwen3ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = KVCache(language_model)
    cache.append(embeds(10))
    cache.reserve(50)
    beside = Beside(base=4, place=30, embeds=embeds(6, 2))
    run = PlainSteps.run

    def fails(steps: PlainSteps, tokens: Tokens, layers: list[KVLayer]) -> None:
        run(steps, tokens, layers)
        raise MemoryError("no room")

    monkeypatch.setattr(PlainSteps, "run", fails)
    with pytest.raises(MemoryError):
        cache.append_with(embeds(1, 3), beside, 2)
    assert (len(cache), beside.read) == (10, 0)
