"""Text to chunks: exact, stable, never through a character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tokenizers import PROSE, small_tokenizer
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.text.chunking import Chunker, chunk_id
from vist2_memory.text.transcript import read, write_message

RENDERER = SketchRenderer(SketchGeometry(columns=36, max_lines=2))
"""A sketch of 72 cells: eight tokens of English always fit, ten emoji or CJK characters do not."""

WORDS = st.lists(st.sampled_from(PROSE.split()), max_size=120).map(" ".join)
CHARACTERS = st.characters(exclude_categories=["Cs"])
UNICODE = st.text(CHARACTERS | st.sampled_from("猫が好き🐈👩‍🚀é\u0301\ue000\n\t "), max_size=200)
TEXT = st.lists(WORDS | UNICODE, max_size=4).map("".join)


def chunker(tokens: int = 8) -> Chunker:
    return Chunker(small_tokenizer(), tokens, RENDERER.fits)


@given(TEXT, st.sampled_from([1, 2, 8, 16]))
def test_chunks_and_tail_join_to_the_exact_text(text: str, tokens: int) -> None:
    cutter = chunker(tokens)
    chunks = list(cutter.cut(text))
    joined = "".join(chunk.text for chunk in chunks)
    assert text.startswith(joined)
    assert cutter.count(text[len(joined) :]) < tokens
    assert all(text[chunk.start :].startswith(chunk.text) for chunk in chunks)
    assert "".join(chunk.text for chunk in cutter.cut_all(text)) == text


@given(TEXT)
def test_a_chunk_holds_exactly_the_tokens_it_says(text: str) -> None:
    """Eight, or fewer only where one more would not fit or would cut a character."""
    cutter = chunker()
    for chunk in cutter.cut(text):
        spans = small_tokenizer().spans(text[chunk.start :])
        assert spans[chunk.tokens - 1][1] == len(chunk.text)
        assert 1 <= chunk.tokens <= 8
        for more in range(chunk.tokens + 1, min(8, len(spans)) + 1):
            end = spans[more - 1][1]
            splits = more < len(spans) and spans[more][0] < end
            assert splits or not RENDERER.fits(text[chunk.start : chunk.start + end])


@given(st.text(st.sampled_from("猫🐈👩é\U0010ffff"), min_size=1, max_size=40))
def test_no_chunk_ends_inside_a_character_of_several_tokens(text: str) -> None:
    tokenizer = small_tokenizer()
    for tokens in (1, 2, 3, 5):
        for chunk in chunker(tokens).cut_all(text):
            alone = tokenizer.encode(chunk.text)
            assert b"".join(map(tokenizer.bytes_of, alone)) == chunk.text.encode()
            assert len(alone) == chunk.tokens


def test_a_character_of_more_tokens_than_a_chunk_is_taken_whole() -> None:
    chunks = chunker(2).cut_all("🐈🐈")
    assert [(chunk.text, chunk.tokens) for chunk in chunks] == [("🐈", 4), ("🐈", 4)]


@given(TEXT)
def test_every_chunk_fits_a_sketch(text: str) -> None:
    """With escapes counted: an emoji is one character and seven cells."""
    for chunk in chunker().cut_all(text):
        RENDERER.draw([chunk])  # raises where it does not fit


def test_a_full_sketch_ends_a_chunk_before_its_tokens_do() -> None:
    text = "\ue000" * 40  # in content: two tokens and two cells each
    content = write_message("user", text)
    tight = Chunker(small_tokenizer(), 64, lambda stretch: RENDERER.cells(stretch) <= 36)
    first = next(tight.cut(content))
    assert first.tokens == RENDERER.cells(first.text) == 36


@given(TEXT, TEXT)
def test_the_same_text_is_always_cut_the_same_way(text: str, before: str) -> None:
    """Wherever it stands: ids depend on nothing but the text of a chunk."""
    alone = chunker().cut_all(text)
    within = list(chunker().cut(before + text, start=len(before)))
    assert [c.id for c in within] == [c.id for c in alone[: len(within)]]
    assert all(c.id == chunk_id(c.text) for c in alone)


def test_the_id_of_a_chunk_is_the_one_that_stores_already_hold() -> None:
    assert chunk_id("My cat is called Miso.") == "b1811cc99ec9edc8dc9b8b7a5abadcf2"
    assert len({chunk_id(text) for text in ("a", "b", "a ", "A", "\ud800", "")}) == 6


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXT), max_size=4), TEXT)
def test_a_message_that_is_appended_never_moves_an_earlier_full_chunk(
    messages: list[tuple[str, str]], later: str
) -> None:
    text = "".join(write_message(role, content) for role, content in messages)  # type: ignore[arg-type]
    longer = text + write_message("user", later)
    before = list(chunker().cut(text))
    assert list(chunker().cut(longer))[: len(before)] == before


def test_a_word_longer_than_the_look_ahead_is_tokenized_as_a_whole_before_it_is_cut() -> None:
    word = "Lisbonharbour" * 60
    for start in (0, 1, 5, 6):
        end = small_tokenizer().spans(word[start:])[7][1]
        assert next(chunker().cut(word, start)).text == word[start : start + end]


def test_escaped_marks_come_whole_out_of_the_chunks() -> None:
    content = "x\ue001y" * 30
    chunks = chunker().cut_all(write_message("assistant", content))
    joined = "".join(chunk.text for chunk in chunks)
    assert len(chunks) > 5
    assert list(read(joined)) == [("assistant", content)]


def test_chunks_of_no_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="chunk_tokens=0 must be at least 1"):
        chunker(0)
