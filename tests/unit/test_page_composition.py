"""Pages are what their glyphs make them, in every thread, however many were seen before."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vist2_memory.sketch import glyph_columns
from vist2_memory.sketch.glyph_columns import GlyphColumns
from vist2_memory.sketch.page import PageGeometry, PageRenderer
from vist2_memory.sketch.typeface import Ink, Pixels, Typeface, default_typeface
from vist2_memory.types import Chunk

GEOMETRY = PageGeometry(width=224, height=224)
LARGE = PageGeometry(dpi=120, width=420, height=420, margin=11)  # lines of 17, columns of 27
TEXTS = st.text(
    st.characters(exclude_categories=["Co"]) | st.sampled_from("abc gjÅ|  \n\t猫🐈é\u0301-"),
    max_size=200,
)
SCRIPTS = "Übergröße Žluťoučký ώρα їжак عربية हिन्दी 狐狸 カタカナ 다람쥐 ┌─┬┐ ∞∑√∫ 😀🐈"


def drawn(text: str, renderer: PageRenderer) -> Pixels:
    return renderer.draw([Chunk("", text, 0)])[0].pixels


def glyph_by_glyph(text: str, renderer: PageRenderer) -> Pixels:
    """The page of ``text``, each glyph put in its place by itself, the darker pixel on top."""
    geometry = renderer.geometry
    glyphs = GlyphColumns(renderer.font, geometry)
    lines = renderer.lines(text)
    paper = np.full((geometry.page_height(len(lines)), geometry.width), 255, np.uint8)
    for number, line in enumerate(lines):
        top = geometry.margin + number * geometry.line_height - geometry.overhang
        left = geometry.margin
        for glyph in glyphs.typeset(line).glyphs:
            edges = np.array([0, glyphs.advances[glyph]])
            ink = glyphs.side_by_side(np.array([glyph]), edges).T
            there = paper[top : top + len(ink), left : left + ink.shape[1]]
            np.minimum(there, ink[: len(there)], out=there)
            left += ink.shape[1]
    return paper


@pytest.mark.parametrize("renderer", [PageRenderer(GEOMETRY), PageRenderer(LARGE)])
@given(text=TEXTS)
def test_a_page_shows_each_glyph_in_its_place(renderer: PageRenderer, text: str) -> None:
    if renderer.fits(text):
        assert np.array_equal(drawn(text, renderer), glyph_by_glyph(text, renderer))


def test_pages_drawn_together_are_those_drawn_alone() -> None:
    renderer = PageRenderer(PageGeometry())
    texts = ["", "abc\n" * 40, SCRIPTS * 20, "gj|Å\n" * 83]
    pages = renderer.draw([Chunk(str(i), text, 0) for i, text in enumerate(texts)])
    assert [page.chunk_id for page in pages] == ["0", "1", "2", "3"]
    for text, page in zip(texts, pages, strict=True):
        assert np.array_equal(page.pixels, glyph_by_glyph(text, renderer))
    assert renderer.draw([]) == []


class _Slow:
    """A font that lets other threads run while it draws."""

    fingerprint = "slow"

    def __init__(self) -> None:
        self.hurried = True

    def ink(self, text: str, size: float) -> Ink | None:
        if not self.hurried:
            time.sleep(0.001)
        return default_typeface().ink(text, size)


def test_threads_that_meet_new_characters_at_once_draw_the_same() -> None:
    font = _Slow()
    renderer = PageRenderer(GEOMETRY, Typeface((font,)))
    font.hurried = False
    texts = [SCRIPTS[i:] + SCRIPTS[:i] for i in range(0, 24, 6)]
    ready = threading.Barrier(len(texts))

    def draw(text: str) -> Pixels:
        ready.wait()
        return drawn(text, renderer)

    with ThreadPoolExecutor(len(texts)) as pool:
        pages = list(pool.map(draw, texts))
    alone = PageRenderer(GEOMETRY)
    for text, page in zip(texts, pages, strict=True):
        assert np.array_equal(page, drawn(text, alone))


def test_a_renderer_that_has_seen_too_many_glyphs_forgets_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(glyph_columns, "_MOST_GLYPHS", 100)
    drew: list[str] = []
    typeface = default_typeface()

    class Watched:
        fingerprint = "watched"

        def ink(self, text: str, size: float) -> Ink | None:
            drew.append(text)
            return typeface.ink(text, size)

    renderer = PageRenderer(GEOMETRY, Typeface((Watched(),)))
    first = drawn(SCRIPTS, renderer)
    assert np.array_equal(drawn(SCRIPTS, renderer), first)
    assert drew.count("狐") == 2
    monkeypatch.setattr(glyph_columns, "_MOST_GLYPHS", 1000)
    drawn(SCRIPTS, renderer)
    assert drew.count("狐") == 2
