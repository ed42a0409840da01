"""Editing, removing, taking back: what the log, the cuts and the tensors are then."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.support.memories import TALK, engine_of, plain, said, tell
from tests.support.revised import check_whole, ids, tensors
from tests.support.tokenizers import PROSE
from vist2_memory.errors import (
    ConflictError,
    ContextOverflowError,
    InvalidInputError,
    InvalidMessageError,
    StoreUnavailableError,
)
from vist2_memory.store import InMemoryStore, Scope
from vist2_memory.text.transcript import write
from vist2_memory.types import Finished, Message, TextDelta

pytest_plugins = ("tests.support.fixtures",)


# Edit and remove


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("text", ["Short.", "A much longer text than there was, " * 5])
def test_an_edit_cuts_anew_from_there_on_and_nothing_before(place: int, text: str) -> None:
    memory = plain()
    session = tell(memory.session("a"))
    before, chunks = session.messages(), session.chunks()
    engine_of(memory).encoded.clear()
    edited = session.edit(before[place].id, text)
    assert edited == session.messages()[place]
    assert replace(edited, text=before[place].text, cuts=before[place].cuts) == before[place]
    assert session.messages()[:place] == before[:place]
    assert [m.text for m in session.messages()[place + 1 :]] == [
        m.text for m in before[place + 1 :]
    ]
    untouched = len(write([(m.role, m.text) for m in before[:place]]))
    after = check_whole(memory, session)
    assert tensors(memory, session) == {chunk.id for chunk in after}
    kept = [c for c in chunks if c.start + len(c.text) <= untouched and c in after]
    assert kept == [c for c in after if c.start + len(c.text) <= untouched]
    assert {c.id for c in kept} & {c.id for c in after} == {c.id for c in kept}
    assert sorted(engine_of(memory).encoded) == sorted(
        {c.text for c in after} - {c.text for c in chunks}
    )


def test_removing_a_message_leaves_the_others() -> None:
    memory = plain()
    session = tell(memory.session("a"))
    first, second, third = session.messages()
    assert session.remove(second.id) == second
    assert [m.id for m in session.messages()] == [first.id, third.id]
    check_whole(memory, session)
    session.remove(first.id)
    session.remove(third.id)
    assert (session.messages(), session.chunks(), session.tail()) == ([], [], "")
    assert tensors(memory, session) == set()
    tell(session)
    check_whole(memory, session)


def test_a_system_prompt_is_edited_without_cutting_anything() -> None:
    memory = plain()
    session = memory.session("a")
    session.add("system", "Be kind.", id="s")
    tell(session)
    messages = session.messages()
    engine_of(memory).encoded.clear()
    session.edit("s", "Be brief.")
    assert session.messages()[1:] == messages[1:]
    session.ask("Who?")
    assert engine_of(memory).contexts[-1].pinned == write([("system", "Be brief.")])
    with pytest.raises(ContextOverflowError):
        session.edit("s", "Be kind. " * 200)
    assert session.remove("s").text == "Be brief."
    assert [m.id for m in session.messages()][:3] == [m.id for m in messages[1:]]
    check_whole(memory, session)


def test_cuts_that_others_made_elsewhere_outlast_the_edit_of_a_system_prompt() -> None:
    memory = plain()
    session = memory.session("a")
    layout = memory.engine.spec.layout
    odd = Message("user", "We leave for Lisbon.", id="m", cuts=(5, 9), layout=layout)
    memory.store.append(session.scope, [Message("system", "Be kind.", id="s"), odd])
    session.edit("s", "Be brief.")
    assert session.messages()[1] == odd
    assert [len(chunk.text) for chunk in session.chunks()] == [5, 4]


@pytest.mark.parametrize("text", ["", " ", "\0", "\ud800", "x" * 1_000_001])
def test_a_text_that_cannot_be_kept_changes_nothing(text: str) -> None:
    session = tell(plain().session("a"))
    before = session.messages()
    with pytest.raises(InvalidMessageError):
        session.edit(before[0].id, text)
    assert session.messages() == before


def test_an_unknown_id_is_named_and_nothing_changes() -> None:
    memory = plain()
    session = tell(memory.session("a"))
    before, revision = session.messages(), memory.store.snapshot(session.scope).revision
    for call in (
        lambda: session.edit("nobody", "Text."),
        lambda: session.remove("nobody"),
        lambda: session.branch("b", at="nobody"),
    ):
        with pytest.raises(InvalidInputError, match=r"session 'a' has no message 'nobody'"):
            call()
    session.edit(before[0].id, before[0].text)  # the same text: no rewrite
    assert memory.store.snapshot(session.scope).revision == revision == 0
    assert (session.messages(), memory.sessions()[0].scope.name) == (before, "a")


def test_what_was_removed_is_not_removed_while_its_tensors_cannot_be() -> None:
    class Stuck(InMemoryStore):
        def drop_many(self, *_: object) -> int:
            raise StoreUnavailableError("out of order")

    session = tell(plain(store=Stuck()).session("a"))
    before = session.messages()
    with pytest.raises(StoreUnavailableError):
        session.remove(before[0].id)
    assert session.messages() == before


# Undo


def test_undo_takes_back_question_and_answer() -> None:
    memory = plain("Miso.", "Bees.", "Bees again.")
    session = memory.session("a")
    session.add("system", "Be kind.", id="s")
    session.ask("What is my cat called? " + PROSE, turn="t1")
    session.ask("Who keeps bees? " + PROSE, turn="t2")
    session.add("system", "Be brief.", id="s2")
    removed = session.undo()
    assert [m.id for m in removed] == ["t2:q", "t2:a"]
    assert ids(session) == ["s", "t1:q", "t1:a", "s2"]
    check_whole(memory, session)
    assert session.ask("Who keeps bees? " + PROSE, turn="t2").text == "Bees again."
    assert session.ask("Who keeps bees? " + PROSE, turn="t2").degraded  # from the log
    assert [len(session.undo()) for _ in range(3)] == [2, 2, 0]
    assert ids(session) == ["s", "s2"]
    check_whole(memory, session)


def test_undo_of_a_turn_tried_again_takes_back_no_other() -> None:
    session = plain().session("a")
    session.ask("First?", turn="t1")
    session.ask("Second?", turn="t2")
    with pytest.raises(InvalidInputError, match=r"turn 't1' is not the last .* which is 't2'"):
        session.undo("t1")
    assert [len(session.undo("t2")) for _ in range(3)] == [2, 0, 0]
    assert ids(session) == ["t1:q", "t1:a"]


def test_undo_takes_what_belongs_to_the_question_and_no_more() -> None:
    session = plain("Answer.").session("a")
    session.add("user", "First?", id="q1", turn="t1")
    session.add("user", "Second?", id="q2", turn="t2")
    session.add("assistant", "One.", id="a1", turn="t1")
    session.add("assistant", "I look it up.", id="call")
    session.add("tool", "Found.", id="tool")
    session.add("assistant", "Two.", id="a2", turn="t2")
    assert [m.id for m in session.undo()] == ["q2", "call", "tool", "a2"]
    assert ids(session) == ["q1", "a1"]
    session.add("user", "Unanswered?", id="q3")
    assert [m.id for m in session.undo()] == ["q3"]


def test_an_undo_overtaken_by_another_turn_takes_nothing_back(url: str) -> None:
    with plain(store=url) as here, plain(store=url) as there:
        mine, theirs = here.session("a"), there.session("a")
        mine.ask("Mine?", turn="t1")
        real = here.store.rewrite

        def overtaken(*arguments: object, **options: object) -> int:
            here.store.rewrite = real  # type: ignore[method-assign]
            theirs.ask("Theirs?", turn="t2")
            return real(*arguments, **options)  # type: ignore[arg-type]

        here.store.rewrite = overtaken  # type: ignore[method-assign]
        with pytest.raises(ConflictError, match="another writer changed the last turn"):
            mine.undo()
        assert ids(mine) == ["t1:q", "t1:a", "t2:q", "t2:a"]


def test_an_answer_whose_question_was_taken_back_is_not_logged() -> None:
    session = plain("one two three", "four").session("a")
    events = session.stream("Who?", turn="t")
    next(events)
    assert [m.id for m in session.undo()] == ["t:q"]
    *_, end = events
    assert isinstance(end, Finished)
    assert "taken back" in end.degraded[0]
    assert session.messages() == []
    assert session.ask("Who?", turn="t").text == "four"


# Async twins


async def test_every_operation_has_an_async_twin() -> None:
    memory = plain("Miso.", "Bees.", "Never.", step_s=0.001)
    session = tell(memory.session("a"))
    await session.aask("What is my cat called?", turn="t")
    assert (await session.aregenerate()).text == "Bees."
    async for event in session.aregenerate_stream():
        assert isinstance(event, TextDelta)
        break
    assert session.messages()[-1].text == "Bees."
    assert [m.id for m in await session.aundo("t")] == ["t:q", "t:a"]
    first = session.messages()[0]
    assert (await session.aedit(first.id, "Changed.")).text == "Changed."
    assert (await session.aremove(first.id)).text == "Changed."
    other = await session.abranch("b")
    assert said(other) == TALK[1:]
    assert len(await other.asearch("rain")) == 1
    await asyncio.gather(session.adelete(), other.adelete())


def test_times_are_kept_by_every_way_that_a_message_takes() -> None:
    memory = plain()
    session = memory.session("a")
    scope = Scope("default", "session", "a")
    memory.store.append(scope, [Message("user", "Hello. " * 9, id="m", time=1_700_000_000.25)])
    session.edit("m", "Changed.")
    assert session.branch("b").messages()[0].time == 1_700_000_000.25
    [found] = session.search("changed")
    assert found.message.time == 1_700_000_000.25
