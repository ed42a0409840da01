"""A disk that is full: what is refused, what is left, and that all works again with room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.memories import engine_of, said
from tests.support.plain import PlainEngine
from vist2_memory import Session, VisualMemory
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.store.sqlite import SQLiteStore
from vist2_memory.types import Finished

LONG = "The ferry leaves at nine, from the old harbour. " * 400  # five pages of the file


class Disk(SQLiteStore):
    """A store on a disk that can be filled up."""

    def fill(self) -> None:
        [[pages]] = self._connection.execute("PRAGMA page_count").fetchall()
        self._connection.execute(f"PRAGMA max_page_count={pages}").fetchall()

    def make_room(self) -> None:
        self._connection.execute("PRAGMA max_page_count=1000000").fetchall()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Disk(tmp_path / "memory.db") as disk:
        yield disk


def opened(disk: Disk, tmp_path: Path, *answers: str) -> VisualMemory:
    return VisualMemory.open(disk, model=PlainEngine(answers), outbox=tmp_path / "outbox.db")


def fill_up(session: Session, disk: Disk) -> list[tuple[str, str]]:
    """Talk until nothing more goes in; all that was acknowledged."""
    session.add("user", "My cat is called Miso.")
    disk.fill()
    said_once_more = (session.add("user", "Once more.") for _ in range(100))
    with pytest.raises(StoreUnavailableError, match="full"):
        list(said_once_more)
    return said(session)


def test_a_message_that_does_not_fit_is_refused_and_all_else_stays(
    disk: Disk, tmp_path: Path
) -> None:
    memory = opened(disk, tmp_path)
    session = memory.session("a")
    kept = fill_up(session, disk)
    assert kept[0] == ("user", "My cat is called Miso.")
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="full"):
            session.add("user", LONG)
        with pytest.raises(StoreUnavailableError, match="full"):
            session.ask(LONG)
    assert engine_of(memory).contexts == []  # before anything was generated
    assert said(session) == kept
    with SQLiteStore(tmp_path / "memory.db") as again:  # and by another process
        assert [m.text for m in again.read(session.scope)] == [text for _, text in kept]
    disk.make_room()
    session.ask(LONG)
    assert said(session) == [*kept, ("user", LONG), ("assistant", "Yes.")]


def test_deleting_makes_room(disk: Disk, tmp_path: Path) -> None:
    memory = opened(disk, tmp_path)
    memory.session("old").add("user", LONG)
    fill_up(memory.session("a"), disk)
    assert memory.session("old").delete().messages == 1
    memory.session("a").add("user", "There is room again.")


def test_an_answer_that_does_not_fit_waits_for_room(disk: Disk, tmp_path: Path) -> None:
    session = opened(disk, tmp_path, LONG).session("a")
    events = session.stream("Well?")
    next(events)
    disk.fill()
    *_, end = events
    assert isinstance(end, Finished)
    assert end.text == LONG
    assert "not in the log yet" in end.degraded[0]
    assert "full" in end.degraded[0]
    assert said(session) == [("user", "Well?")]
    disk.make_room()
    assert said(session) == [("user", "Well?"), ("assistant", LONG)]


def test_tensors_that_do_not_fit_are_told_and_the_turn_is_logged(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = opened(disk, tmp_path, "Yes.", "Again.")
    session = memory.session("a")
    session.add("user", "The ferry leaves at nine, from the old harbour. " * 4)
    memory.flush()
    memory.tensors.forget(session.scope)
    for chunk in session.chunks():
        disk.drop_many(session.scope, memory.engine.spec.fingerprint, [chunk.id])
    real = disk.put_many

    def full(*arguments: object) -> None:
        disk.fill()
        try:
            while True:
                real(session.scope, "filler", {f"{len(filled)}": bytes(3000)})
                filled.append(1)
        finally:
            monkeypatch.undo()

    filled: list[int] = []
    monkeypatch.setattr(disk, "put_many", full)
    end = session.ask("Well?")
    memory.flush()
    disk.make_room()
    assert said(session)[1:] == [("user", "Well?"), ("assistant", "Yes.")]
    notes = [*end.degraded, *session.ask("And?").degraded]  # they are written behind
    assert any("visual tokens were not cached" in note for note in notes)
