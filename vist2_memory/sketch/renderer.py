"""Chunk to Sketch: a batch of texts is drawn by one gather from the glyph atlas.

Knows the atlas and the geometry, no model. Text flows from line to line without regard to words; a
sketch has the lines that its text needs and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vist2_memory.sketch.font import GlyphAtlas, default_atlas
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.sketch import Sketch
from vist2_memory.types import Chunk


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

        # (cell height, glyphs), an item is a row of pixels in a cell: it is moved as one.
        rows = np.ascontiguousarray(self.atlas.pixels.transpose(1, 0, 2))
        kind = "u" if geometry.cell_width in (1, 2, 4, 8) else "V"  # whole numbers move faster
        self._rows = rows.view(f"{kind}{geometry.cell_width}")[..., 0]

    def cells(self, text: str) -> int:
        """Cells that ``text`` takes, escapes included."""
        return len(self.atlas.glyphs(text))

    def visual_tokens(self, text: str) -> int:
        """Visual tokens that ``text`` costs when drawn."""
        return self.geometry.visual_tokens(self.cells(text))

    def fits(self, text: str) -> bool:
        """Whether one sketch can hold ``text``."""
        return self.cells(text) <= self.geometry.max_cells

    def draw(self, chunks: Sequence[Chunk]) -> list[Sketch]:
        """Draw ``chunks``; raises ``ValueError`` for one that no sketch can hold."""
        geometry = self.geometry
        glyphs = self.atlas.glyphs_of([chunk.text for chunk in chunks])
        for chunk, cells in zip(chunks, glyphs, strict=True):
            if len(cells) > geometry.max_cells:
                raise ValueError(
                    f"chunk {chunk.id} takes {len(cells)} cells, a sketch holds "
                    f"{geometry.max_cells}: cut it shorter"
                )
        lines = [geometry.lines(len(cells)) for cells in glyphs]
        pixels = self._gather(glyphs, lines)
        sketches: list[Sketch] = []
        top = 0
        for chunk, cells, height in zip(chunks, glyphs, lines, strict=True):
            bottom = top + height * geometry.cell_height
            tokens = geometry.visual_tokens(len(cells))
            sketches.append(Sketch(chunk.id, pixels[top:bottom], tokens))
            top = bottom
        return sketches

    def _gather(
        self, glyphs: Sequence[npt.NDArray[np.int16]], lines: Sequence[int]
    ) -> npt.NDArray[np.uint8]:
        """All sketches below each other, shape (all lines * cell height, columns * cell width)."""
        geometry = self.geometry
        grid = np.zeros((sum(lines), geometry.columns), dtype=np.intp)  # glyph 0 is the space
        flat = grid.reshape(-1)
        start = 0
        for cells, height in zip(glyphs, lines, strict=True):
            flat[start : start + len(cells)] = cells
            start += height * geometry.columns
        drawn = np.empty((len(grid), geometry.cell_height, geometry.columns), self._rows.dtype)
        for row, cells_row in enumerate(self._rows):
            drawn[:, row] = cells_row.take(grid, mode="clip")
        return drawn.view(np.uint8).reshape(
            len(grid) * geometry.cell_height, geometry.columns * geometry.cell_width
        )


def patchify(sketch: Sketch, geometry: SketchGeometry) -> npt.NDArray[np.uint8]:
    """The patches of a sketch's used strips, shape (visual tokens * patches a strip, patch size).

    Raster order is reading order: left to right, then down; a patch is flattened row by row.
    """
    height, width = sketch.pixels.shape
    rows, across = height // geometry.cell_height, geometry.patches_per_line
    cut = sketch.pixels.reshape(rows, geometry.cell_height, across, width // across)
    patches = cut.transpose(0, 2, 1, 3).reshape(rows * across, geometry.patch_size)
    return patches[: sketch.visual_tokens * geometry.patches_per_strip]
