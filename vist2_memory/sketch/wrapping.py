"""Text to lines: where a page ends them, by the widths of what is drawn. Draws nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vist2_memory.sketch.glyph_columns import GlyphColumns, Typeset

Span = tuple[int, int]
"""The first glyph of a line, and the one after its last."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A text cut into lines.

    ``edges``, shape (glyphs + 1,), has the pixel at which each glyph begins, and the text's end, if
    all of it stood in one line.
    """

    typeset: Typeset
    glyphs: GlyphColumns
    edges: npt.NDArray[np.intp]
    spans: list[Span]

    def texts(self) -> Iterator[str]:
        """What each line says."""
        return (self.typeset.slice(first, last) for first, last in self.spans)


def wrap(text: str, glyphs: GlyphColumns, width: int) -> Lines:
    """``text`` cut into lines of at most ``width`` pixels: at newlines, else between words.

    A word longer than a line is broken. Spaces at such a cut are left out, all others are kept.
    """
    typeset = glyphs.typeset(text)
    numbers = typeset.glyphs
    edges = np.zeros(len(numbers) + 1, np.intp)
    np.cumsum(glyphs.advances.take(numbers), out=edges[1:])
    ends = np.append(np.flatnonzero(numbers == glyphs.newline), len(numbers))
    begins = np.append(0, ends[:-1] + 1)
    spans = list(zip(begins.tolist(), ends.tolist(), strict=True))
    if (edges[ends] - edges[begins] > width).any():
        paragraph = _Paragraph(
            edges.data,
            glyphs.breaks.take(numbers).tobytes(),
            glyphs.spaces.take(numbers).tobytes(),
            width,
        )
        spans = [line for span in spans for line in paragraph.lines(*span)]
    return Lines(typeset, glyphs, edges, spans)


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
