"""What a training task hands to the trainer, and how samples become tensors.

A sample is a memory (chunks to draw) and blocks of text that were written with some of it in view;
see ``model.masks``. Knows nothing of where samples come from or what loss is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vist2_memory.model.masks import (
    PINNED,
    Layout,
    Segment,
    attention_allowed,
    lay_out,
    pad_layouts,
)
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.renderer import SketchRenderer, patch_batch
from vist2_memory.types import Chunk


class Form(Protocol):
    """How a chunk becomes vectors of memory, as far as a batch must know it; see ``forms``."""

    def length(self, text: str) -> int:
        """How many vectors ``text`` becomes."""

    def inputs(self, texts: Sequence[str]) -> Mapping[str, Any]:
        """What the vectors of ``texts`` are made from: fields of a :class:`Batch` by name."""

    def place(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Which vectors of ``text``, from and to, stand for its characters ``start`` to ``end``."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where words stand that are said, in the memory and in the block that says them."""

    memory: tuple[int, int]
    """The characters of the chunks, end to end; empty where none are said."""
    own: tuple[int, int]
    """The tokens of the block itself; empty where none are said."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What tokens of a block should look at, since the block says it again."""

    ids: range
    """The tokens that look; each but the last is followed by the next."""
    whole: Place
    """All that is said."""
    following: Sequence[Place]
    """For each of ``ids``, where that stands which it is followed by."""
    weights: Sequence[float]
    """How much each of ``ids`` counts."""


@dataclass(frozen=True, slots=True)
class Block:
    """Text after ``after`` chunks. ``weights[i]`` is the loss weight of predicting ``ids[i]``."""

    after: int
    ids: Sequence[int]
    weights: Sequence[float]
    sought: Sequence[Sought] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence: pinned text, the texts of its chunks, and blocks of text."""

    chunks: Sequence[str]
    blocks: Sequence[Block]
    pinned: Sequence[int] = ()

    def length(self, form: Form) -> int:
        """Tokens, vectors of memory included."""
        memory = sum(form.length(text) for text in self.chunks)
        return len(self.pinned) + memory + sum(len(block.ids) for block in self.blocks)


def group(samples: Sequence[Sample], tokens: int, form: Form) -> Iterator[list[Sample]]:
    """``samples`` in groups of like length that take about ``tokens`` tokens when padded."""
    some: list[Sample] = []
    for sample in sorted(samples, key=lambda sample: sample.length(form)):
        length = sample.length(form)
        unlike = some and some[0].length(form) < 0.7 * length
        if some and (unlike or (len(some) + 1) * length > tokens):
            yield some
            some = []
        some.append(sample)
    if some:
        yield some


_NONE = torch.empty(0, dtype=torch.long)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples as tensors. What another form of memory is made from is empty.

    ``patches`` (sketches, patches, patch size) uint8 and ``patch_mask``: the sketches of all
    samples in order, all drawn in ``geometry``. ``glyphs`` (visual tokens, cells a strip): what
    each visual token shows. ``chunk_ids``, ``runs``, ``windows``: the same of chunks that are not
    drawn; see ``forms``.
    ``input_ids`` (batch, length), and the ``layout`` of the same shape.
    ``queries``: flat indices of the places whose next token is supervised, with ``targets`` and
    ``weights``.
    ``seekers``: flat indices of the places that look for words, and how much each counts, as
    ``seeking``. ``sought`` (seekers, 2, 4): where all that is said stands, and where that which is
    said next; from and to in the memory, and from and to in the block, as places of the row.
    """

    patches: Tensor = _NONE
    patch_mask: Tensor = _NONE
    glyphs: Tensor = _NONE
    geometry: SketchGeometry | None = None
    chunk_ids: Tensor = _NONE
    runs: Tensor = _NONE
    windows: Tensor = _NONE
    input_ids: Tensor
    layout: Layout
    queries: Tensor
    targets: Tensor
    weights: Tensor
    seekers: Tensor
    seeking: Tensor
    sought: Tensor
    text_tokens: int
    chunks: int

    @property
    def allowed(self) -> Tensor:
        """Who attends to whom, (batch, 1, length, length) bool: made where the batch is."""
        return attention_allowed(self.layout)

    @property
    def position_ids(self) -> Tensor:
        """Positions, (batch, length)."""
        return self.layout.position_ids

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``; itself where it is there already."""
        if self.input_ids.device == device:
            return self
        layout = replace(self.layout, **_moved(self.layout, device))
        return replace(self, layout=layout, **_moved(self, device))


def _moved(whole: Batch | Layout, device: torch.device) -> dict[str, Any]:
    """The tensors of ``whole`` by their names, on ``device``."""
    values = {field.name: getattr(whole, field.name) for field in fields(whole)}
    return {
        name: value.to(device, non_blocking=True)
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def draw(renderer: SketchRenderer, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Patches, patch mask and glyphs of ``texts``; see :class:`Batch`."""
    geometry = renderer.geometry
    sketches = renderer.draw([Chunk(str(i), text, 0) for i, text in enumerate(texts)])
    patches, mask = patch_batch(sketches, geometry)
    glyphs = []
    for sketch, text in zip(sketches, texts, strict=True):
        cells = np.zeros(sketch.visual_tokens * geometry.cells_per_strip, dtype=np.int64)
        drawn = renderer.atlas.glyphs(text)
        cells[: len(drawn)] = drawn
        glyphs.append(cells.reshape(-1, geometry.cells_per_strip))
    return (
        torch.from_numpy(patches),
        torch.from_numpy(mask),
        torch.from_numpy(np.concatenate(glyphs)),
    )


def collate(
    samples: Sequence[Sample], form: Form, visual_token_id: int, pad_token_id: int
) -> Batch:
    """``samples`` side by side, padded to the longest; vectors of memory go where
    ``visual_token_id`` stands.
    """
    layouts: list[Layout] = []
    ids: list[Tensor] = []
    wanted: list[Tensor] = []
    seekers: list[tuple[int, int]] = []  # row and place in it
    seeking: list[float] = []
    sought: list[list[tuple[int, int, int, int]]] = []
    for sample in samples:
        lengths = [form.length(text) for text in sample.chunks]
        segments = [Segment(PINNED, len(sample.pinned))]
        segments += [Segment(i, length, visual=True) for i, length in enumerate(lengths)]
        segments += [Segment(block.after, len(block.ids)) for block in sample.blocks]
        layouts.append(lay_out(segments))
        row = [*sample.pinned, *([visual_token_id] * sum(lengths))]
        weights = [0.0] * len(row)
        for block in sample.blocks:
            for one in block.sought:
                begins = len(row)
                whole, *following = (
                    _row_places(sample, lengths, place, begins, form)
                    for place in (one.whole, *one.following)
                )
                seekers += [(len(ids), begins + i) for i in one.ids]
                seeking += one.weights
                sought += [[whole, place] for place in following]
            row += block.ids
            weights += [0.0, *block.weights[1:]]  # nothing in a block comes before its first token
        ids.append(torch.tensor(row))
        wanted.append(torch.tensor(weights))
    layout = pad_layouts(layouts)
    pad = torch.nn.utils.rnn.pad_sequence
    input_ids = pad(ids, batch_first=True, padding_value=pad_token_id)
    loss_weights = pad(wanted, batch_first=True).reshape(-1)
    targets = loss_weights.nonzero()[:, 0]
    chunks = [text for sample in samples for text in sample.chunks]
    width = input_ids.shape[1]
    return Batch(
        **form.inputs(chunks),
        input_ids=input_ids,
        layout=layout,
        queries=targets - 1,
        targets=input_ids.reshape(-1)[targets],
        weights=loss_weights[targets],
        seekers=torch.tensor([row * width + i for row, i in seekers], dtype=torch.long),
        seeking=torch.tensor(seeking),
        sought=torch.tensor(sought, dtype=torch.long).reshape(-1, 2, 4),
        text_tokens=sum(len(block.ids) for sample in samples for block in sample.blocks),
        chunks=len(chunks),
    )


def _row_places(
    sample: Sample, lengths: Sequence[int], place: Place, begins: int, form: Form
) -> tuple[int, int, int, int]:
    """Where ``place`` is in the row of ``sample``, in which its block begins at ``begins``.

    ``lengths``: the vectors of each chunk.
    """
    start, end = place.memory
    reached, vector = 0, len(sample.pinned)
    found: list[int] = []
    for text, length in zip(sample.chunks, lengths, strict=True):
        if start < end and start < reached + len(text) and end > reached:
            inside = max(0, start - reached), min(len(text), end - reached)
            first, last = form.place(text, *inside)
            found += [vector + first, vector + last]
        reached += len(text)
        vector += length
    own = (begins + place.own[0], begins + place.own[1])
    return (found[0], found[-1], *own) if found else (0, 0, *own)
