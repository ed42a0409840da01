"""Fonts to ink: what one character looks like at one size.

Knows nothing of lines or pages. A typeface is a list of fonts; a character is drawn by the first
that has it: DejaVu Sans, then GNU Unifont, whose bitmaps cover the whole basic plane and emoji. Both
are bundled, so that the same text gives the same page on every machine.
"""

from __future__ import annotations

import hashlib
import io
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, features

Pixels = npt.NDArray[np.uint8]

_UNIFONT_ROWS = 16
_UNIFONT_BASELINE = 14


@dataclass(frozen=True, slots=True)
class Ink:
    """One character drawn.

    ``pixels`` has shape (rows, columns), uint8, 0 paper and 255 ink, without empty borders; it may
    have no pixels at all. ``left`` counts columns from the pen to the ink, ``top`` rows from the
    baseline up to its upper edge, ``advance`` the pixels that the pen moves.
    """

    pixels: Pixels
    left: int
    top: int
    advance: int


class Font(Protocol):
    """Draws the characters that it has."""

    @property
    def fingerprint(self) -> str:
        """Names the font and all that decides how it is drawn."""

    def ink(self, text: str, size: float) -> Ink | None:
        """``text``, a character and its combining marks, at ``size`` pixels an em, or None."""


class OutlineFont:
    """A TrueType or OpenType font, rasterised by FreeType in grey, without kerning or shaping."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._sizes: dict[float, tuple[ImageFont.FreeTypeFont, Ink]] = {}

    @cached_property
    def fingerprint(self) -> str:
        """The font's name and digest, and FreeType's version, which decides the grey of edges."""
        family = ImageFont.truetype(io.BytesIO(self._data), 16).getname()[0]
        return f"{family}-{_digest(self._data)}-freetype-{features.version('freetype2')}"

    def ink(self, text: str, size: float) -> Ink | None:
        """See :class:`Font`. A character that looks like the sign for missing ones is missing."""
        if size not in self._sizes:
            font = ImageFont.truetype(
                io.BytesIO(self._data), size, layout_engine=ImageFont.Layout.BASIC
            )
            self._sizes[size] = font, _drawn(font, "\uffff", size)
        font, missing = self._sizes[size]
        if any(_same(_drawn(font, character, size), missing) for character in text):
            return None
        return _drawn(font, text, size)


class BitmapFont:
    """GNU Unifont's ``.hex`` format: sixteen rows of eight or sixteen dots, scaled to size."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @cached_property
    def fingerprint(self) -> str:
        """The file's digest."""
        return f"Unifont-{_digest(self._data)}"

    @cached_property
    def _glyphs(self) -> dict[str, bytes]:
        lines = lzma.decompress(self._data).decode("ascii").splitlines()
        return {
            chr(int(code, 16)): bytes.fromhex(dots) for code, dots in (x.split(":") for x in lines)
        }

    def ink(self, text: str, size: float) -> Ink | None:
        """See :class:`Font`. Combining marks lie over their letter, as their dots are drawn."""
        if any(character not in self._glyphs for character in text):
            return None
        dots = np.zeros((_UNIFONT_ROWS, 16), dtype=np.uint8)
        columns = 8
        for character in text:
            rows = np.frombuffer(self._glyphs[character], np.uint8).reshape(_UNIFONT_ROWS, -1)
            bits = np.unpackbits(rows, axis=1)
            columns = max(columns, bits.shape[1])
            dots[:, : bits.shape[1]] |= bits
        scale = size / _UNIFONT_ROWS
        width, height = round(columns * scale), round(_UNIFONT_ROWS * scale)
        image = Image.fromarray(dots[:, :columns] * 255)
        grey = np.asarray(image.resize((width, height), Image.Resampling.BOX))
        return _cropped(grey, 0, round(_UNIFONT_BASELINE * scale), width)


@dataclass(frozen=True)
class Typeface:
    """Fonts in the order in which they are asked."""

    fonts: Sequence[Font]

    @property
    def fingerprint(self) -> str:
        """Names every font, in order."""
        return "+".join(font.fingerprint for font in self.fonts)

    def ink(self, text: str, size: float) -> Ink | None:
        """``text``, one character and its combining marks, by the first font that has all of it."""
        return next((ink for font in self.fonts if (ink := font.ink(text, size))), None)


@cache
def default_typeface() -> Typeface:
    """The bundled fonts; read once."""
    folder = resources.files("vist2_memory") / "assets" / "fonts"
    return Typeface(
        (
            OutlineFont((folder / "DejaVuSans.ttf").read_bytes()),
            BitmapFont((folder / "unifont.hex.xz").read_bytes()),
        )
    )


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _drawn(font: ImageFont.FreeTypeFont, text: str, size: float) -> Ink:
    """``text`` on a canvas with two ems of room around the pen."""
    room = int(2 * size) + 2
    advance = round(font.getlength(text))
    image = Image.new("L", (advance + 2 * room, 2 * room))
    ImageDraw.Draw(image).text((room, room), text, fill=255, font=font, anchor="ls")
    return _cropped(np.asarray(image), -room, room, advance)


def _cropped(pixels: Pixels, left: int, top: int, advance: int) -> Ink:
    """The ink of ``pixels``, whose upper left corner lies ``left`` and ``top`` off the pen."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return Ink(np.zeros((0, 0), np.uint8), 0, 0, advance)
    inked = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Ink(inked, left + int(columns[0]), top - int(rows[0]), advance)


def _same(one: Ink, other: Ink) -> bool:
    return one.advance == other.advance and np.array_equal(one.pixels, other.pixels)
