"""Parts of the memory page: marks of a readback, pages of a list, figures as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.plain import PlainEngine
from vist2_memory import Usage
from vist2_memory.engine.readback import read_back
from vist2_memory.memory import VisualMemory
from vist2_memory.serving.answers import CHUNKS_KEPT, LastAnswers, Reading
from vist2_memory.serving.page.marks import compared
from vist2_memory.serving.page.paging import paged
from vist2_memory.serving.page.rendering import ago, number, percent, seconds, url
from vist2_memory.store import InMemoryStore
from vist2_memory.text.transcript import MARKS, READ
from vist2_memory.types import ChunkUse, Finished

USER, ASSISTANT = MARKS["user"], MARKS["assistant"]
WORDS = st.text(st.sampled_from("abc \n"), max_size=30)


@given(WORDS, WORDS)
def test_the_pieces_of_a_comparison_are_both_texts(text: str, reading: str) -> None:
    found = compared(text, reading)
    assert "".join(p.text for p in found.pieces if p.kind != "misread") == text
    assert "".join(p.text for p in found.pieces if p.kind != "missed") == reading
    assert 0 <= found.accuracy <= 1
    assert (found.accuracy == 1) == (text == reading or not text)


def test_marks_of_roles_begin_lines_and_count_for_nothing() -> None:
    text = f"{USER}My cat.{ASSISTANT}Noted."
    found = compared(text, f"{USER}My bat.{ASSISTANT}Noted.")
    assert (found.wrong, found.characters) == (1, len("My cat.Noted."))
    assert "".join(p.text for p in found.pieces if p.kind != "misread") == "\nMy cat.\nNoted."


def test_a_readback_is_taken_up_again_behind_each_mark() -> None:
    engine = PlainEngine(["cat.", "Noted, ", "and"])
    with VisualMemory.open(InMemoryStore(), model=engine, outbox=None) as memory:
        session = memory.session("s")
        session.add("user", "My cat is called Miso and she likes the red cushion by the fire.")
        [chunk, *_] = session.chunks()
        [visual] = engine.encode([chunk])
    assert chunk.text[0] == USER
    assert read_back(engine, chunk, visual, "acme") == USER + "cat."
    [context] = engine.contexts
    assert (context.pinned, context.visual, context.tail) == ("", (visual,), READ + USER)
    assert context.cache_salt == "acme"
    middle = type(chunk)("x", f"the fire.{ASSISTANT}Noted.{USER}And", 8)
    engine.answers.extend(["a", "b", "c"])
    engine.answers.popleft(), engine.answers.popleft()
    assert read_back(engine, middle, visual) == f"a{ASSISTANT}b{USER}c"
    tails = [context.tail for context in engine.contexts[1:]]
    assert tails == [READ, f"{READ}a{ASSISTANT}", f"{READ}a{ASSISTANT}b{USER}"]


@pytest.mark.parametrize(
    ("asked", "rows", "number_"),
    [(None, (4,), 3), (1, (0, 1), 1), (2, (2, 3), 2), (9, (4,), 3)],
)
def test_a_page_that_is_not_there_is_the_nearest(
    asked: int | None, rows: tuple[int, ...], number_: int
) -> None:
    found = paged(range(5), asked, 2)
    assert (found.rows, found.number, found.of, found.total) == (rows, number_, 3, 5)


def test_an_empty_list_has_one_page() -> None:
    assert (paged([], None, 2).rows, paged([], 3, 2).of) == ((), 1)


def test_figures_read_as_people_write_them() -> None:
    assert number(1234567) == "1\u202f234\u202f567"
    assert [percent(share) for share in (0, 0.994, 0.999, 1)] == [
        f"{n}\u202f%" for n in (0, 99, 99, 100)
    ]
    assert percent(0.99999, 1) == "99.9\u202f%"
    assert [seconds(t) for t in (0.0123, 1.5)] == ["12\u202fms", "1.50\u202fs"]
    assert [ago(0, now) for now in (3, 90, 7200, 3 * 86400)] == [
        "just now",
        "1 minute ago",
        "2 hours ago",
        "3 days ago",
    ]
    assert url("/page/session", id="a/b?&", page=None) == "/page/session?id=a%2Fb%3F%26"


def test_what_was_answered_once_more_is_not_noted_and_the_oldest_go() -> None:
    answers = LastAnswers()
    use = ChunkUse("session", "s", "", "c", 8, 1, False, True)
    many = Finished("x", "stop", Usage(), chunks=(use,) * (CHUNKS_KEPT // 2))
    for name in ("a", "b", "b", "c"):
        answers.note(name, "t", many, Reading())
    assert [answers.of(name) is None for name in "abc"] == [True, False, False]
    noted = answers.of("c")
    assert noted is not None
    assert noted.end.text == ""
    again = Finished("x", "stop", degraded=("answered from the log",))
    answers.note("c", "t", again, Reading())
    assert answers.of("c") == noted
    answers.forget("c")
    answers.forget("c")
    answers.note("a", "t", many, Reading())
    assert answers.of("b") is not None
