"""Text drawn: the atlas, the geometry, the renderer."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vist2_memory.sketch.font import GlyphAtlas, default_atlas
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.renderer import SketchRenderer, patchify
from vist2_memory.text.transcript import ESCAPE, MARKS
from vist2_memory.types import Chunk

Pixels = npt.NDArray[np.uint8]
GEOMETRY = SketchGeometry(columns=36, max_lines=6, cells_per_patch=3, patches_per_strip=2)
RENDERER = SketchRenderer(GEOMETRY)
ATLAS = default_atlas()
ANYTHING = st.text(st.characters() | st.sampled_from("🐈猫\0\x1b\ud800\udfff\ue000\ue008\n\t~"))
SHORT = st.text(st.characters() | st.sampled_from("abc 🐈"), max_size=24)


def chunk(text: str) -> Chunk:
    return Chunk("id of " + text[:8], text, 1)


def test_no_two_glyphs_look_alike() -> None:
    seen: dict[bytes, int] = {}
    for number, pixels in enumerate(ATLAS.pixels):
        twin = seen.setdefault(pixels.tobytes(), number)
        assert twin == number, f"glyphs {twin} and {number} have the same pixels"


def test_the_escape_marks_are_glyphs_that_no_character_has() -> None:
    assert not np.isin([ATLAS.open_escape, ATLAS.close_escape], ATLAS.index).any()


@given(ANYTHING)
def test_what_was_drawn_can_be_read_back_whatever_it_was(text: str) -> None:
    assert ATLAS.text(ATLAS.glyphs(text)) == text


@pytest.mark.parametrize("character", ["\0", "🐈", "猫", "\ud800", "\U0010ffff", "\ue008"])
def test_a_character_without_a_glyph_is_drawn_as_its_code_point(character: str) -> None:
    glyphs = ATLAS.glyphs(character).tolist()
    assert not ATLAS.has(character)
    assert glyphs[0] == ATLAS.open_escape
    assert glyphs[-1] == ATLAS.close_escape
    assert ATLAS.text(glyphs[1:-1]) == f"{ord(character):x}"


def test_the_atlas_has_ascii_the_transcript_marks_and_western_letters() -> None:
    printable = map(chr, range(0x20, 0x7F))
    wanted = [*printable, *MARKS.values(), ESCAPE, *"\n\täöüßéèêçñåøæœÀÉÜŠžłđ“”’–—…€£"]
    assert [c for c in wanted if not ATLAS.has(c)] == []


@given(st.integers(0, GEOMETRY.max_cells))
def test_a_sketch_has_the_rows_its_text_needs_and_no_more(length: int) -> None:
    [sketch] = RENDERER.draw([chunk("x" * length)])
    rows = sketch.pixels.shape[0] // GEOMETRY.cell_height
    assert sketch.pixels.shape[1] == GEOMETRY.columns * GEOMETRY.cell_width
    assert rows * GEOMETRY.columns >= length
    assert rows == 1 or (rows - 1) * GEOMETRY.columns < length
    assert sketch.visual_tokens * GEOMETRY.cells_per_strip - length in range(6)


@given(st.lists(SHORT, max_size=5))
def test_a_batch_is_drawn_as_each_alone(texts: list[str]) -> None:
    together = RENDERER.draw([chunk(text) for text in texts])
    for text, sketch in zip(texts, together, strict=True):
        [alone] = RENDERER.draw([chunk(text)])
        assert np.array_equal(sketch.pixels, alone.pixels)
        assert (sketch.visual_tokens, sketch.chunk_id) == (alone.visual_tokens, alone.chunk_id)


def cell_by_cell(text: str, atlas: GlyphAtlas, geometry: SketchGeometry) -> Pixels:
    """What a sketch of ``text`` shows, each cell put in its place by itself."""
    glyphs = atlas.glyphs(text).tolist()
    high, wide = geometry.cell_height, geometry.cell_width
    pixels = np.zeros((geometry.lines(len(glyphs)) * high, geometry.columns * wide), np.uint8)
    for cell, glyph in enumerate(glyphs):
        line, column = divmod(cell, geometry.columns)
        there = pixels[line * high : (line + 1) * high, column * wide : (column + 1) * wide]
        there[:] = atlas.pixels[glyph]
    return pixels


@given(st.lists(st.text(st.characters() | st.sampled_from("abc \n🐈"), max_size=30), max_size=5))
def test_every_cell_holds_its_glyph_and_the_rest_is_paper(texts: list[str]) -> None:
    for text, sketch in zip(texts, RENDERER.draw([chunk(text) for text in texts]), strict=True):
        assert np.array_equal(sketch.pixels, cell_by_cell(text, ATLAS, GEOMETRY))


@pytest.mark.parametrize(("wide", "high"), [(3, 8), (4, 8), (4, 5), (8, 16)])
def test_cells_of_any_size_and_batches_of_many_lines_are_drawn(wide: int, high: int) -> None:
    stretched = ATLAS.pixels.repeat(2, axis=1).repeat(2, axis=2)[:, :high, :wide]
    atlas = dataclasses.replace(ATLAS, pixels=stretched)
    geometry = dataclasses.replace(GEOMETRY, cell_width=wide, cell_height=high)
    texts = ["", *("Miso is a cat; 🐈 is not. " * times for times in range(7))] * 9
    sketches = SketchRenderer(geometry, atlas).draw([chunk(text) for text in texts])
    assert sum(len(sketch.pixels) // high for sketch in sketches) > 128
    for text, sketch in zip(texts, sketches, strict=True):
        assert np.array_equal(sketch.pixels, cell_by_cell(text, atlas, geometry))


def test_a_text_of_one_cell_too_many_is_refused_before_anything_is_drawn() -> None:
    full = "x" * (GEOMETRY.max_cells - 9) + "\U0001f408" + "yy"  # seven cells for the cat
    assert RENDERER.cells(full) == GEOMETRY.max_cells
    assert RENDERER.fits(full)
    assert not RENDERER.fits(full + "z")
    with pytest.raises(ValueError, match="takes 217 cells, a sketch holds 216: cut it shorter"):
        RENDERER.draw([chunk("fine"), chunk(full + "z")])


@given(st.text(st.sampled_from("abcXYZ .,\n🐈"), min_size=1, max_size=25))
def test_patch_p_holds_the_pixels_of_its_own_cells(text: str) -> None:
    [sketch] = RENDERER.draw([chunk(text)])
    patches = patchify(sketch, GEOMETRY)
    glyphs = ATLAS.glyphs(text).tolist()
    glyphs += [0] * (sketch.visual_tokens * GEOMETRY.cells_per_strip - len(glyphs))
    per = GEOMETRY.cells_per_patch
    assert patches.shape == (len(glyphs) // per, GEOMETRY.patch_size)
    for number, patch in enumerate(patches):
        cells = [ATLAS.pixels[glyph] for glyph in glyphs[number * per : (number + 1) * per]]
        assert np.array_equal(patch.reshape(8, 4 * per), np.concatenate(cells, axis=1))


@pytest.mark.parametrize("scale", [1, 3])
def test_a_png_shows_ink_exactly_where_the_pixels_are(scale: int) -> None:
    [sketch] = RENDERER.draw([chunk("My cat is called Miso. 🐈 " * 3)])
    with Image.open(io.BytesIO(sketch.to_png(scale))) as image:
        shown = np.asarray(image.convert("L"))
    assert shown.shape == tuple(side * scale for side in sketch.pixels.shape)
    assert set(np.unique(shown)) == {0, 255}
    assert np.array_equal(shown[::scale, ::scale] == 0, sketch.pixels == 255)
    assert np.array_equal(shown[scale - 1 :: scale, scale - 1 :: scale] == 0, sketch.pixels == 255)


def test_a_png_of_no_size_is_refused() -> None:
    [sketch] = RENDERER.draw([chunk("a")])
    with pytest.raises(ValueError, match="scale=0 must be at least 1"):
        sketch.to_png(0)


def test_the_fingerprint_of_the_atlas_tells_a_moved_glyph() -> None:
    index = ATLAS.index.copy()
    index[[ord("a"), ord("b")]] = index[[ord("b"), ord("a")]]
    assert type(ATLAS)(ATLAS.pixels, index, 1, 2).fingerprint != ATLAS.fingerprint


@pytest.mark.parametrize(
    ("measure", "value", "told"),
    [
        ("columns", 35, "columns=35 must be a multiple of the strip"),
        ("max_lines", 0, "max_lines=0 must be a whole number"),
        ("cells_per_patch", 1.5, "cells_per_patch=1.5 must be a whole number"),
    ],
)
def test_a_geometry_that_cannot_be_is_refused(measure: str, value: float, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SketchGeometry(**{**GEOMETRY.to_dict(), measure: value})


def test_an_atlas_of_another_cell_size_is_refused() -> None:
    with pytest.raises(ValueError, match="cells of 4 x 8 pixels, the geometry asks for 8 x 16"):
        SketchRenderer(SketchGeometry(cell_width=8, cell_height=16))
