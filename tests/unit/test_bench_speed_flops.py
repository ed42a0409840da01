"""Counted operations: as torch counts them where numbers are computed, and how they grow."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from tests.support.checkpoints import small_config, small_model
from vist2_memory.benchmark.speed_flops import FlopCount, Flops, Lengths, count_flops
from vist2_memory.benchmark.speed_limits import Limits, measure_limits, peak_bytes

LENGTHS = Lengths(
    visual=40, text=170, tail=10, chunks=20, chunk_tokens=8, keep_recent=0, fold_at=18, patches=4
)


@pytest.fixture(scope="module")
def count() -> FlopCount:
    return FlopCount(small_config())


def test_reading_is_counted_as_on_tensors_that_hold_numbers(count: FlopCount) -> None:
    model = small_model().language_model
    model.set_attn_implementation("eager")  # the counter does not see the CPU's fused attention
    cache = DynamicCache(config=model.config)
    for tokens, behind in ((7, 0), (1, 7), (3, 8)):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            ids = torch.zeros(1, tokens, dtype=torch.long)
            model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        assert count.read(tokens, behind).counted == pytest.approx(
            counter.get_total_flops(), rel=1e-3
        )


def test_what_is_read_behind_others_is_told_by_two_counts(count: FlopCount) -> None:
    for tokens in (1, 5):
        counted, known = count._count_read(tokens, 30), count.read(tokens, 30)
        assert known.counted == counted.counted
        assert known.causal == pytest.approx(counted.causal, rel=1e-3)


def test_encoding_is_counted_as_on_tensors_that_hold_numbers(count: FlopCount) -> None:
    model = small_model()
    model.vision_tower.set_attn_implementation("eager")
    patches, mask = torch.zeros(3, 4, 64), torch.ones(3, 4, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.encode(patches, mask)
    assert count.encode(3, 4).counted == counter.get_total_flops()


def test_steps_are_summed_up_one_by_one(count: FlopCount) -> None:
    one_by_one = sum((count.read(1, 20 + n) for n in range(9)), Flops())
    assert count.steps(9, 20).counted == pytest.approx(one_by_one.counted)
    steps, folds = count.generate_folding(20, LENGTHS)
    # 8 tokens fill the first chunk behind 40 visual tokens and 10 of text; then 2 visual tokens
    # take the place of 8 of text, and 10 stay.
    expected = count.steps(8, 50) + count.steps(8, 52) + count.steps(4, 54)
    assert steps.counted == pytest.approx(expected.counted)
    read = [count.read(2, 40), count.read(10, 42), count.read(2, 42), count.read(10, 44)]
    expected = sum(read, count.encode(2, 4))
    assert folds.counted == pytest.approx(expected.counted)


def test_without_hidden_pairs_half_of_attention_is_left(count: FlopCount) -> None:
    far = count.read(4000)
    assert far.causal < far.counted
    linear = count.read(1).counted * 4000
    assert far.causal / far.counted == pytest.approx(0.5, abs=linear / far.counted)
    step = count.read(1, 50)
    assert step.causal == step.counted  # a token sees all before it, and itself


def test_ratios_move_as_they_must(count: FlopCount) -> None:
    ratios = count_flops(small_config(), LENGTHS, 50)["ratios"]
    warm, cold = ratios["warm"], ratios["cold"]
    assert warm["counted"] < 50 / 170  # the square of it for the part that is attention
    assert warm["counted"] < warm["causal"] < 50 / 170
    assert cold["counted"] > warm["counted"]
    assert ratios["generation_bound"]["counted"] < ratios["generation"]["counted"]
    assert ratios["generation"]["counted"] < ratios["generation_cold"]["counted"]


def test_a_share_is_the_longer_of_both_limits_over_the_time() -> None:
    limits = Limits(flops_per_s=1000.0, bytes_per_s=10.0)
    assert limits.share(2.0, flops=500.0, size=1.0) == 0.25
    assert limits.share(2.0, flops=500.0, size=10.0) == 0.5
    assert limits.share(None, flops=500.0) is None


def test_limits_are_measured_and_memory_is_watched() -> None:
    device = torch.device("cpu")
    limits = measure_limits(device, torch.float32, side=64, size=2**16)
    assert limits.flops_per_s > 1e6
    assert limits.bytes_per_s > 1e6
    held = []
    taken = peak_bytes(lambda: held.append(bytearray(b"1" * 2**26)), device)
    assert taken is None or taken > 2**25
