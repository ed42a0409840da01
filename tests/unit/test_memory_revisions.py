"""Editing, taking back, answering again, branching: what the log, the cuts and the tensors are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.engines import CountingEngine, Script
from tests.support.memories import ANSWER, TALK, engine_of, plain, said, tell, whole
from tests.support.plain import FailingStore
from tests.support.tokenizers import PROSE
from vist2_memory import Session, VisualMemory
from vist2_memory.errors import (
    ConflictError,
    ContextOverflowError,
    InvalidInputError,
    InvalidMessageError,
    LogLostError,
    StoreUnavailableError,
)
from vist2_memory.store import InMemoryStore, Scope
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import write
from vist2_memory.types import (
    Chunk,
    ChunkFolded,
    Context,
    Finished,
    GenerationEvent,
    Message,
    TextDelta,
)

pytest_plugins = ("tests.support.fixtures",)


def ids(session: Session) -> list[str]:
    return [message.id for message in session.messages()]


def tensors(memory: VisualMemory, session: Session) -> set[str]:
    """The chunks of which the store in memory holds a tensor."""
    shelf = memory.store._shelves.get(session.scope)  # type: ignore[attr-defined]
    return {chunk for _, chunk in shelf.tensors} if shelf else set()


def check_whole(memory: VisualMemory, session: Session) -> list[Chunk]:
    """The transcript is all there, and no other chunks have tensors; its chunks are returned."""
    chunks = session.chunks()
    assert whole(session) == write([s for s in said(session) if s[0] != "system"])  # type: ignore[misc]
    assert tensors(memory, session) <= {chunk.id for chunk in chunks}
    ends = [end for message in session.messages() for end in message.cuts]
    assert ends == [chunk.start + len(chunk.text) for chunk in chunks]
    with plain(store=memory.store) as again:
        assert again.session(session.id).chunks() == chunks
    return chunks


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


# Answering again


def test_an_answer_is_replaced_by_a_new_one() -> None:
    memory = plain("Old " + ANSWER, "New " + ANSWER)
    session = tell(memory.session("a"))
    session.ask("And now? " + PROSE, turn="t")
    before = session.messages()
    end = session.regenerate()
    assert end.text == "New " + ANSWER
    assert session.messages()[:-1] == before[:-1]
    answer = session.messages()[-1]
    assert (answer.id, answer.role, answer.turn, answer.text) == (
        "t:a", "assistant", "t", "New " + ANSWER,
    )  # fmt: skip
    first, again = engine_of(memory).contexts
    assert (first.pinned, first.tail, first.sources) == (again.pinned, again.tail, again.sources)
    check_whole(memory, session)
    assert session.ask("And now? " + PROSE, turn="t").text == "New " + ANSWER


def test_where_generating_again_fails_or_is_left_the_old_answer_stays() -> None:
    memory = plain("Old.", "one two three")
    session, engine = memory.session("a"), engine_of(memory)
    session.ask("Who?")
    before = session.messages()

    def breaks(*_: object) -> Iterator[TextDelta]:
        yield TextDelta("Ne")
        raise RuntimeError("the power went out")

    real, engine.generate = engine.generate, breaks  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power"):
        session.regenerate()
    engine.generate = real  # type: ignore[method-assign]
    events = session.regenerate_stream()
    next(events)
    assert session.messages() == before  # while it is made, too
    events.close()  # type: ignore[attr-defined]
    assert (session.messages(), engine.open_generations) == (before, 0)


def test_what_was_said_after_an_answer_stays_when_it_is_made_again() -> None:
    memory = plain("Old.", "one two three")
    session = memory.session("a")
    session.ask("Who?", turn="t")
    events = session.regenerate_stream()
    next(events)
    session.add("system", "Be kind.", id="s")
    session.add("user", "Meanwhile. " + PROSE, id="m")
    list(events)
    assert ids(session) == ["t:q", "t:a", "s", "m"]
    assert session.messages()[1].text == "one two three"
    check_whole(memory, session)


def test_a_question_taken_back_while_it_is_answered_again_stays_away() -> None:
    session = plain("Old.", "one two three").session("a")
    session.ask("Who?")
    events = session.regenerate_stream()
    next(events)
    session.undo()
    *_, end = events
    assert isinstance(end, Finished)
    assert "taken back" in end.degraded[0]
    assert session.messages() == []


def test_an_unanswered_question_is_answered_and_without_one_it_says_so() -> None:
    memory = plain("Yes.")
    session = memory.session("a")
    session.add("system", "Be kind.")
    with pytest.raises(InvalidInputError, match="no question"):
        session.regenerate()
    session.add("user", "Are you there?", id="q", turn="t")
    assert session.regenerate().text == "Yes."
    assert said(session)[1:] == [("user", "Are you there?"), ("assistant", "Yes.")]
    check_whole(memory, session)


def test_chunks_folded_while_answering_again_are_cached_and_cut_as_they_were_made(
    memory: VisualMemory, engine: CountingEngine, script: Script
) -> None:
    script.say("Short.", ANSWER, "Yes.")
    session = tell(memory.session("a"))
    session.ask("What is my cat called?")
    engine.encoded.clear()
    assert session.regenerate().usage.folds > 0
    made = list(engine.encoded)
    chunks = session.chunks()
    assert whole(session) == write(said(session))  # type: ignore[arg-type]
    engine.encoded.clear()
    session.ask("So?")
    assert not {chunk.text for chunk in chunks} & set(engine.encoded)
    assert len(made) == len(set(made)) > 0  # none twice
    assert set(made) <= {chunk.text for chunk in chunks}


def test_a_fold_of_the_new_answer_is_a_chunk_where_it_was_folded() -> None:
    memory = plain("Old.")
    session, engine = memory.session("a"), engine_of(memory)
    session.ask("Who?", turn="t")

    def folds(context: Context, _: object) -> Iterator[GenerationEvent]:
        chunk = Chunk("", context.tail[:3], 1)
        chunk = replace(chunk, id=chunk_id(chunk.text))
        [visual] = engine.encode([chunk])
        yield ChunkFolded(chunk, visual)
        yield Finished("New and different.", "stop")

    engine.generate = folds  # type: ignore[method-assign]
    session.regenerate()
    assert session.chunks()[0].text == write([("user", "Wh")])
    assert check_whole(memory, session)
    assert len(engine.encoded) == len(set(engine.encoded))


# Branches


def test_a_branch_goes_its_own_way() -> None:
    memory = plain("Miso.", "Bees.", "Lisbon.")
    session = tell(memory.session("a"))
    session.ask("What is my cat called?", turn="t1")
    before, encoded = session.messages(), list(engine_of(memory).encoded)
    other = session.branch("b", at=before[1].id)
    assert other.messages() == before[:2]
    assert engine_of(memory).encoded == encoded  # copied
    assert tensors(memory, other) == {chunk.id for chunk in check_whole(memory, other)} != set()
    other.ask("Who keeps bees?", turn="t2")
    assert session.messages() == before
    whole_copy = session.branch("c")
    assert (whole_copy.messages(), whole_copy.chunks()) == (before, session.chunks())
    check_whole(memory, whole_copy)
    whole_copy.ask("Where to?")
    assert not any("refused" in note for note in whole_copy.ask("And?").degraded)
    session.delete()
    assert other.messages()[:2] == before[:2]
    check_whole(memory, other)
    other.delete()
    whole_copy.delete()
    assert memory.store._shelves == {}  # type: ignore[attr-defined]


def test_a_branch_takes_no_name_that_is_taken_and_none_from_nothing() -> None:
    memory = plain()
    session, other = tell(memory.session("a")), tell(memory.session("b"), TALK[:1])
    for name in ("a", "b"):
        with pytest.raises(ConflictError, match=f"session '{name}' exists already"):
            session.branch(name)
    assert said(other) == TALK[:1]
    with pytest.raises(InvalidInputError, match="no messages"):
        memory.session("empty").branch("c")
    with pytest.raises(InvalidInputError, match="session name"):
        session.branch("")
    assert [info.scope.name for info in memory.sessions()] == ["a", "b"]


def test_a_branch_whose_tensors_cannot_be_copied_has_its_text() -> None:
    store = FailingStore()
    memory = plain(store=store, cache_bytes=0)
    session = tell(memory.session("a"))
    memory.flush()
    store.broken = {"get_many", "put_many"}
    other = session.branch("b")
    memory.flush()
    store.broken = set()
    assert said(other) == TALK
    other.ask("Who?")
    memory.flush()
    assert tensors(memory, other) >= {chunk.id for chunk in session.chunks()}


# Several who have the session open


@pytest.mark.parametrize("change", ["edit first", "edit last", "remove", "undo", "regenerate"])
def test_whoever_has_the_session_open_notices_a_rewrite(url: str, change: str) -> None:
    with plain("Old.", "New.", store=url) as here, plain("Theirs.", store=url) as there:
        mine = tell(here.session("a"))
        mine.ask("Who?", turn="t")
        theirs = there.session("a")
        stale = theirs.chunks()  # it is read there now
        if change.startswith("edit"):
            mine.edit(mine.messages()[0 if "first" in change else -1].id, "Changed. " + PROSE)
        elif change == "remove":
            mine.remove(mine.messages()[1].id)
        else:
            mine.undo() if change == "undo" else mine.regenerate()
        assert theirs.chunks() == mine.chunks()
        assert (theirs.chunks() != stale) or change in ("undo", "regenerate")
        theirs.ask("And then? " + PROSE)
        assert whole(theirs) == write(said(mine))  # type: ignore[arg-type]
        assert mine.chunks() == theirs.chunks()


def test_a_message_is_cut_for_the_log_that_it_comes_into(url: str) -> None:
    """Where an edit comes in between that leaves the log as long as it was."""
    with plain(store=url) as here, plain(store=url) as there:
        mine = tell(here.session("a"))
        theirs, real = there.session("a"), here.store.append

        def overtaken(*arguments: object, **options: object) -> int:
            here.store.append = real  # type: ignore[method-assign]
            theirs.edit(theirs.messages()[0].id, "A longer text than was there. " * 9)
            return real(*arguments, **options)  # type: ignore[arg-type]

        here.store.append = overtaken  # type: ignore[method-assign]
        mine.add("user", PROSE)
        ends = [end for message in mine.messages() for end in message.cuts]
        assert ends == [chunk.start + len(chunk.text) for chunk in theirs.chunks()]
        assert whole(theirs) == write(said(mine))  # type: ignore[arg-type]


def test_a_log_that_lost_an_edit_says_so_once() -> None:
    """As a fail-over does, to a replica that did not have the rewrite yet."""
    store = InMemoryStore()
    session = tell(plain(store=store).session("a"))
    before = session.messages()
    session.edit(before[1].id, "Changed.")
    store._shelves.pop(session.scope)
    store.append(session.scope, before)
    with pytest.raises(LogLostError, match="was at revision 1, the store has revision 0 now"):
        session.add("user", "And then?")
    session.add("user", "And then?")
    assert said(session) == [*TALK, ("user", "And then?")]


def test_a_rewritten_log_that_lost_its_newest_messages_says_so() -> None:
    store = InMemoryStore()
    session = tell(plain(store=store).session("a"))
    session.edit(session.messages()[0].id, "Changed.")
    shelf = store._shelves[session.scope]
    del shelf.digests[shelf.log.pop().id]
    with pytest.raises(LogLostError, match="held 3 messages, of which the store has 2"):
        session.tail()


@pytest.mark.parametrize("processes", [1, 2], ids=["one memory", "two memories"])
def test_edits_race_messages_and_none_is_lost_doubled_or_cut_wrong(
    url: str, processes: int
) -> None:
    memories = [plain(store=url) for _ in range(processes)]
    sessions = [memory.session("a") for memory in memories]
    sessions[0].add("user", "The first of all.", id="first")
    failed: list[Exception] = []

    def add(who: str, session: Session) -> None:
        try:
            for number in range(8):
                session.add("user", f"{who} counts {number} bees", id=f"{who}{number}")
        except Exception as error:
            failed.append(error)

    def edit(session: Session) -> None:
        try:
            for number in range(8):
                session.edit("first", f"Edited {number} times, here in Lisbon.")
        except Exception as error:
            failed.append(error)

    threads = [
        threading.Thread(target=add, args=("Anna", sessions[0])),
        threading.Thread(target=add, args=("Miso", sessions[-1])),
        threading.Thread(target=edit, args=(sessions[-1],)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    found = sessions[0].messages()
    assert found[0].text == "Edited 7 times, here in Lisbon."
    for who in ("Anna", "Miso"):
        own = [m.text for m in found if m.id.startswith(who)]
        assert own == [f"{who} counts {number} bees" for number in range(8)]
    assert len(found) == 17
    assert whole(sessions[-1]) == write(said(sessions[0]))  # type: ignore[arg-type]
    assert [c for s in sessions for c in s.chunks()] == sessions[0].chunks() * processes
    for memory in memories:
        memory.close()


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
