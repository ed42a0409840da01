"""Chunk to page: text drawn as print, for vision-language models that were trained on print.

Each character is rasterised once; a page is then put together by array gathers, not by drawing
strings. Knows the transcript's marks, the geometry and a typeface, no model.
"""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vist2_memory.sketch.glyph_columns import GlyphColumns, Typeset
from vist2_memory.sketch.page_geometry import PageGeometry
from vist2_memory.sketch.typeface import Typeface, default_typeface
from vist2_memory.text.transcript import LABELS, printed
from vist2_memory.types import Chunk

__all__ = ["Page", "PageGeometry", "PageRenderer"]

_VERSION = 1
"""Counts changes of this code that change what is drawn."""
_PAPER = 255

Span = tuple[int, int]
"""The first glyph of a line, and the one after its last."""


@dataclass(frozen=True, slots=True)
class Page:
    """A chunk drawn as print.

    ``pixels`` has shape (height, width), uint8, 255 for white paper and 0 for ink; both are
    multiples of the geometry's ``multiple``.
    """

    chunk_id: str
    pixels: npt.NDArray[np.uint8]

    def to_png(self) -> bytes:
        """The page as a grey PNG."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG")
        return buffer.getvalue()


class PageRenderer:
    """Draws chunks as pages of one geometry in one typeface."""

    def __init__(self, geometry: PageGeometry, font: Typeface | None = None) -> None:
        self.geometry = geometry
        self.font = font or default_typeface()
        self._glyphs = GlyphColumns(self.font, geometry)

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides how a text is drawn."""
        measures = f"{_VERSION} {self.geometry!r} {self.font.fingerprint}"
        return hashlib.blake2b(measures.encode(), digest_size=8).hexdigest()

    def lines(self, text: str) -> list[str]:
        """``text`` as print, cut into lines where the page cuts it.

        Lines end at newlines, else between words; a word longer than a line is broken. Spaces at
        such a cut are left out, all others are kept.
        """
        typeset = self._glyphs.typeset(printed(text))
        shown = str.maketrans(LABELS)
        return [typeset.slice(*span).translate(shown) for span in self._spans(typeset)]

    def fits(self, text: str) -> bool:
        """Whether one page can hold ``text``."""
        typeset = self._glyphs.typeset(printed(text))
        return len(self._spans(typeset)) <= self.geometry.lines_per_page

    def draw(self, chunks: Sequence[Chunk]) -> list[Page]:
        """Draw ``chunks``, one page each; raises ``ValueError`` for one that no page can hold."""
        return [Page(chunk.id, self._draw(chunk)) for chunk in chunks]

    def _draw(self, chunk: Chunk) -> npt.NDArray[np.uint8]:
        geometry = self.geometry
        typeset = self._glyphs.typeset(printed(chunk.text))
        spans = self._spans(typeset)
        if len(spans) > geometry.lines_per_page:
            raise ValueError(
                f"chunk {chunk.id} takes {len(spans)} lines, a page holds "
                f"{geometry.lines_per_page}: cut it shorter"
            )
        pixels = np.full((geometry.page_height(len(spans)), geometry.width), _PAPER, np.uint8)
        strips = self._strips(typeset.glyphs, spans)
        left, right = geometry.margin, geometry.width - geometry.margin
        height, over = geometry.line_height, geometry.overhang
        # Ink that leaves its line meets the neighbours' paper: the darker pixel stays.
        for parity in (0, 1):
            for number in range(parity, len(spans), 2):
                top = geometry.margin + number * height - over
                area = pixels[top : top + height + 2 * over, left:right]
                np.minimum(area, strips[number], out=area)
        return pixels

    def _strips(
        self, glyphs: npt.NDArray[np.int32], spans: Sequence[Span]
    ) -> npt.NDArray[np.uint8]:
        """All lines drawn, shape (lines, line height and overhangs, line width)."""
        inside = np.zeros(len(glyphs) + 1, dtype=np.int8)
        starts, ends = np.array(spans, dtype=np.int64).T
        np.add.at(inside, starts, 1)
        np.add.at(inside, ends, -1)
        kept = glyphs[np.cumsum(inside[:-1], dtype=np.int8) > 0]
        advances = self._glyphs.advances[kept]
        ends_of_columns = np.cumsum(advances)
        first = self._glyphs.starts[kept] - (ends_of_columns - advances)
        columns = np.repeat(first, advances) + np.arange(int(advances.sum()))
        before = np.concatenate(([0], ends_of_columns))
        glyph_ends = np.cumsum(ends - starts)
        widths = before[glyph_ends] - before[glyph_ends - (ends - starts)]
        grid = np.zeros((len(spans), self.geometry.line_width), dtype=np.int64)  # column 0 is paper
        grid[np.arange(grid.shape[1]) < widths[:, None]] = columns
        return self._glyphs.pixels[grid].transpose(0, 2, 1)

    def _spans(self, typeset: Typeset) -> list[Span]:
        """Where lines begin and end, by the widths of what is drawn."""
        glyphs = self._glyphs
        edges = np.concatenate(([0], np.cumsum(glyphs.advances[typeset.glyphs]))).tolist()
        breaks = (np.flatnonzero(glyphs.breaks[typeset.glyphs]) + 1).tolist()
        inked = np.flatnonzero(~glyphs.spaces[typeset.glyphs]).tolist()
        newlines = np.flatnonzero(typeset.glyphs == glyphs.newline).tolist()
        spans: list[Span] = []
        first = 0
        for last in (*newlines, len(typeset.glyphs)):
            spans.extend(self._wrapped(first, last, edges, breaks, inked))
            first = last + 1
        return spans

    def _wrapped(
        self, first: int, last: int, edges: list[int], breaks: list[int], inked: list[int]
    ) -> Iterator[Span]:
        """The lines of glyphs ``first`` to ``last``, between which is no newline.

        ``edges`` are where glyphs begin in pixels, ``breaks`` the glyphs that a line may begin
        with, ``inked`` those that are no spaces.
        """
        while True:
            over = bisect_right(edges, edges[first] + self.geometry.line_width) - 1
            if over >= last:
                break
            word = _from(inked, over, last)  # spaces at the end of a full line are left out
            end = over
            if word == over:
                break_at = breaks[bisect_right(breaks, over) - 1] if breaks else 0
                if break_at > _from(inked, first, last):
                    end = word = break_at
            yield first, end
            first = word
            if first >= last:
                return
        yield first, last


def _from(numbers: list[int], least: int, otherwise: int) -> int:
    """The first of the sorted ``numbers`` that is at least ``least`` and below ``otherwise``."""
    place = bisect_left(numbers, least)
    return min(numbers[place], otherwise) if place < len(numbers) else otherwise
