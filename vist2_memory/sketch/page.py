"""Chunk to page: text drawn as print, for vision-language models that were trained on print.

Each character is rasterised once; a page is then put together from columns of pixels, not by
drawing strings. Knows the transcript's marks, the geometry and a typeface, no model.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vist2_memory.sketch.glyph_columns import PAPER, GlyphColumns
from vist2_memory.sketch.page_geometry import PageGeometry
from vist2_memory.sketch.typeface import Pixels, Typeface, default_typeface
from vist2_memory.sketch.wrapping import Lines, wrap
from vist2_memory.text.transcript import LABELS, printed
from vist2_memory.types import Chunk

__all__ = ["Page", "PageGeometry", "PageRenderer"]

_VERSION = 2
"""Counts changes of this code that change what is drawn."""

_LINES = 32
"""Lines whose pixels are gathered at once: as many as stay in a processor's cache."""


@dataclass(frozen=True, slots=True)
class Page:
    """A chunk drawn as print.

    ``pixels`` has shape (height, width), uint8, 255 for white paper and 0 for ink; both are
    multiples of the geometry's ``multiple``. Pages drawn together share an array.
    """

    chunk_id: str
    pixels: Pixels

    def to_png(self) -> bytes:
        """The page as a grey PNG."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG")
        return buffer.getvalue()


class PageRenderer:
    """Draws chunks as pages of one geometry in one typeface. Threads may share it."""

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
        shown = str.maketrans(LABELS)
        return [line.translate(shown) for line in self._wrap(text).texts()]

    def fits(self, text: str) -> bool:
        """Whether one page can hold ``text``."""
        return len(self._wrap(text).spans) <= self.geometry.lines_per_page

    def draw(self, chunks: Sequence[Chunk]) -> list[Page]:
        """Draw ``chunks``, one page each, all in one array.

        Raises ``ValueError`` for a chunk that no page can hold.
        """
        geometry = self.geometry
        wrapped = [self._wrap(chunk.text) for chunk in chunks]
        for chunk, lines in zip(chunks, wrapped, strict=True):
            if len(lines.spans) > geometry.lines_per_page:
                raise ValueError(
                    f"chunk {chunk.id} takes {len(lines.spans)} lines, a page holds "
                    f"{geometry.lines_per_page}: cut it shorter"
                )
        heights = [geometry.page_height(len(lines.spans)) for lines in wrapped]
        paper = np.full((sum(heights), geometry.width), PAPER, np.uint8)
        pages: list[Page] = []
        top = 0
        for chunk, lines, height in zip(chunks, wrapped, heights, strict=True):
            pages.append(Page(chunk.id, paper[top : top + height]))
            self._ink(pages[-1].pixels, lines)
            top += height
        return pages

    def _wrap(self, text: str) -> Lines:
        if self._glyphs.full:
            self._glyphs = GlyphColumns(self.font, self.geometry)
        return wrap(printed(text), self._glyphs, self.geometry.line_width)

    def _ink(self, pixels: Pixels, lines: Lines) -> None:
        """Draw ``lines`` on the paper of one page, shape (height, width)."""
        geometry = self.geometry
        high, over, left = geometry.line_height, geometry.overhang, geometry.margin
        first, last = lines.glyphs.extent(lines.typeset.glyphs)
        apart = first >= over and last <= over + high
        top = geometry.margin - over
        for ink in _each_line(lines):
            there = pixels[top + first : top + last, left : left + ink.shape[1]]
            if apart:
                there[:] = ink[first:last]
            else:  # ink meets that of the line above: the darker pixel stays
                np.minimum(there, ink[first:last], out=there)
            top += high


def _each_line(lines: Lines) -> Iterator[Pixels]:
    """The pixels of one line after the other, shape (rows and overhangs, columns)."""
    for start in range(0, len(lines.spans), _LINES):
        spans = lines.spans[start : start + _LINES]
        begin, end = spans[0][0], spans[-1][1]
        edges = lines.edges[begin : end + 1] - lines.edges[begin]
        ink = lines.glyphs.side_by_side(lines.typeset.glyphs[begin:end], edges).T
        for first, last in spans:
            yield ink[:, edges[first - begin] : edges[last - begin]]
