"""The outbox itself: where it is, what it refuses, what looking into it costs, its commands."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.memories import said
from tests.support.outboxes import ANSWER, QUESTION, ask_while_away, opened
from tests.support.plain import FailingStore, PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.cli import app, diagnosis
from vist2_memory.errors import StoreFormatError
from vist2_memory.store import Scope, open_store
from vist2_memory.store.outbox import Kept, Outbox, default_path
from vist2_memory.types import Message


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The outbox; neither it nor its folder is there yet."""
    return tmp_path / "state" / "vist2" / "outbox.db"


def test_where_the_outbox_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = default_path()
    assert path is not None
    assert path.parts[-2:] == ("vist2", "outbox.db")
    url = f"sqlite:///{tmp_path}/memory.db"
    monkeypatch.setenv("VIST2_OUTBOX", str(tmp_path / "mine.db"))
    with VisualMemory.open(url, model=PlainEngine()) as memory:
        assert memory.outbox is not None
        assert memory.outbox.path == tmp_path / "mine.db"
    with VisualMemory.open("memory://", model=PlainEngine()) as memory:
        assert memory.outbox is None  # nobody could replay it
    monkeypatch.setenv("VIST2_OUTBOX", "none")
    with VisualMemory.open(url, model=PlainEngine()) as memory:
        assert memory.outbox is None
    assert not (tmp_path / "mine.db").exists()


@pytest.mark.parametrize("content", ["another program's", "no database"])
def test_a_file_that_is_no_outbox_is_refused_and_left_as_it_is(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "outbox.db"
    if content == "no database":
        path.write_bytes(b"x" * 5000)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (a)")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreFormatError, match=r"the outbox .* cannot be used"):
        VisualMemory.open(f"sqlite:///{tmp_path}/m.db", model=PlainEngine(), outbox=path)
    assert path.read_bytes() == before


def test_what_is_kept_twice_is_there_once_and_another_file_in_its_place_is_seen(
    store: FailingStore,
    file: Path,
) -> None:
    question = Message("user", QUESTION, id="q")
    outbox = Outbox(file)
    scope = Scope("n", "session", "s")
    for _ in range(2):
        outbox.keep(store, scope, question, Message("assistant", ANSWER, id="a"))
    assert [kept.id for kept in outbox.entries()] == ["a"]
    for path in file.parent.iterdir():
        path.unlink()
    Outbox(file).keep(store, scope, question, Message("assistant", "Tom.", id="b"))
    assert [kept.id for kept in outbox.entries()] == ["b"]


def test_an_outbox_that_was_deleted_is_made_again(store: FailingStore, file: Path) -> None:
    memory = opened(store, file, ANSWER, ANSWER)
    ask_while_away(memory.session("a"), store)
    for path in file.parent.iterdir():
        path.unlink()
    store.broken.clear()
    assert said(memory.session("a")) == [("user", QUESTION)]
    ask_while_away(memory.session("b"), store)
    assert len(Outbox(file).entries()) == 1


def test_an_outbox_that_nobody_wrote_to_is_looked_into_once(
    store: FailingStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(store, file).session("a")
    question = session.add("user", QUESTION, turn="t1")
    theirs, answer = Outbox(file), Message("assistant", ANSWER, id="t1:a", turn="t1")
    theirs.keep(store, Scope("default", "session", "other"), question, answer)
    looked, real = [0], Outbox.entries

    def entries(self: Outbox, *wanted: object) -> list[Kept]:
        looked[0] += 1
        return real(self, *wanted)  # type: ignore[arg-type]

    def looks() -> int:
        looked[0] = 0
        for _ in range(3):
            session.messages()
        return looked[0]

    monkeypatch.setattr(Outbox, "entries", entries)
    assert looks() == 3  # written to just now: the next write might get the same time
    for path in file.parent.iterdir():
        os.utime(path, (1e9, 1e9))
    assert (looks(), looks()) == (1, 0)
    theirs.keep(store, session.scope, question, answer)  # as another process does
    assert said(session) == [("user", QUESTION), ("assistant", ANSWER)]


def test_what_the_store_did_not_take_is_tried_again_though_nobody_wrote_to_the_outbox(
    store: FailingStore, file: Path
) -> None:
    session = opened(store, file).session("a")
    ask_while_away(session, store)
    for _ in range(2):
        for path in file.parent.iterdir():
            os.utime(path, (1e9, 1e9))
        assert said(session) == [("user", QUESTION)]
    store.broken.clear()
    assert said(session) == [("user", QUESTION), ("assistant", ANSWER)]


def test_the_command_line_lists_replays_and_discards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/memory.db"
    monkeypatch.setenv("VIST2_OUTBOX", str(tmp_path / "outbox.db"))
    monkeypatch.setenv("VIST2_STORE", url)

    def vist2(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["outbox", *arguments])

    assert json.loads(vist2("list", "--json").stdout) == []
    question = Message("user", QUESTION, id="t1:q", turn="t1")
    with open_store(url) as store:
        scope = Scope("default", "session", "a")
        store.append(scope, [question])
        for turn, text in (("t1", ANSWER), ("t1", "Tom, \x1b[31mred.")):
            answer = Message("assistant", text, id=f"{turn}:a", turn=turn)
            Outbox(tmp_path / "outbox.db").keep(store, scope, question, answer)
        assert "waits for its store" in vist2("list").stdout
        checks = {check.name: check for check in diagnosis.run_checks(url, "pages:openai")}
        assert "2 wait for sqlite:///" in checks["outbox"].detail
        first = vist2("replay", "--json")
        assert json.loads(first.stdout) == {"logged": 1, "waiting": 0, "aside": 1}
        assert first.exit_code == 1
        assert [message.text for message in store.read(scope)] == [QUESTION, ANSWER]
        [left] = json.loads(vist2("list", "--json").stdout)
        assert (left["number"], left["session"]) == (2, "a")
        assert "another answer to its turn" in left["aside"]
        assert "\x1b" not in vist2("list").stdout
        assert vist2("discard", "2").exit_code == 0
        assert vist2("discard", "2").exit_code == 2
        assert vist2("replay").exit_code == 0
    monkeypatch.setenv("VIST2_OUTBOX", "none")
    assert vist2("list").exit_code == 2
