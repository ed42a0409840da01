"""Sessions that several have open while they are changed."""

from __future__ import annotations

import threading

import pytest

from tests.support.memories import TALK, plain, said, tell, whole
from tests.support.tokenizers import PROSE
from vist2_memory import Session
from vist2_memory.errors import LogLostError
from vist2_memory.store import InMemoryStore
from vist2_memory.text.transcript import write

pytest_plugins = ("tests.support.fixtures",)


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
