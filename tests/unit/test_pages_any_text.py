"""Whatever a text holds, a page of it is drawn or refused as documented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vist2_memory.sketch.page import PageGeometry, PageRenderer
from vist2_memory.text.transcript import RESERVED
from vist2_memory.types import Chunk

GEOMETRIES = (
    PageGeometry(width=112, height=140),
    PageGeometry(width=150, height=101, multiple=1, margin=3),
    PageGeometry(dpi=200, font_points=7, line_points=7, width=400, height=300, margin=20),
    PageGeometry(dpi=40, width=200, height=64, multiple=32, margin=2),
)
RENDERERS = [PageRenderer(geometry) for geometry in GEOMETRIES]
NEWLINES = ("\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029")
BLANKS = (" ", "\t", "\xa0", "\u2003", "\u3000", "\u200b", "\u200d", "\ufeff", "\xad")
MARKS = ("\u0301", "\u0327", "\u20dd", "\u0903", "\u05b8", "\u064b", "\ufe0f", "\U0001f3fd")
SIGNS = ("a", "W", "-", "猫", "ﷺ", "ש", "م", "नि", "👩\u200d🚀", "\U00020000", "\uff21", "\u202e")
WITHOUT_SIGNS = ("\0", "\x1b", "\x7f", "\ue010", "\U0010ffff", "\ufdd0", "\udc80", "\ud83d")
PIECES = (*NEWLINES, *BLANKS, *MARKS, *SIGNS, *WITHOUT_SIGNS, *RESERVED)
RUNS = st.builds(str.__mul__, st.sampled_from(PIECES), st.integers(1, 40))
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=30) | RUNS, max_size=30).map("".join)


def chunk(text: str) -> Chunk:
    return Chunk("a chunk", text, 1)


@given(st.sampled_from(RENDERERS), TEXTS)
def test_a_text_is_drawn_in_the_documented_size_or_refused_and_fits_says_which(
    renderer: PageRenderer, text: str
) -> None:
    geometry, lines = renderer.geometry, renderer.lines(text)
    assert renderer.fits(text) == (len(lines) <= geometry.lines_per_page)
    if not renderer.fits(text):
        with pytest.raises(ValueError, match=f"takes {len(lines)} lines.*cut it shorter"):
            renderer.draw([chunk(text)])
        return
    [page] = renderer.draw([chunk(text)])
    assert page.pixels.dtype == np.uint8
    assert page.pixels.shape == (geometry.page_height(len(lines)), geometry.width)
    assert page.pixels.shape[0] <= geometry.height
    beside = page.pixels[:, np.r_[: geometry.margin, -geometry.margin : 0]]
    above = page.pixels[: geometry.margin - geometry.overhang]
    assert (beside == 255).all()
    assert (above == 255).all()


@given(st.sampled_from(GEOMETRIES), st.lists(TEXTS.filter(lambda text: len(text) < 60), max_size=4))
@settings(max_examples=20)
def test_a_page_depends_on_its_text_alone(geometry: PageGeometry, texts: list[str]) -> None:
    used = RENDERERS[GEOMETRIES.index(geometry)]
    fitting = [chunk(text) for text in texts if used.fits(text)]
    together = used.draw(fitting)
    fresh = PageRenderer(geometry)
    for one, page in zip(reversed(fitting), reversed(together), strict=True):
        assert np.array_equal(fresh.draw([one])[0].pixels, page.pixels)
