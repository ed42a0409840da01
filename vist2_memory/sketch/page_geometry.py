"""The measures of a page, drawn for models that were trained on print.

A page holds as many lines as its text needs. The defaults are those that Glyph's search found best
for reading at a compression of 3 to 4 (arXiv 2510.17800): A4 at 72 dpi, 9 point, lines of 10.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

_LEAST_WIDTH = 8
"""Ems that a line must hold: the widest thing drawn, a code point spelt out, is a little less."""


@dataclass(frozen=True, slots=True)
class PageGeometry:
    """Type in points, paper in pixels. ``width`` and ``height`` are rounded up to ``multiple``.

    Raises ``ValueError`` for measures that leave no room for text.
    """

    dpi: int = 72
    """Pixels an inch: what turns points into pixels."""
    font_points: float = 9
    """Size of the type."""
    line_points: float = 10
    """From one baseline to the next."""
    width: int = 595
    """Pixels across the page (A4 at 72 dpi; 616 after rounding)."""
    height: int = 842
    """Pixels down the longest page (868 after rounding)."""
    margin: int = 10
    """Pixels of white on every side, at least a quarter of a line."""
    multiple: int = 28
    """Pixels across the square that becomes one visual token: 28 where patches of 14 are merged two
    by two (Qwen2.5-VL, GLM-4.1V), 32 where patches of 16 are (Qwen3-VL). Their processors resize a
    page of any other size, which blurs small type."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            whole = name not in ("font_points", "line_points")
            kind = int if whole else (int, float)
            least = 0 if name == "margin" else 1
            if isinstance(value, bool) or not isinstance(value, kind) or not least <= value < 1e5:
                number = "whole number" if whole else "number"
                raise ValueError(f"page {name}={value!r} must be a {number} of at least {least}")
        for name in ("width", "height"):
            tokens = -(-getattr(self, name) // self.multiple)
            object.__setattr__(self, name, tokens * self.multiple)
        self._check_room()

    def _check_room(self) -> None:
        if self.line_points < self.font_points:
            raise ValueError(
                f"page line_points={self.line_points!r} must be at least "
                f"font_points={self.font_points!r}: lines would lie on each other"
            )
        if self.margin < self.overhang:
            raise ValueError(
                f"page margin={self.margin} must be at least {self.overhang}, a quarter of a line"
            )
        if self.line_width < _LEAST_WIDTH * self.font_size or self.lines_per_page < 1:
            raise ValueError(
                f"a page of {self.width} x {self.height} pixels with a margin of {self.margin} has "
                f"no room for type of {self.font_points} points at {self.dpi} dpi"
            )

    @property
    def font_size(self) -> float:
        """Pixels of an em."""
        return self.font_points * self.dpi / 72

    @property
    def line_height(self) -> int:
        """Pixels from one baseline to the next."""
        return math.ceil(self.line_points * self.dpi / 72 - 0.5)

    @property
    def overhang(self) -> int:
        """Pixels by which ink may reach into the line above or below."""
        return -(-self.line_height // 4)

    @property
    def line_width(self) -> int:
        """Pixels of a line, margins taken off."""
        return self.width - 2 * self.margin

    @property
    def lines_per_page(self) -> int:
        """Lines that the longest page holds."""
        return (self.height - 2 * self.margin) // self.line_height

    def page_height(self, lines: int) -> int:
        """Pixels down a page of ``lines`` lines."""
        return -(-(lines * self.line_height + 2 * self.margin) // self.multiple) * self.multiple

    def to_dict(self) -> dict[str, Any]:
        """The measures as plain numbers, for a model's config."""
        return asdict(self)
