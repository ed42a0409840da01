"""Who attends to whom: the vectorized mask against its rules, read literally."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vist2_memory.model.masks import (
    PINNED,
    Layout,
    Segment,
    additive,
    attention_allowed,
    lay_out,
    pad_layouts,
)


@st.composite
def sequences(draw: st.DrawFn) -> list[Segment]:
    """Pinned text, visual tokens and blocks of text, shuffled as far as causality allows."""
    lengths = st.integers(1, 4)
    chunks = draw(st.integers(0, 4))
    segments = [Segment(PINNED, draw(lengths))] if draw(st.booleans()) else []
    for number in range(chunks + 1):
        for _ in range(draw(st.integers(0, 2))):  # text written with this much memory
            segments.append(Segment(number, draw(lengths)))
        if number < chunks:
            segments.append(Segment(number, draw(lengths), visual=True))
        for _ in range(draw(st.integers(0, 1))):  # a second question about older memory
            segments.append(Segment(draw(st.integers(0, number)), draw(lengths)))
    return segments or [Segment(0, 1)]


def literal(segments: list[Segment]) -> list[list[bool]]:
    """The rules of the module's docstring, one pair of tokens at a time."""
    tokens = [(number, s, i) for number, s in enumerate(segments) for i in range(s.length)]
    rows = []
    for q_number, query, q_place in tokens:
        row = []
        for k_number, key, k_place in tokens:
            if q_number == k_number:
                seen = k_place <= q_place
            elif key.after == PINNED:
                seen = query.after != PINNED
            else:  # memory is what was there before; other text never is
                seen = key.visual and key.after < query.after
            row.append(seen)
        rows.append(row)
    return rows


@given(st.lists(sequences(), min_size=1, max_size=3))
def test_the_mask_equals_the_rules_read_literally(batch: list[list[Segment]]) -> None:
    allowed = attention_allowed(pad_layouts([lay_out(segments) for segments in batch]))
    longest = max(sum(s.length for s in segments) for segments in batch)
    assert allowed.shape == (len(batch), 1, longest, longest)
    for segments, mask in zip(batch, allowed[:, 0], strict=True):
        rows = literal(segments)
        own = len(rows)
        assert mask[:own, :own].tolist() == rows
        assert not mask[:own, own:].any(), "something sees padding"
        assert torch.equal(mask[own:], torch.eye(longest, dtype=torch.bool)[own:])


@given(sequences())
def test_positions_run_on_as_if_folded_text_had_never_been(segments: list[Segment]) -> None:
    """Each token stands right after all that its block may see: what a growing cache gives it."""
    layout = lay_out(segments)
    rows = literal(segments)
    assert layout.position_ids.tolist() == [sum(row) - 1 for row in rows]


def test_text_and_visual_tokens_after_a_chunk_start_at_the_same_place() -> None:
    layout = lay_out(
        [Segment(PINNED, 3), Segment(0, 2, visual=True), Segment(1, 4), Segment(1, 2, visual=True)]
    )
    assert layout.position_ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 6]
    assert layout.visual.tolist() == [False] * 3 + [True] * 2 + [False] * 4 + [True] * 2


@pytest.mark.parametrize("order", [[1, 0], [0, 0], [1], [PINNED], [0, 2]])
def test_visual_segments_out_of_order_are_refused(order: list[int]) -> None:
    with pytest.raises(ValueError, match="visual segments must be after 0, 1, 2"):
        lay_out([Segment(after, 2, visual=True) for after in order])


def test_text_after_a_chunk_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="after 2 chunks, but there are 1"):
        lay_out([Segment(0, 2, visual=True), Segment(2, 1)])


def test_text_after_fewer_than_no_chunks_is_refused() -> None:
    with pytest.raises(ValueError, match="-2"):
        lay_out([Segment(0, 2, visual=True), Segment(-2, 1)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_float_mask_is_zero_where_allowed_and_finite_everywhere(dtype: torch.dtype) -> None:
    allowed = attention_allowed(pad_layouts([lay_out([Segment(0, 3)]), lay_out([Segment(0, 1)])]))
    mask = additive(allowed, dtype)
    assert mask.dtype == dtype
    assert torch.equal(mask == 0, allowed)
    assert torch.equal(mask == torch.finfo(dtype).min, ~allowed)


def test_padding_takes_no_part_of_a_layout() -> None:
    short, long = lay_out([Segment(0, 1)]), lay_out([Segment(0, 3)])
    padded = pad_layouts([short, long])
    assert isinstance(padded, Layout)
    assert padded.block.tolist() == [[0, -1, -1], [0, 0, 0]]
    assert padded.position_ids.shape == (2, 3)
