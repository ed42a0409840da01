"""Glyphs as columns of pixels: each character is rasterised once, on first sight.

All glyphs of one size lie in one array side by side, so that a text is one gather of columns. Knows
a typeface and the page's measures, nothing of lines or pages.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vist2_memory.sketch.page_geometry import PageGeometry
from vist2_memory.sketch.typeface import Ink, Pixels, Typeface
from vist2_memory.text.transcript import LABELS

PAPER = 255
_TAB = "    "
_CODE_POINTS = 0x110000
_COLUMNS = 4096
"""Room to begin with, in columns."""
_MOST_GLYPHS = 1 << 15
"""More than any one script has; a stream of texts in all of them does not grow without limit."""
_MARKS = re.compile(r"[\u0300-\U0010ffff]")
_MOST_MARKS = 8
"""Combining marks that are drawn on one character; no language needs more."""
_ZERO_WIDTH = ("Cf", "Zl", "Zp")
_UNDRAWABLE = ("Cc", "Cn", "Co", "Cs")


@dataclass(frozen=True, slots=True)
class Typeset:
    """A text as glyph numbers, shape (glyphs,).

    ``starts`` has the text offset of each and the text's end; None where each is one character.
    """

    text: str
    glyphs: npt.NDArray[np.intp]
    starts: npt.NDArray[np.int64] | None

    def slice(self, first: int, last: int) -> str:
        """The text of glyphs ``first`` to ``last``, which is not included."""
        if self.starts is None:
            return self.text[first:last]
        return self.text[int(self.starts[first]) : int(self.starts[last])]


class GlyphColumns:
    """The glyphs seen so far; glyph 0 is the newline, which has no columns.

    ``starts`` and ``advances`` give the columns of a glyph, ``spaces`` and ``breaks`` whether it is
    a space and whether a line may end after it. Threads may share it: one at a time adds a glyph,
    and the others see its number only when all else is in place.
    """

    def __init__(self, typeface: Typeface, geometry: PageGeometry) -> None:
        self._typeface = typeface
        self._geometry = geometry
        self._height = geometry.line_height + 2 * geometry.overhang
        plumb = typeface.ink("H", geometry.font_size)
        capitals = plumb.top if plumb else 0
        # Capitals stand in the middle of the line, or a pixel above.
        self._baseline = geometry.overhang + (geometry.line_height + capitals) // 2
        self._number = np.full(_CODE_POINTS, -1, dtype=np.int32)
        self._clusters: dict[str, int] = {}
        self._adding = threading.Lock()
        self._used = 0
        # (columns, rows of a line and its overhangs), 255 paper and 0 ink. A column is moved as one
        # item, which numpy does faster where its size is a power of two.
        item = 1 << (self._height - 1).bit_length()
        self._columns: Pixels = np.full((_COLUMNS, item), PAPER, np.uint8)
        self.starts = np.zeros(0, np.intp)
        self.advances = np.zeros(0, np.intp)
        self.spaces = np.zeros(0, np.bool_)
        self.breaks = np.zeros(0, np.bool_)
        self._extents = np.zeros((0, 2), np.intp)
        self.newline = self._cluster("\n")
        for character in map(chr, range(0x20, 0x7F)):
            self._cluster(character)

    @property
    def full(self) -> bool:
        """Whether so much was seen that it is time for new columns; these still work."""
        return len(self.starts) >= _MOST_GLYPHS

    def side_by_side(self, glyphs: npt.NDArray[np.intp], edges: npt.NDArray[np.intp]) -> Pixels:
        """The pixels of ``glyphs`` in one line, shape (columns, rows): a gather of columns.

        ``edges``, shape (glyphs + 1,), has the column at which each begins, and the end. The rows
        are those of a line's upper overhang, the line, and its lower overhang.
        """
        columns = np.repeat(self.starts.take(glyphs) - edges[:-1], np.diff(edges))
        columns += np.arange(len(columns))
        items = self._columns.view(f"V{self._columns.shape[1]}")  # (columns, 1)
        return items[:, 0].take(columns, mode="clip")[:, None].view(np.uint8)[:, : self._height]

    def extent(self, glyphs: npt.NDArray[np.intp]) -> tuple[int, int]:
        """The first row in which any of ``glyphs`` has ink, and the one after the last."""
        used = self._extents[np.flatnonzero(np.bincount(glyphs))]
        return int(used[:, 0].min(initial=self._height)), int(used[:, 1].max(initial=0))

    def typeset(self, text: str) -> Typeset:
        """``text``, composed (NFC), as glyphs."""
        text = text.replace("\r\n", "\n")
        if not text.isascii() and _MARKS.search(text):
            text = unicodedata.normalize("NFC", text)
            clusters = [part for cluster in _clusters(text) for part in self._narrow(cluster)]
            if len(clusters) < len(text):
                starts = np.cumsum([0, *map(len, clusters)])
                known = [self._cluster(cluster) for cluster in clusters]
                return Typeset(text, np.array(known, np.intp), starts)
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        numbers = self._number.take(codes)
        if numbers.min(initial=0) < 0:
            for code in np.unique(codes[numbers < 0]).tolist():
                self._cluster(chr(code))
            numbers = self._number.take(codes)
        return Typeset(text, numbers.astype(np.intp), None)

    def _narrow(self, cluster: str) -> tuple[str, ...]:
        """``cluster``, or its characters where it is wider than a line: spelt out, a few marks on a
        character that no font has are."""
        number = self._cluster(cluster)
        narrow = self.advances[number] <= self._geometry.line_width
        return (cluster,) if narrow else tuple(cluster)

    def _cluster(self, cluster: str) -> int:
        """The number of a character with its combining marks; drawn when it is new."""
        known = self._known(cluster)
        if known is None:
            with self._adding:
                known = self._known(cluster)
                return self._add(cluster) if known is None else known
        return known

    def _known(self, cluster: str) -> int | None:
        if len(cluster) > 1:
            return self._clusters.get(cluster)
        number = int(self._number[ord(cluster)])
        return None if number < 0 else number

    def _add(self, cluster: str) -> int:
        """Draw ``cluster`` behind the others; its number is entered last."""
        number = len(self.starts)
        drawn = self._drawn(cluster)
        start, self._used = self._used, self._used + drawn.shape[1]
        if self._used > len(self._columns):
            more = np.full((2 * self._used, self._columns.shape[1]), PAPER, np.uint8)
            more[:start] = self._columns[:start]
            self._columns = more
        self._columns[start : self._used, : self._height] = drawn.T
        inked = np.flatnonzero((drawn < PAPER).any(axis=1))
        extent = (inked[0], inked[-1] + 1) if len(inked) else (self._height, 0)
        self._extents = np.append(self._extents, [extent], axis=0)
        self.advances = np.append(self.advances, drawn.shape[1])
        self.spaces = np.append(self.spaces, cluster in (" ", "\t"))
        self.breaks = np.append(self.breaks, _may_end_a_line(cluster))
        self.starts = np.append(self.starts, start)
        if len(cluster) == 1:
            self._number[ord(cluster)] = number
        else:
            self._clusters[cluster] = number
        return number

    def _drawn(self, cluster: str) -> Pixels:
        """The pixels of one cluster, shape (line height and overhangs, advance)."""
        if cluster in LABELS:
            label = self._words(LABELS[cluster].strip())
            space = self._words(" ")
            label[self._geometry.overhang : -self._geometry.overhang] ^= 255  # white on black
            return np.concatenate((label, space), axis=1)
        kind = unicodedata.category(cluster[0])
        if cluster == "\n" or kind in _ZERO_WIDTH:
            return self._words("")
        if cluster == "\t":
            return self._words(_TAB)
        if kind in _UNDRAWABLE:
            return self._words(_spelt(cluster))
        ink = self._typeface.ink(cluster, self._geometry.font_size)
        if ink is not None:
            return self._placed(ink)
        if len(cluster) > 1:
            return self._words(cluster)
        return self._words(_spelt(cluster))

    def _words(self, text: str) -> Pixels:
        """Plain characters side by side."""
        parts = [np.full((self._height, 0), PAPER, np.uint8)]
        return np.concatenate(parts + [self._drawn(character) for character in text], axis=1)

    def _placed(self, ink: Ink) -> Pixels:
        """``ink`` on paper of a line's height; its advance grows where the ink is wider."""
        height, width = ink.pixels.shape
        left = max(0, ink.left)
        drawn = np.full((self._height, max(ink.advance, left + width)), PAPER, np.uint8)
        top = min(max(0, self._baseline - ink.top), max(0, self._height - height))
        height = min(height, self._height - top)
        drawn[top : top + height, left : left + width] -= ink.pixels[:height]
        return drawn


def _spelt(cluster: str) -> str:
    """How a character that no font has is written: by its code points."""
    return "".join(f"[U+{ord(character):04X}]" for character in cluster)


def _clusters(text: str) -> list[str]:
    """``text`` cut into characters, each with the combining marks that follow it, up to a few."""
    clusters: list[str] = []
    for character in text:
        marks = unicodedata.category(character) in ("Mn", "Me", "Mc")
        if marks and clusters and len(clusters[-1]) <= _MOST_MARKS:
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _may_end_a_line(cluster: str) -> bool:
    """After spaces and hyphens, and after the signs of scripts that are written without spaces."""
    return (
        cluster[0] in " \t-\u2010\u2013\u2014\u200b"
        or unicodedata.east_asian_width(cluster[0]) in "WF"
    )
