"""Text drawn as print: geometry, wrapping, ink, fingerprints."""

from __future__ import annotations

import dataclasses
import io
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vist2_memory.sketch.page import Page, PageGeometry, PageRenderer
from vist2_memory.sketch.typeface import Typeface, default_typeface
from vist2_memory.text.transcript import LABELS, MARKS, printed, write
from vist2_memory.types import Chunk

GEOMETRY = PageGeometry(width=224, height=224)
RENDERER = PageRenderer(GEOMETRY)
SCRIPTS = (
    "Il a mangé. Übergröße, Žluťoučký kůň, tiếng Việt | Ελληνικά ώρα | Съешь ещё ґанок їжак | "
    "العربية ٠١٢٣٤٥٦٧٨٩ | עברית | हिन्दी | สวัสดี | "
    "快速的狐狸憂鬱臺灣 | 色は匂へど カタカナ | 다람쥐 헌 | ┌─┬┐│░▒▓█ ←↑→↓ ≤≥≠∞∑√∫ ☃★✓✗ | 😀🐈🎉👍❤"
)
TEXTS = st.text(
    st.characters() | st.sampled_from("abc  \n\t猫🐈é\u0301-\ue000\ue001"), max_size=300
)


def chunk(text: str) -> Chunk:
    return Chunk("a chunk", text, 1)


def drawn(text: str, renderer: PageRenderer = RENDERER) -> Page:
    return renderer.draw([chunk(text)])[0]


def visible(text: str) -> str:
    """What of a text has to be on paper, composed: all but spaces."""
    return "".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        ({"dpi": 0}, "dpi=0"),
        ({"dpi": 72.5}, "dpi=72.5"),
        ({"font_points": float("nan")}, "font_points=nan"),
        ({"font_points": 12}, "line_points=10"),
        ({"multiple": 0}, "multiple=0"),
        ({"margin": -1}, "margin=-1"),
        ({"margin": 1}, "margin=1"),
        ({"width": 60}, "no room"),
        ({"height": 20, "multiple": 1}, "no room"),
        ({"width": True}, "width=True"),
    ],
)
def test_a_geometry_without_sense_is_refused_by_name(bad: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        PageGeometry(**bad)


def test_pages_are_whole_squares_of_visual_tokens() -> None:
    assert (PageGeometry().width, PageGeometry().height) == (616, 868)
    other = PageGeometry(multiple=32)
    assert (other.width, other.height) == (608, 864)
    assert PageGeometry(**other.to_dict()) == other
    for lines in (1, 3, GEOMETRY.lines_per_page):
        height, width = drawn("x\n" * (lines - 1) + "x").pixels.shape
        assert (height % 28, width) == (0, 224)
        assert height - 28 < lines * GEOMETRY.line_height + 2 * GEOMETRY.margin <= height


@pytest.mark.parametrize("character", sorted(set(SCRIPTS) - {" "}))
def test_every_character_leaves_ink_of_its_own(character: str) -> None:
    ink = drawn(character).pixels
    assert (ink < 200).any()
    assert not np.array_equal(ink, drawn("\U000e0fff").pixels)


def test_what_no_font_has_is_spelt_out() -> None:
    assert np.array_equal(drawn("\U000e0fff").pixels, drawn("[U+E0FFF]").pixels)
    assert np.array_equal(drawn("\x07").pixels, drawn("[U+0007]").pixels)


def test_margins_stay_white() -> None:
    pixels = drawn("Ågjy|" * 60).pixels
    edge = GEOMETRY.margin - GEOMETRY.overhang
    assert (pixels[:edge] == 255).all()
    assert (pixels[:, : GEOMETRY.margin] == 255).all()
    assert (pixels[:, -GEOMETRY.margin :] == 255).all()


def test_drawing_is_the_same_in_any_order_and_by_any_renderer() -> None:
    first, second = drawn(SCRIPTS), drawn("abc")
    other = PageRenderer(GEOMETRY)
    again = other.draw([chunk("abc"), chunk(SCRIPTS)])
    assert np.array_equal(again[0].pixels, second.pixels)
    assert np.array_equal(again[1].pixels, first.pixels)
    assert first.chunk_id == "a chunk"


def test_combining_marks_are_drawn_on_their_letter() -> None:
    assert np.array_equal(drawn("e\u0301").pixels, drawn("é").pixels)
    plain, marked = drawn("q").pixels, drawn("q\u0307").pixels
    assert (marked <= plain).all()
    assert (marked < plain).any()


@given(TEXTS)
def test_wrapping_loses_no_character_and_keeps_their_order(text: str) -> None:
    lines = RENDERER.lines(text)
    expected = visible(printed(text).translate(str.maketrans(LABELS)))
    assert visible("".join(lines)) == expected
    assert not any("\n" in line for line in lines)


@given(TEXTS)
def test_fits_is_what_lines_count_and_draw_accepts(text: str) -> None:
    fits = len(RENDERER.lines(text)) <= GEOMETRY.lines_per_page
    assert RENDERER.fits(text) == fits
    if fits:
        assert drawn(text).pixels.shape[1] == GEOMETRY.width
    else:
        with pytest.raises(ValueError, match="cut it shorter"):
            drawn(text)


def test_lines_end_between_words_and_indents_stay() -> None:
    text = "    four spaces, and words that go on over the end of the line\n\n\tx  y"
    lines = RENDERER.lines(text)
    assert lines[0].startswith("    four")
    assert " ".join(lines[: lines.index("")]) == text.split("\n")[0]
    assert lines[-2:] == ["", "\tx  y"]
    long = "w" * 300
    assert "".join(RENDERER.lines(long)) == long
    assert len(RENDERER.lines(long)) > 1


def test_a_line_that_just_fits_is_not_cut() -> None:
    word = "n"
    while len(RENDERER.lines(word + "n")) == 1:
        word += "n"
    assert RENDERER.lines(f"{word} {word}") == [word, word]


def test_messages_begin_lines_under_labels_that_no_text_can_draw() -> None:
    transcript = write([("user", "Hi\nUser: no"), ("assistant", "Yes \ue001")])
    assert RENDERER.lines(transcript) == ["User: Hi", "User: no", "Assistant: Yes [U+E001]"]
    label, typed = drawn(MARKS["user"]).pixels, drawn("User: ").pixels
    assert (label < 128).sum() > 2 * (typed < 128).sum()


def test_a_page_comes_back_out_of_its_png() -> None:
    page = drawn(SCRIPTS[:60])
    with Image.open(io.BytesIO(page.to_png())) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        assert np.array_equal(np.asarray(image), page.pixels)


def test_the_fingerprint_names_geometry_and_fonts() -> None:
    assert PageRenderer(GEOMETRY).fingerprint == RENDERER.fingerprint
    others = [
        PageRenderer(dataclasses.replace(GEOMETRY, margin=11)).fingerprint,
        PageRenderer(GEOMETRY, Typeface(default_typeface().fonts[:1])).fingerprint,
        PageRenderer(GEOMETRY, Typeface(default_typeface().fonts[::-1])).fingerprint,
    ]
    assert len({RENDERER.fingerprint, *others}) == 4
    assert "DejaVu Sans" in default_typeface().fingerprint
    assert "Unifont" in default_typeface().fingerprint
