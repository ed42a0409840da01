"""Glyphs as columns of pixels: each character is rasterised once, on first sight.

All glyphs of one size lie in one array side by side, so that a line is a gather of columns. Knows
a typeface and the page's measures, nothing of lines or pages.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vist2_memory.sketch.page_geometry import PageGeometry
from vist2_memory.sketch.typeface import Ink, Pixels, Typeface
from vist2_memory.text.transcript import LABELS

_PAPER = 255
_TAB = "    "
_CODE_POINTS = 0x110000
_MARKS = re.compile(r"[\u0300-\U0010ffff]")
_ZERO_WIDTH = ("Cf", "Zl", "Zp")
_UNDRAWABLE = ("Cc", "Cn", "Co", "Cs")


@dataclass(frozen=True, slots=True)
class Typeset:
    """A text as glyph numbers, shape (glyphs,); ``starts`` has the text offset of each, and the end."""

    text: str
    glyphs: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64] | None

    def slice(self, first: int, last: int) -> str:
        """The text of glyphs ``first`` to ``last``, which is not included."""
        if self.starts is None:
            return self.text[first:last]
        return self.text[int(self.starts[first]) : int(self.starts[last])]


class GlyphColumns:
    """The glyphs seen so far.

    ``pixels`` has shape (columns, line height and overhangs), uint8, 255 paper and 0 ink; column 0
    is paper. ``starts`` and ``advances`` give the columns of a glyph, ``spaces`` and ``breaks``
    whether it is a space and whether a line may end after it.
    """

    def __init__(self, typeface: Typeface, geometry: PageGeometry) -> None:
        self._typeface = typeface
        self._geometry = geometry
        self._height = geometry.line_height + 2 * geometry.overhang
        plumb = typeface.ink("H", geometry.font_size)
        capitals = plumb.top if plumb else 0
        # Capitals stand a little below the middle of the line, to leave room for descenders.
        self._baseline = geometry.overhang + (geometry.line_height + capitals) // 2
        self._number = np.full(_CODE_POINTS, -1, dtype=np.int32)
        self._clusters: dict[str, int] = {}
        self._columns = 1
        self.pixels: Pixels = np.full((4096, self._height), _PAPER, np.uint8)
        self.starts = np.zeros(0, np.int64)
        self.advances = np.zeros(0, np.int64)
        self.spaces = np.zeros(0, np.bool_)
        self.breaks = np.zeros(0, np.bool_)
        self.newline = self._cluster("\n")
        for character in map(chr, range(0x20, 0x7F)):
            self._cluster(character)

    def typeset(self, text: str) -> Typeset:
        """``text``, composed (NFC), as glyphs."""
        text = text.replace("\r\n", "\n")
        if _MARKS.search(text):
            text = unicodedata.normalize("NFC", text)
            clusters = _clusters(text)
            if len(clusters) < len(text):
                starts = np.cumsum([0, *map(len, clusters)])
                numbers = np.array([self._cluster(cluster) for cluster in clusters], np.int32)
                return Typeset(text, numbers, starts)
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        numbers = self._number[codes]
        if (numbers < 0).any():
            for code in np.unique(codes[numbers < 0]).tolist():
                self._cluster(chr(code))
            numbers = self._number[codes]
        return Typeset(text, numbers, None)

    def _cluster(self, cluster: str) -> int:
        """The number of a character with its combining marks; drawn when it is new."""
        if len(cluster) == 1 and self._number[ord(cluster)] >= 0:
            return int(self._number[ord(cluster)])
        if cluster in self._clusters:
            return self._clusters[cluster]
        number = len(self.starts)
        columns = self._drawn(cluster)
        end = self._columns + len(columns)
        if end > len(self.pixels):
            more = np.full((max(end, 2 * len(self.pixels)), self._height), _PAPER, np.uint8)
            more[: self._columns] = self.pixels[: self._columns]
            self.pixels = more
        self.pixels[self._columns : end] = columns
        self.starts = np.append(self.starts, self._columns)
        self.advances = np.append(self.advances, len(columns))
        self.spaces = np.append(self.spaces, cluster in (" ", "\t"))
        self.breaks = np.append(self.breaks, _may_end_a_line(cluster))
        self._columns = end
        if len(cluster) == 1:
            self._number[ord(cluster)] = number
        else:
            self._clusters[cluster] = number
        return number

    def _drawn(self, cluster: str) -> Pixels:
        """The columns of one cluster, shape (advance, line height and overhangs)."""
        if cluster in LABELS:
            label = self._words(LABELS[cluster].strip())
            space = self._words(" ")
            label[:, self._geometry.overhang : -self._geometry.overhang] ^= 255
            return np.concatenate((label, space))
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
            return np.concatenate([self._drawn(character) for character in cluster])
        return self._words(_spelt(cluster))

    def _words(self, text: str) -> Pixels:
        """Plain characters side by side."""
        parts = [np.full((0, self._height), _PAPER, np.uint8)]
        return np.concatenate(parts + [self._drawn(character) for character in text])

    def _placed(self, ink: Ink) -> Pixels:
        """``ink`` on paper of a line's height; its advance grows where the ink is wider."""
        height, width = ink.pixels.shape
        left = max(0, ink.left)
        columns = np.full((max(ink.advance, left + width), self._height), _PAPER, np.uint8)
        top = min(max(0, self._baseline - ink.top), max(0, self._height - height))
        height = min(height, self._height - top)
        columns[left : left + width, top : top + height] -= ink.pixels[:height].T
        return columns


def _spelt(cluster: str) -> str:
    """How a character that no font has is written: by its code points."""
    return "".join(f"[U+{ord(character):04X}]" for character in cluster)


def _clusters(text: str) -> list[str]:
    """``text`` cut into characters, each with the combining marks that follow it."""
    clusters: list[str] = []
    for character in text:
        if clusters and unicodedata.category(character) in ("Mn", "Me", "Mc"):
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
