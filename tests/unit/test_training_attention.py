"""Attention that computes what may be seen alone: the same outputs and gradients as all of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vist2_memory.model.masks import (
    PINNED,
    Layout,
    Segment,
    additive,
    attention_allowed,
    lay_out,
    pad_layouts,
)
from vist2_memory.training.attention import ROWS, attend, tiles_of


def memory_and_blocks() -> Layout:
    """Two samples of unlike length: pinned text, 30 chunks, blocks after some of them."""
    segments = [Segment(PINNED, 5), *(Segment(i, 7, visual=True) for i in range(30))]
    blocks = [Segment(after, length) for after, length in ((0, 9), (12, 40), (30, 90), (30, 70))]
    return pad_layouts([lay_out(segments + blocks), lay_out(segments + blocks[:1])])


def plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """Every query with every key."""
    times = query.shape[1] // key.shape[1]
    scores = query @ key.repeat_interleave(times, 1).transpose(-1, -2) * scaling + mask
    told = scores.softmax(-1) @ value.repeat_interleave(times, 1)
    return told.transpose(1, 2)


@pytest.fixture
def inputs() -> list[Tensor]:
    """Query with 4 heads, key and value with 2, of width 8."""
    length = memory_and_blocks().block.shape[1]
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, heads, length, 8, generator=generator, requires_grad=True)
        for heads in (4, 2, 2)
    ]


def test_outputs_and_gradients_are_those_of_all_queries_with_all_keys(inputs: list[Tensor]) -> None:
    allowed = attention_allowed(memory_and_blocks())
    mask = additive(allowed, torch.float32)
    wanted = plain(*inputs, mask, 0.3)
    told, _ = attend(None, *inputs, mask, 0.3, tiles_of(allowed))
    torch.testing.assert_close(told, wanted)
    weights = torch.randn(told.shape, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad((wanted * weights).sum(), inputs)
    found = torch.autograd.grad((told * weights).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_without_tiles_torch_does_it(inputs: list[Tensor]) -> None:
    class Module(torch.nn.Module):
        is_causal = True
        num_key_value_groups = 2

    mask = additive(attention_allowed(memory_and_blocks()), torch.float32)
    told, _ = attend(Module(), *inputs, mask, 0.3)
    torch.testing.assert_close(told, plain(*inputs, mask, 0.3))


def test_keys_that_no_query_of_a_tile_may_see_are_left_out() -> None:
    allowed = attention_allowed(memory_and_blocks())
    tiles = tiles_of(allowed)
    length = allowed.shape[-1]
    assert len(tiles) == -(-length // ROWS)
    for number, seen in enumerate(tiles):
        rows = allowed[:, 0, number * ROWS : (number + 1) * ROWS]
        unseen = torch.ones(length, dtype=torch.bool)
        unseen[seen] = False
        assert not rows[..., unseen].any()
        assert rows[..., seen].any(0).any(0).all()
    assert sum(map(len, tiles)) < 0.8 * len(tiles) * length
