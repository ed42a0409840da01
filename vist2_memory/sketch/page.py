"""Chunk to page: text drawn as print, for vision-language models that were trained on print.

Each character is rasterised once; a page is then put together by array gathers, not by drawing
strings. Knows the transcript's marks, the geometry and a typeface, no model.
"""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vist2_memory.sketch.glyph_columns import PAPER, GlyphColumns, Typeset
from vist2_memory.sketch.page_geometry import PageGeometry
from vist2_memory.sketch.typeface import Typeface, default_typeface
from vist2_memory.text.transcript import LABELS, printed
from vist2_memory.types import Chunk

__all__ = ["Page", "PageGeometry", "PageRenderer"]

_VERSION = 1
"""Counts changes of this code that change what is drawn."""

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
        before = -(-geometry.margin // geometry.line_height)  # lines that the upper margin takes
        first = before * geometry.line_height - geometry.margin
        last = first + geometry.page_height(len(spans))
        paper = np.full(
            (-(-last // geometry.line_height), geometry.line_height, geometry.width),
            PAPER,
            np.uint8,
        )
        area = paper[:, :, geometry.margin : geometry.width - geometry.margin]
        self._ink(area, before, typeset.glyphs, spans)
        return paper.reshape(-1, geometry.width)[first:last]

    def _ink(
        self,
        area: npt.NDArray[np.uint8],
        first: int,
        glyphs: npt.NDArray[np.int32],
        spans: Sequence[Span],
    ) -> None:
        """Draw the lines of ``spans`` into ``area``, line ``first`` and on.

        ``area`` has shape (lines, line height, line width). One gather for each row of pixels.
        """
        columns = self._columns(glyphs, spans)
        over, height = self.geometry.overhang, self.geometry.line_height
        top, bottom = self._glyphs.extent(glyphs)
        inside = range(max(top, over), min(bottom, over + height))
        for number in inside:
            row = self._glyphs.rows[number].take(columns, mode="clip")
            area[first : first + len(spans), number - over] = row
        for number in {*range(top, bottom)}.difference(inside):
            # Ink that leaves its line meets the ink of the neighbour: the darker pixel stays.
            line, row_there = divmod(number - over, height)
            there = area[first + line : first + line + len(spans), row_there]
            row = self._glyphs.rows[number].take(columns, mode="clip")
            np.minimum(there, row, out=there)

    def _columns(
        self, glyphs: npt.NDArray[np.int32], spans: Sequence[Span]
    ) -> npt.NDArray[np.int64]:
        """The column of the atlas for every column of every line, shape (lines, line width)."""
        width = self.geometry.line_width
        paper = np.zeros(1, dtype=np.int32)
        parts = (part for first, last in spans for part in (glyphs[first:last], paper))
        runs = np.concatenate(list(parts))  # every line's glyphs, then paper to the line's end
        advances = self._glyphs.advances[runs]
        fill = np.cumsum([last - first + 1 for first, last in spans]) - 1
        advances[fill] = width - np.diff(np.cumsum(advances)[fill], prepend=0)
        first_columns = self._glyphs.starts[runs] - np.cumsum(advances) + advances
        columns = np.repeat(first_columns, advances)
        columns += np.arange(len(columns))
        return columns.reshape(-1, width)

    def _spans(self, typeset: Typeset) -> list[Span]:
        """Where lines begin and end, by the widths of what is drawn."""
        numbers, glyphs = typeset.glyphs, self._glyphs
        edges = np.concatenate(([0], np.cumsum(glyphs.advances[numbers])))
        paragraph = _Paragraph(
            edges.data,
            glyphs.breaks[numbers].tobytes(),
            glyphs.spaces[numbers].tobytes(),
            self.geometry.line_width,
        )
        spans: list[Span] = []
        first = 0
        for last in (*np.flatnonzero(numbers == glyphs.newline).tolist(), len(numbers)):
            spans.extend(paragraph.lines(first, last))
            first = last + 1
        return spans


@dataclass(frozen=True, slots=True)
class _Paragraph:
    """What wrapping looks at: where glyphs begin in pixels, and by glyph whether a line may end
    after it and whether it is a space (a byte each, 0 or 1)."""

    edges: memoryview[int]
    breaks: bytes
    spaces: bytes
    width: int

    def lines(self, first: int, last: int) -> Iterator[Span]:
        """The lines of glyphs ``first`` to ``last``, among which there is no newline."""
        while self.edges[last] - self.edges[first] > self.width:
            over = bisect_right(self.edges, self.edges[first] + self.width) - 1
            if self.spaces[over]:
                begin = self._after_spaces(over, last)
            else:
                begin = self.breaks.rfind(1, first, over) + 1
                if begin <= self._after_spaces(first, last):  # no place to break but in the word
                    begin = over
            # Spaces at a cut are left out, unless there is nothing else.
            yield first, self.spaces.rfind(0, first, begin) + 1 or over
            if begin == last:
                return
            first = begin
        yield first, last

    def _after_spaces(self, first: int, last: int) -> int:
        word = self.spaces.find(0, first, last)
        return last if word < 0 else word
