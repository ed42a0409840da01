"""The measures of a sketch, and what a text costs in visual tokens.

A sketch is lines of cells, one character a cell. A line is cut into *strips*: ``patches_per_strip``
neighbouring patches that the aligner joins into one visual token. Cells are aligned to patches, so
that no glyph lies across two of them. The geometry belongs to the model's configuration: a model
reads only what is drawn as in its training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SketchGeometry:
    """Cells in pixels, lines in cells, patches in cells, strips in patches."""

    cell_width: int = 4
    """Pixels across one character."""
    cell_height: int = 8
    """Pixels down one line of text."""
    columns: int = 72
    """Characters a line."""
    max_lines: int = 8
    """Lines that the tower was trained on; longer chunks do not fit a sketch."""
    cells_per_patch: int = 9
    """Characters across one patch; a patch is one line high."""
    patches_per_strip: int = 2
    """Neighbouring patches that become one visual token."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"geometry {name}={value!r} must be a whole number of at least 1")
        if self.columns % self.cells_per_strip:
            raise ValueError(
                f"geometry columns={self.columns} must be a multiple of the strip, "
                f"cells_per_patch * patches_per_strip = {self.cells_per_strip}"
            )

    @property
    def cells_per_strip(self) -> int:
        """Characters that one visual token stands for when its strip is full."""
        return self.cells_per_patch * self.patches_per_strip

    @property
    def patches_per_line(self) -> int:
        """Patches across a line."""
        return self.columns // self.cells_per_patch

    @property
    def patch_size(self) -> int:
        """Pixels in a patch, the length of its vector."""
        return self.cell_height * self.cell_width * self.cells_per_patch

    @property
    def max_cells(self) -> int:
        """Cells that fit one sketch."""
        return self.columns * self.max_lines

    def visual_tokens(self, cells: int) -> int:
        """Visual tokens that a text of ``cells`` cells costs."""
        return -(-cells // self.cells_per_strip)

    def lines(self, cells: int) -> int:
        """Lines that a text of ``cells`` cells takes; an empty one takes one."""
        return max(1, -(-cells // self.columns))

    def to_dict(self) -> dict[str, Any]:
        """The measures as plain numbers, for a model's config."""
        return asdict(self)
