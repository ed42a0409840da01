"""Forms of memory: how a chunk becomes the vectors that stand for it.

The model of this library draws it. The others are what it is compared with, over the same language
model, tasks, layouts and loop: the text-only twin, and the direct methods that arXiv 2512.03643
holds against drawn text, at as many vectors. A form has the arithmetic of indices done on the CPU,
with the batch, and looks embeddings up in whatever table it is given. Knows no language model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vist2_memory.errors import InvalidInputError
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.training.batches import draw

VISUAL = "visual"


class Sketches:
    """Chunks are drawn; the vision tower and the aligner of the model make the vectors."""

    def __init__(self, renderer: SketchRenderer) -> None:
        self.renderer = renderer

    def length(self, text: str) -> int:
        """Its visual tokens."""
        return self.renderer.visual_tokens(text)

    def inputs(self, texts: Sequence[str]) -> Mapping[str, Any]:
        """Patches, their mask, the glyphs under each visual token, and the geometry."""
        patches, patch_mask, glyphs = draw(self.renderer, texts)
        return {
            "patches": patches,
            "patch_mask": patch_mask,
            "glyphs": glyphs,
            "geometry": self.renderer.geometry,
        }

    def place(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Which visual tokens of ``text`` show its characters ``start`` to ``end``."""
        atlas, strip = self.renderer.atlas, self.renderer.geometry.cells_per_strip
        first, last = len(atlas.glyphs(text[:start])), len(atlas.glyphs(text[:end])) - 1
        return first // strip, last // strip + 1


class Tokens(nn.Module):
    """The text-only twin's: a chunk is the embeddings of its tokens, a vector each."""

    name = "text"
    compresses = False
    """Whether a chunk becomes fewer vectors than it has tokens: as many as if it were drawn."""
    kernel = 0
    """Places of a window; 0 where none is laid."""

    def __init__(self, renderer: SketchRenderer, tokenizer: Vist2Tokenizer) -> None:
        """``renderer``: says how many vectors the chunk would be if it were drawn."""
        super().__init__()
        self.renderer = renderer
        self._encode = lru_cache(maxsize=4096)(tokenizer.encode)

    def length(self, text: str) -> int:
        """How many vectors ``text`` becomes."""
        return len(self._encode(text))

    def runs(self, tokens: int, vectors: int) -> int:
        """Into how many equal runs the tokens are cut, each averaged into one embedding."""
        return tokens

    def inputs(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """What the vectors of ``texts``, end to end, are made from.

        ``chunk_ids`` (tokens,); ``runs`` (runs,), the index in it at which each run begins;
        ``windows`` (vectors, kernel), the runs in each window, -1 for none.
        """
        ids: list[int] = []
        starts: list[int] = []
        windows = [torch.empty(0, self.kernel, dtype=torch.long)]
        for text in texts:
            own, vectors = self._encode(text), self.length(text)
            runs = self.runs(len(own), vectors)
            windows.append(lay_windows(runs, vectors, self.kernel, len(starts)))
            starts += [len(ids) + run * len(own) // runs for run in range(runs)]
            ids += own
        return {
            "chunk_ids": torch.tensor(ids, dtype=torch.long),
            "runs": torch.tensor(starts, dtype=torch.long),
            "windows": torch.cat(windows),
        }

    def place(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Which vectors of ``text`` stand for its characters ``start`` to ``end``, about."""
        tokens, vectors = len(self._encode(text)), self.length(text)
        first, last = len(self._encode(text[:start])), max(1, len(self._encode(text[:end])))
        return (
            min(vectors - 1, first * vectors // tokens),
            min(vectors, (last - 1) * vectors // tokens + 1),
        )

    def forward(self, chunk_ids: Tensor, runs: Tensor, windows: Tensor, table: Tensor) -> Tensor:
        """The vectors, shape (vectors, hidden size), over ``table`` (vocabulary, hidden size)."""
        return F.embedding_bag(chunk_ids, table, runs, mode="mean")


class MeanPooled(Tokens):
    """Embeddings averaged in as many runs as the chunk has visual tokens; nothing is learned.

    A chunk of fewer tokens than that stays its tokens, as it does in the engine.
    """

    name = "mean-pooled"
    compresses = True

    def length(self, text: str) -> int:
        """As many as its visual tokens, or its tokens where these are fewer."""
        return min(super().length(text), self.renderer.visual_tokens(text))

    def runs(self, tokens: int, vectors: int) -> int:
        """A run a vector."""
        return vectors


class Convolution(MeanPooled):
    """A learned convolution over the embeddings, in strides that give as many vectors.

    Its windows stand evenly over the chunk, so that no count of tokens has to be a multiple of the
    stride; beyond the ends of the chunk there is nothing. Tokens so short that a stride would be
    longer than ``longest_stride`` are averaged in pairs here and there until it is not.
    """

    name = "convolution"

    def __init__(
        self, renderer: SketchRenderer, tokenizer: Vist2Tokenizer, hidden_size: int
    ) -> None:
        super().__init__(renderer, tokenizer)
        self.longest_stride = -(-renderer.geometry.cells_per_strip // 2)  # two characters a token
        self.kernel = self.longest_stride + 2
        # Called and trained as the aligner of the visual model: it maps into the same space.
        self.aligner = nn.Linear(self.kernel * hidden_size, hidden_size)
        nn.init.normal_(self.aligner.weight, std=0.02)
        nn.init.zeros_(self.aligner.bias)

    def runs(self, tokens: int, vectors: int) -> int:
        """One a token, but no more than the longest stride allows."""
        return min(tokens, self.longest_stride * vectors)

    def forward(self, chunk_ids: Tensor, runs: Tensor, windows: Tensor, table: Tensor) -> Tensor:
        """The vectors, shape (vectors, hidden size), over ``table`` (vocabulary, hidden size)."""
        units = super().forward(chunk_ids, runs, windows, table)
        nothing = units.new_zeros(1, units.shape[1])
        joined = torch.cat([units, nothing])[windows]  # (vectors, kernel, hidden size)
        vectors: Tensor = self.aligner(joined.flatten(1))
        return vectors


def lay_windows(runs: int, vectors: int, kernel: int, first: int) -> Tensor:
    """Windows of ``kernel`` places centred evenly over ``runs`` runs, the first numbered ``first``.

    Shape (vectors, kernel); -1 beyond the ends. Where ``vectors`` divides ``runs`` these are the
    windows of an ordinary strided convolution.
    """
    number = torch.arange(vectors)
    starts = ((2 * number + 1) * runs - kernel * vectors) // (2 * vectors)
    places = starts[:, None] + torch.arange(kernel)
    return torch.where((places >= 0) & (places < runs), places + first, -1)


MEMORIES = (VISUAL, Tokens.name, MeanPooled.name, Convolution.name)
"""The forms by the names that ``vist2 train --memory`` takes."""


def make_form(
    memory: str, renderer: SketchRenderer, tokenizer: Vist2Tokenizer, hidden_size: int
) -> Tokens | None:
    """The form called ``memory``, None where chunks are drawn.

    Raises ``InvalidInputError`` for a name that is none.
    """
    if memory == VISUAL:
        return None
    if memory == Tokens.name:
        return Tokens(renderer, tokenizer)
    if memory == MeanPooled.name:
        return MeanPooled(renderer, tokenizer)
    if memory == Convolution.name:
        return Convolution(renderer, tokenizer, hidden_size)
    raise InvalidInputError(f"no form of memory {memory!r}; there are: {', '.join(MEMORIES)}")
