"""Optical language modelling as pure functions: who attends to whom, and where everything stands.

A training sequence holds, for chunks 1, 2, ..., visual tokens V1, V2, ... and blocks of text. A
block
*after* chunk i is text that was written when V1..Vi were the memory:

* text attends to the pinned text, to V1..Vi, and to the earlier text of its own block, never to the
  text that those chunks stand for;
* Vi attends to the pinned text, to V1..V(i-1), and causally inside itself;
* V1 V2 ... stand at positions without gaps; a block after chunk i starts where Vi ends, and so does
  V(i+1). A model that generates and folds sees the very same positions and neighbours.

Source: optical language modelling of VIST2 (arXiv 2601.10378), with the positions chosen so that
inference is an ordinary causal sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PAD_BLOCK = -1


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens in a sequence: the visual tokens of a chunk, or a block of text.

    ``after``: how many chunks came before (the pinned text, first of all, is after -1).
    """

    after: int
    length: int
    visual: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each token of a sequence stands; every tensor has shape (length,)."""

    position_ids: Tensor
    visual: Tensor
    after: Tensor
    block: Tensor


PINNED = -1


def lay_out(segments: Sequence[Segment]) -> Layout:
    """Positions and block numbers of ``segments``, given in any causal order.

    The visual segments must be after 0, 1, 2, ... in this order; raises ``ValueError`` otherwise.
    """
    visual = [segment for segment in segments if segment.visual]
    if [segment.after for segment in visual] != list(range(len(visual))):
        raise ValueError(
            f"visual segments must be after 0, 1, 2, ...: {[segment.after for segment in visual]}"
        )
    pinned = sum(segment.length for segment in segments if segment.after == PINNED)
    starts = [pinned]  # where the text after i chunks starts
    for segment in visual:
        starts.append(starts[-1] + segment.length)
    positions, is_visual, after, block = [], [], [], []
    for number, segment in enumerate(segments):
        if not PINNED <= segment.after < len(starts):
            raise ValueError(f"a block after {segment.after} chunks, but there are {len(visual)}")
        start = 0 if segment.after == PINNED else starts[segment.after]
        positions.append(torch.arange(start, start + segment.length))
        is_visual.append(torch.full((segment.length,), segment.visual))
        after.append(torch.full((segment.length,), segment.after))
        block.append(torch.full((segment.length,), number))
    return Layout(*(torch.cat(parts) for parts in (positions, is_visual, after, block)))


def pad_layouts(layouts: Sequence[Layout]) -> Layout:
    """Layouts side by side, padded on the right; every tensor has shape (batch, length)."""

    def pad(name: str, value: int) -> Tensor:
        rows = [getattr(layout, name) for layout in layouts]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)

    return Layout(
        pad("position_ids", 0), pad("visual", 0), pad("after", 0), pad("block", PAD_BLOCK)
    )


def attention_allowed(layout: Layout) -> Tensor:
    """Whether query may see key, bool of shape (batch, 1, queries, keys), from a padded layout.

    Padding sees only itself, so that no row is empty, and nothing sees padding.
    """
    block, after, visual = layout.block, layout.after, layout.visual.bool()
    length = block.shape[1]
    order = torch.arange(length, device=block.device)
    earlier = order[:, None] >= order[None, :]  # (queries, keys)
    own = (block[:, :, None] == block[:, None, :]) & earlier  # (batch, queries, keys)
    memory = (visual | (after == PINNED)) & (block != PAD_BLOCK)  # (batch, keys)
    older = after[:, None, :] < after[:, :, None]
    allowed = own | (memory[:, None, :] & older)
    padding = block == PAD_BLOCK
    itself = torch.eye(length, dtype=torch.bool, device=block.device)
    allowed = torch.where(padding[:, :, None], itself[None], allowed)
    return allowed[:, None]


def additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """``allowed`` as the float mask that every attention implementation reads alike."""
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)
