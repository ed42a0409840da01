"""Answers that cannot be logged any more: kept aside, and told."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.support.memories import said
from tests.support.outboxes import ANSWER, QUESTION, ask_while_away, opened
from tests.support.plain import FailingStore
from vist2_memory import VisualMemory
from vist2_memory.types import Finished, Message


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The outbox; neither it nor its folder is there yet."""
    return tmp_path / "state" / "vist2" / "outbox.db"


def conflict(memory: VisualMemory, why: str) -> None:
    """The one answer in the outbox was set aside for this reason, and is not tried again."""
    assert memory.replay().aside == 1
    assert memory.outbox is not None
    [kept] = memory.outbox.entries()
    assert why in kept.aside
    assert kept.answer().text == ANSWER


@pytest.mark.parametrize("id", ["t1:a", "other"])
def test_an_answer_whose_turn_got_another_is_kept_aside_and_told_once(
    store: FailingStore, file: Path, id: str
) -> None:
    memory = opened(store, file, ANSWER, "Yes.", "No.")
    session = memory.session("a")
    ask_while_away(session, store)
    store.broken.clear()
    store.append(session.scope, [Message("assistant", "Tom.", id=id, turn="t1")])
    conflict(memory, "another answer to its turn was logged")
    assert [text for _, text in said(session)] == [QUESTION, "Tom."]
    told = session.ask("Really?").degraded
    assert len(told) == 1
    assert "(t1:a) was not logged: another answer to its turn" in told[0]
    assert str(file) in told[0]
    assert session.ask("Sure?").degraded == ()
    assert memory.replay(aside=True).aside == 1
    assert memory.outbox is not None
    assert memory.outbox.remove(1)
    assert not memory.outbox.remove(1)


def test_an_answer_whose_session_was_deleted_meanwhile_is_kept_aside(
    store: FailingStore, file: Path
) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    ask_while_away(session, store)
    store.broken.clear()
    store.delete(session.scope)
    session.add("user", "Something else.")
    conflict(memory, "was deleted before")
    assert said(session) == [("user", "Something else.")]


def test_an_answer_is_not_replayed_into_another_question_of_the_same_id(
    store: FailingStore, file: Path
) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    ask_while_away(session, store)
    store.broken.clear()
    store.delete(session.scope)
    store.append(session.scope, [Message("user", "Who keeps bees?", id="t1:q", turn="t1")])
    conflict(memory, "its question is another one")


def test_what_was_set_aside_is_logged_once_its_question_is_back(
    store: FailingStore, file: Path
) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    ask_while_away(session, store)
    store.broken.clear()
    backup = store.read(session.scope)
    store.delete(session.scope)
    conflict(memory, "was deleted before")
    store.append(session.scope, backup)
    assert memory.replay().aside == 1
    assert memory.replay(aside=True).logged == 1
    assert [text for _, text in said(session)] == [QUESTION, ANSWER]


def test_an_answer_whose_question_was_lost_by_a_fail_over_is_kept_aside(
    store: FailingStore, file: Path
) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    session.add("user", "Hello.")
    kept = store.read(session.scope)
    events = session.stream(QUESTION)
    next(events)
    store.delete(session.scope)
    store.append(session.scope, kept)
    *_, end = events
    assert isinstance(end, Finished)
    assert "lost the newest ones" in end.degraded[0]
    conflict(memory, "its question is not in the log")


def test_a_record_of_another_release_is_kept_aside_and_stops_nothing(
    store: FailingStore, file: Path
) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    ask_while_away(session, store)
    with sqlite3.connect(file) as connection:
        connection.execute(
            "UPDATE answers SET data=CAST(replace(data, '\"v\":1', '\"v\":9') AS BLOB)"
        )
    connection.close()
    store.broken.clear()
    session.add("user", "Hello.")
    assert memory.outbox is not None
    assert "schema version 9" in memory.outbox.entries()[0].aside


def test_an_answer_whose_question_was_edited_is_kept_aside(store: FailingStore, file: Path) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    ask_while_away(session, store)
    store.broken.clear()
    other = opened(store, None).session("a")
    other.edit("t1:q", "What is my dog called?")
    conflict(memory, "it was edited")
    assert said(session) == [("user", "What is my dog called?")]
