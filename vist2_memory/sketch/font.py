"""The bitmap glyph atlas: characters to glyph numbers, glyph numbers to pixels.

Knows nothing of chunks, lines or models. The glyphs stand in ``glyphs.txt``, drawn for this project
in cells of 4 x 8 pixels; letters with one accent are put together from their parts. A character
that the atlas lacks is drawn as an escape: an opening mark that no character has, the code point in
hexadecimal, a closing mark. So a drawing is never ambiguous, and nothing is dropped.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

CELL_WIDTH = 4
CELL_HEIGHT = 8

# Combining accents, as three pixels in row 0; the cedilla and the ogonek hang below instead.
_ABOVE = {0x300: 4, 0x301: 1, 0x302: 2, 0x303: 6, 0x308: 5, 0x30A: 7, 0x30C: 3}
_BELOW = {0x327: (2, 4), 0x328: (2, 1)}
_DOTLESS_I = "\u0131"
_ACCENTED = [chr(code) for code in (*range(0xC0, 0x180), 0x218, 0x219, 0x21A, 0x21B)]


@dataclass(frozen=True)
class GlyphAtlas:
    """Glyph pixels and the table that finds them.

    ``pixels`` has shape (glyphs, cell height, cell width), uint8, 0 paper and 255 ink; glyph 0 is
    the space. ``index`` has shape (65536,), int16: the glyph of a code point, or -1.
    """

    pixels: npt.NDArray[np.uint8]
    index: npt.NDArray[np.int16]
    open_escape: int
    close_escape: int

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides how a text is drawn."""
        digest = hashlib.blake2b(self.pixels.tobytes(), digest_size=8)
        digest.update(self.index.tobytes())
        return digest.hexdigest()

    def has(self, character: str) -> bool:
        """Whether ``character`` has a glyph of its own."""
        code = ord(character)
        return code < len(self.index) and bool(self.index[code] >= 0)

    def glyphs(self, text: str) -> npt.NDArray[np.int16]:
        """The glyph numbers that draw ``text``, one a cell, shape (cells,)."""
        units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype=np.uint16)
        found = self.index.take(units)  # surrogates, halves of what lies beyond, have no glyph
        if found.min(initial=0) >= 0:
            return found
        cells: list[int] = []
        for character in text:
            code = ord(character)
            cells.extend((self.index[code],) if self.has(character) else self._escape(code))
        return np.array(cells, dtype=np.int16)

    def _escape(self, code: int) -> Iterator[int]:
        yield self.open_escape
        yield from (int(self.index[ord(digit)]) for digit in f"{code:x}")
        yield self.close_escape

    def text(self, glyphs: Iterable[int]) -> str:
        """The text that ``glyphs`` draw: the inverse of :meth:`glyphs`."""
        characters = {int(g): chr(c) for c, g in enumerate(self.index.tolist()) if g >= 0}
        out: list[str] = []
        escape: list[str] | None = None
        for glyph in glyphs:
            if glyph == self.open_escape:
                escape = []
            elif glyph == self.close_escape and escape is not None:
                out.append(chr(int("".join(escape), 16)))
                escape = None
            else:
                (out if escape is None else escape).append(characters[int(glyph)])
        return "".join(out)


def _rows(code: str) -> list[int]:
    """The eight rows of a glyph, four bits each, the leftmost pixel highest."""
    kind, digits = code[0], code[1:]
    if kind == "x":
        rows = [int(digit, 16) for digit in digits]
    else:
        rows = [0, *(int(digit, 8) << 1 for digit in digits)]
    return (rows + [0] * CELL_HEIGHT)[:CELL_HEIGHT]


def _accented(character: str, base: dict[str, list[int]]) -> list[int] | None:
    """The rows of a letter with one accent, or None where its parts are not in the atlas."""
    parts = unicodedata.normalize("NFD", character)
    if len(parts) != 2 or parts[0] not in base:
        return None
    letter = _DOTLESS_I if parts[0] == "i" and ord(parts[1]) in _ABOVE else parts[0]
    rows = list(base[letter])
    mark = ord(parts[1])
    if mark in _ABOVE:
        rows[0] |= _ABOVE[mark] << 1
    elif mark in _BELOW and not any(rows[6:]):
        rows[6], rows[7] = (row << 1 for row in _BELOW[mark])
    else:
        return None
    return rows


def _read(lines: Iterable[str]) -> dict[str, list[int]]:
    """The drawn glyphs by character; the two escape marks go by their names."""
    drawn: dict[str, list[int]] = {}
    for line in lines:
        if line.startswith("# ") or not line.strip():
            continue
        name, code = line.rstrip("\n").rsplit(" ", 1)
        drawn[chr(int(name[2:], 16)) if name.startswith("U+") else name] = _rows(code)
    return drawn


@cache
def default_atlas() -> GlyphAtlas:
    """The atlas that the bundled models were trained on; built once."""
    source = resources.files("vist2_memory.sketch").joinpath("glyphs.txt").read_text("utf-8")
    drawn = _read(source.splitlines())
    marks = [drawn.pop("open"), drawn.pop("close")]
    for character in _ACCENTED:
        rows = _accented(character, drawn)
        if character not in drawn and rows is not None and rows not in drawn.values():
            drawn[character] = rows
    order = sorted(drawn, key=lambda character: (character != " ", ord(character)))
    index = np.full(0x10000, -1, dtype=np.int16)
    index[[ord(character) for character in order]] = np.arange(len(order))
    rows_of = np.array([drawn[character] for character in order] + marks, dtype=np.uint8)
    bits = np.arange(CELL_WIDTH - 1, -1, -1, dtype=np.uint8)
    drawn_bits = (rows_of[:, :, None] >> bits) & 1  # (glyphs, 8, 4)
    pixels = (drawn_bits * 255).astype(np.uint8)
    return GlyphAtlas(pixels, index, open_escape=len(order), close_escape=len(order) + 1)
