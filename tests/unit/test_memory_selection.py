"""What is read to answer where not all has room: policies, pins, budgets, and what is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.memories import DOCUMENTS, TALK, engine_of, plain, tell
from vist2_memory import Finished, LeftOut, Message, Session, VisualMemory
from vist2_memory.errors import ContextOverflowError, InvalidInputError
from vist2_memory.memory.delivery import Room
from vist2_memory.selection import Candidate, mixed, recent
from vist2_memory.types import Context

DAYS = [("user", f"Day {n}: it rained, and I read a book by the fire.") for n in range(12)]


def long_session(memory: VisualMemory) -> Session:
    return tell(memory.session("a"), [*TALK, *DAYS])


def read_by(memory: VisualMemory) -> Context:
    return engine_of(memory).contexts[-1]


def text_of(context: Context) -> str:
    return "".join(chunk.text for chunk in context.sources)


def test_what_the_question_speaks_of_is_read_where_the_newest_would_not_have_it() -> None:
    memory = plain(max_visual_tokens=12)
    session = long_session(memory)
    session.ask("What is my cat called?")
    assert "Miso" not in text_of(read_by(memory))
    session.ask("What is my cat called?", selection="relevant")
    context = read_by(memory)
    assert "Miso" in text_of(context)
    assert [tokens.chunk_id for tokens in context.visual] == [c.id for c in context.sources]
    assert sum(map(len, context.visual)) <= 12
    starts = [chunk.start for chunk in context.sources]
    assert starts == sorted(starts)


def test_a_memory_has_a_policy_that_a_question_can_overrule() -> None:
    engine = plain(max_visual_tokens=12).engine
    memory = VisualMemory.open("memory://", model=engine, selection=mixed)
    session = long_session(memory)
    session.ask("What is my cat called?")
    assert "Miso" in text_of(read_by(memory))
    session.ask("What is my cat called?", selection=recent)
    assert "Miso" not in text_of(read_by(memory))
    with pytest.raises(InvalidInputError, match="selection='best'"):
        VisualMemory.open("memory://", model=engine, selection="best")


def test_all_that_asks_takes_the_same_options() -> None:
    memory = plain(max_visual_tokens=12)
    session = long_session(memory)
    pin = session.messages()[0].id
    session.ask("Which day?", pins=[pin])
    session.regenerate(pins=[pin])
    session.add("user", "Which one?")
    session.resume(pins=[pin])
    asked = [Message("user", "Which?", "q")]
    list(session.complete(asked, upto=10, pins=[pin]))
    contexts = engine_of(memory).contexts
    assert len(contexts) == 4
    assert all("Miso" in text_of(context) for context in contexts)
    for call in (session.ask, session.stream, session.complete):
        with pytest.raises(TypeError, match=r"'pin' is not known: .* pins"):
            call("Which?", pin=[pin])  # type: ignore[operator]
    assert session.messages()[-1].role == "assistant", "nothing was logged by the bad calls"


def test_messages_documents_and_chunks_are_pinned_by_their_ids() -> None:
    memory = plain(max_visual_tokens=30)
    session, books = long_session(memory), memory.collection("handbook")
    books.add_documents([*DOCUMENTS, "Rain falls on the harbour. " * 12])
    [first, *_] = books.documents()
    bees = next(chunk for chunk in session.chunks() if "bees" in chunk.text)
    message = session.messages()[2]
    end = session.ask("When?", include=[books], pins=[first.id, bees.id, message.id])
    read = read_by(memory)
    assert DOCUMENTS[0] in text_of(read)
    assert message.text in text_of(read)
    assert bees.text in text_of(read)
    assert sum(map(len, read.visual)) <= 30
    assert first.id not in end.left_out[0].ids
    assert message.id not in end.left_out[1].ids


def test_a_pin_in_the_tail_asks_for_nothing_and_one_that_is_nowhere_is_refused() -> None:
    memory = plain(max_visual_tokens=12)
    session = long_session(memory)
    last = session.add("user", "Bye")
    assert session.tail()
    session.ask("When?", pins=[last.id])
    with pytest.raises(InvalidInputError, match="pins='m-17' is not there"):
        session.ask("When?", pins=["m-17"], turn="t")
    with pytest.raises(InvalidInputError, match="give ids in a list"):
        session.ask("When?", pins="m-17")
    assert session.ask("When?", turn="t").text == "Yes.", "the question was left unanswered"


def test_pins_that_have_no_room_are_refused() -> None:
    memory = plain(max_visual_tokens=12)
    session = long_session(memory)
    with pytest.raises(ContextOverflowError, match=r"of the 12 .* pin less"):
        session.ask("When?", pins=[message.id for message in session.messages()])


def test_what_was_left_out_is_told_by_messages_and_documents() -> None:
    memory = plain(max_visual_tokens=24)
    session, books = long_session(memory), memory.collection("handbook")
    books.add_documents(DOCUMENTS)
    end = session.ask("When?", include=[books])
    documents, said = end.left_out
    assert (documents.kind, documents.name) == ("collection", "handbook")
    assert (said.kind, said.name) == ("session", "a")
    assert documents.ids[0] == books.documents()[0].id
    ids = [message.id for message in session.messages()]
    assert list(said.ids) == ids[: len(said.ids)]
    read = text_of(read_by(memory))
    for message in session.messages()[:-2]:
        whole = message.text in read + session.tail()
        assert (message.id in said.ids) == (not whole)
    assert documents.tokens + said.tokens == end.left_out_tokens > 0
    assert plain().session("b").ask("When?").left_out == ()


def test_a_budget_counts_text_and_visual_tokens_of_a_question_too() -> None:
    memory = plain()
    session = long_session(memory)
    for budget in (60, 40):
        session.ask("When?", budget=budget)
        context = read_by(memory)
        count = memory.engine.chunker.count
        text_tokens = count(context.pinned) + count(context.tail)
        assert 0 < sum(map(len, context.visual)) <= budget - text_tokens
    with pytest.raises(ContextOverflowError, match="the budget is 3"):
        session.ask("When?", budget=3)
    for bad in (0, -1, 2.5, True):
        with pytest.raises(InvalidInputError, match="budget="):
            session.ask("When?", budget=bad)  # type: ignore[arg-type]


def test_a_policy_of_the_users_own_sees_candidates_with_their_sources() -> None:
    memory = plain(max_visual_tokens=12)
    session, books = long_session(memory), memory.collection("handbook")
    books.add_documents(DOCUMENTS)
    seen: list[Candidate] = []

    def first(candidates: Sequence[Candidate], budget: int, question: str) -> list[int]:
        seen.extend(candidates)
        assert (budget, question) == (12, "When?")
        return [0]

    session.ask("When?", include=[books], selection=first)
    assert read_by(memory).sources == (books.chunks()[0],)
    shelf = len(books.chunks())
    assert [one.chunk for one in seen[:shelf]] == books.chunks()
    assert [one.chunk for one in seen[shelf:]] == session.chunks()[: len(seen) - shelf]
    assert {one.source for one in seen} == {books.scope, session.scope}
    assert {one.document for one in seen} == {"", *(d.id for d in books.documents())}


def test_an_answer_that_a_policy_spoilt_leaves_the_question_to_be_asked_again() -> None:
    memory = plain(max_visual_tokens=12)
    session = long_session(memory)

    def greedy(candidates: Sequence[Candidate], budget: int, question: str) -> range:
        return range(len(candidates))

    with pytest.raises(InvalidInputError, match="greedy kept chunks that cost"):
        session.ask("When?", selection=greedy, turn="t")
    assert isinstance(session.ask("When?", turn="t"), Finished)
    assert [m.text for m in session.messages() if m.turn == "t"] == ["When?", "Yes."]


def test_pages_for_a_hosted_model_are_chosen_the_same_way() -> None:
    with VisualMemory.open("memory://", model="pages:openai") as memory:
        session, books = memory.session("a"), memory.collection("handbook")
        session.add("user", "My cat is called Miso. " + "We talked of the weather. " * 300)
        first = session.messages()[0].id
        for day in range(3):
            session.add("user", f"Day {day}. " + "It rained, and I read by the fire. " * 300)
        books.add_documents(["The blue valve is behind the boiler. " * 300])
        session.add("user", "What is my cat called?")
        room = Room(pages=2)
        newest = session.deliver(include=[books], room=room)
        chosen = session.deliver(include=[books], room=room, selection="relevant")
        pinned = session.deliver(room=Room(pages=3), pins=[first])
        cat = session.chunks()[0]
        pages = [[page.chunk_id for page in d.pages] for d in (newest, chosen, pinned)]
    assert cat.id not in pages[0]
    assert cat.id in pages[1]
    assert cat.id in pages[2]
    assert [len(ids) for ids in pages[:2]] == [2, 2]
    assert isinstance(chosen.left_out[0], LeftOut)
    assert sum(part.tokens for part in chosen.left_out) == chosen.left_out_tokens


def test_an_answer_tells_what_became_of_each_chunk() -> None:
    memory = plain(max_visual_tokens=12)
    session = long_session(memory)
    books = memory.collection("books")
    books.add_documents(DOCUMENTS)
    pin = session.messages()[0].id
    end = session.ask("What is my cat called?", include=[books], pins=[pin])
    read = read_by(memory)
    assert [use.chunk_id for use in end.chunks if use.read] == [c.id for c in read.sources]
    assert sum(use.visual_tokens for use in end.chunks if use.read) == sum(map(len, read.visual))
    assert sum(use.tokens for use in end.chunks if not use.read) == end.left_out_tokens > 0
    assert {(use.kind, use.name) for use in end.chunks} == {
        ("collection", "books"),
        ("session", "a"),
    }
    assert {use.read for use in end.chunks if use.pinned} == {True}
