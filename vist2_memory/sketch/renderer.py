"""Chunk to Sketch: a batch of texts is drawn by a gather of cells from the glyph atlas.

Knows the atlas and the geometry, no model. Text flows from line to line without regard to words; a
sketch has the lines that its text needs and no more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from vist2_memory.sketch.font import GlyphAtlas, default_atlas
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.sketch import Sketch
from vist2_memory.types import Chunk

_LINES = 128
"""Lines gathered at once: as many as stay in a processor's cache until their cells are in place."""


class SketchRenderer:
    """Draws chunks in one geometry with one atlas."""

    def __init__(self, geometry: SketchGeometry, atlas: GlyphAtlas | None = None) -> None:
        self.geometry = geometry
        self.atlas = atlas or default_atlas()
        cell = self.atlas.pixels.shape[1:]
        if cell != (geometry.cell_height, geometry.cell_width):
            raise ValueError(
                f"the atlas has cells of {cell[1]} x {cell[0]} pixels, the geometry asks for "
                f"{geometry.cell_width} x {geometry.cell_height}"
            )

        # A glyph is moved as one item, then a row of its pixels; whole numbers move faster.
        width, glyphs = geometry.cell_width, len(self.atlas.pixels)
        self._row = np.dtype(f"{'u' if width in (1, 2, 4, 8) else 'V'}{width}")
        self._items = np.ascontiguousarray(self.atlas.pixels).reshape(glyphs, -1)
        self._items = self._items.view(f"V{self._items.shape[1]}")[:, 0]

    def cells(self, text: str) -> int:
        """Cells that ``text`` takes, escapes included."""
        return len(self.atlas.glyphs(text))

    def visual_tokens(self, text: str) -> int:
        """Visual tokens that ``text`` costs when drawn."""
        return self.geometry.visual_tokens(self.cells(text))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters of ``text``, from and to, that each of its visual tokens shows."""
        strip = self.geometry.cells_per_strip
        cells = self.cells(text)
        ends: Sequence[int] = range(1, len(text) + 1)  # in cells, of each character
        if cells > len(text):
            ends = list(accumulate(self.cells(character) for character in text))
        return [
            (bisect_right(ends, first), min(len(text), bisect_left(ends, first + strip) + 1))
            for first in range(0, cells, strip)
        ]

    def fits(self, text: str) -> bool:
        """Whether one sketch can hold ``text``."""
        return self.cells(text) <= self.geometry.max_cells

    def draw(self, chunks: Sequence[Chunk]) -> list[Sketch]:
        """Draw ``chunks``, all in one array; raises ``ValueError`` for one that is too long."""
        geometry = self.geometry
        grid, cells = self._grid([chunk.text for chunk in chunks])
        if max(cells, default=0) > geometry.max_cells:
            index = next(i for i, count in enumerate(cells) if count > geometry.max_cells)
            raise ValueError(
                f"chunk {chunks[index].id} takes {cells[index]} cells, a sketch holds "
                f"{geometry.max_cells}: cut it shorter"
            )
        pixels = self._gather(grid)
        line, height, strip = geometry.columns, geometry.cell_height, geometry.cells_per_strip
        sketches: list[Sketch] = []
        top = 0
        for chunk, count in zip(chunks, cells, strict=True):
            bottom = top + (-(-count // line) or 1) * height
            sketches.append(Sketch(chunk.id, pixels[top:bottom], -(-count // strip)))
            top = bottom
        return sketches

    def _grid(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int16], list[int]]:
        """The glyphs of all lines, shape (lines, columns), and how many cells each text takes."""
        columns = self.geometry.columns
        cells = [len(text) for text in texts]
        lines = "".join([text.ljust((-(-len(text) // columns) or 1) * columns) for text in texts])
        grid = self.atlas.glyphs(lines)
        if len(grid) > len(lines):  # some characters are escaped, and take several cells
            glyphs = [self.atlas.glyphs(text) for text in texts]
            cells = [len(own) for own in glyphs]
            empty = [self.geometry.lines(count) * columns - count for count in cells]
            grid = np.concatenate([np.pad(g, (0, n)) for g, n in zip(glyphs, empty, strict=True)])
        return grid.reshape(-1, columns), cells

    def _gather(self, grid: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
        """All sketches below each other, shape (all lines * cell height, columns * cell width)."""
        geometry = self.geometry
        drawn = np.empty((len(grid), geometry.cell_height, geometry.columns), self._row)
        for start in range(0, len(grid), _LINES):
            cells = self._items.take(grid[start : start + _LINES], mode="clip")
            rows = cells[..., None].view(self._row)  # (lines, columns, cell height)
            drawn[start : start + _LINES] = rows.transpose(0, 2, 1)
        return drawn.view(np.uint8).reshape(
            len(grid) * geometry.cell_height, geometry.columns * geometry.cell_width
        )


def patch_batch(
    sketches: Sequence[Sketch], geometry: SketchGeometry
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Patches (sketches, patches, patch size) and their mask; padded on the right."""
    most = max(sketch.visual_tokens for sketch in sketches) * geometry.patches_per_strip
    values = np.zeros((len(sketches), most, geometry.patch_size), dtype=np.uint8)
    mask = np.zeros((len(sketches), most), dtype=bool)
    for row, sketch in enumerate(sketches):
        own = patchify(sketch, geometry)
        values[row, : len(own)] = own
        mask[row, : len(own)] = True
    return values, mask


def patchify(sketch: Sketch, geometry: SketchGeometry) -> npt.NDArray[np.uint8]:
    """The patches of a sketch's used strips, shape (visual tokens * patches a strip, patch size).

    Raster order is reading order: left to right, then down; a patch is flattened row by row.
    """
    height, width = sketch.pixels.shape
    rows, across = height // geometry.cell_height, geometry.patches_per_line
    cut = sketch.pixels.reshape(rows, geometry.cell_height, across, width // across)
    patches = cut.transpose(0, 2, 1, 3).reshape(rows * across, geometry.patch_size)
    return patches[: sketch.visual_tokens * geometry.patches_per_strip]
