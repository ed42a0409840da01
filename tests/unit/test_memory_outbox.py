"""Answers that were generated while the store went away: kept, and logged when it is back."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.memories import engine_of, said
from tests.support.plain import FailingStore, PlainEngine
from vist2_memory import Session, VisualMemory
from vist2_memory.cli import app, diagnosis
from vist2_memory.errors import (
    AnswerNotLoggedError,
    LogLostError,
    StoreFormatError,
    StoreUnavailableError,
)
from vist2_memory.store import Scope, open_store
from vist2_memory.store.outbox import Kept, Outbox, default_path
from vist2_memory.types import Finished, Message

QUESTION, ANSWER = "What is my cat called?", "Your cat is called Miso."


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The outbox; neither it nor its folder is there yet."""
    return tmp_path / "state" / "vist2" / "outbox.db"


def opened(
    store: FailingStore, file: Path | None, *answers: str, namespace: str = "default"
) -> VisualMemory:
    engine = PlainEngine(answers or [ANSWER])
    return VisualMemory.open(store, model=engine, outbox=file, namespace=namespace)


def ask_while_away(
    session: Session, store: FailingStore, question: str = QUESTION, turn: str = "t1"
) -> Finished:
    """The answer of a turn after whose question the store takes nothing more."""
    events = session.stream(question, turn=turn)
    next(events)
    store.broken.add("append")
    *_, end = events
    assert isinstance(end, Finished)
    return end


def test_a_question_that_cannot_be_logged_is_told_before_anything_is_generated(
    store: FailingStore, file: Path
) -> None:
    memory = opened(store, file)
    store.broken.add("append")
    with pytest.raises(StoreUnavailableError, match="append is out of order"):
        memory.session("a").ask(QUESTION)
    assert engine_of(memory).contexts == []
    assert not file.parent.exists()  # made when it is first needed


def test_an_answer_is_given_out_kept_and_logged_when_the_store_is_back(
    store: FailingStore, file: Path
) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    end = ask_while_away(session, store)
    assert end.text == ANSWER
    assert f"not in the log yet, {file} keeps it" in end.degraded[0]
    assert "append is out of order" in end.degraded[0]
    assert said(session) == [("user", QUESTION)]  # reading goes on
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(StoreUnavailableError):
        session.ask("And then?")
    with pytest.raises(StoreUnavailableError):
        session.ask(QUESTION, turn="t1")  # not generated again
    assert len(engine_of(memory).contexts) == 1
    store.broken.clear()
    assert said(session) == [("user", QUESTION), ("assistant", ANSWER)]
    again = session.ask(QUESTION, turn="t1")
    assert (again.text, again.degraded) == (ANSWER, ("answered from the log",))
    assert memory.outbox is not None
    assert memory.outbox.entries() == []


def test_the_next_question_stands_after_the_answer_that_was_kept(
    store: FailingStore, file: Path
) -> None:
    memory = opened(store, file, ANSWER, "Yes.")
    session = memory.session("a")
    ask_while_away(session, store)
    store.broken.clear()
    assert session.ask("Really?").degraded == ()
    assert [text for _, text in said(session)] == [QUESTION, ANSWER, "Really?", "Yes."]


def test_nothing_is_written_before_an_answer_that_waits(
    store: FailingStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    ask_while_away(session, store)
    store.broken.clear()
    real = store.append

    def refusing(scope: Scope, messages: list[Message], **seen: int) -> int:
        if messages[0].role == "assistant":
            raise StoreUnavailableError("no room for long messages")
        return real(scope, messages, **seen)

    with monkeypatch.context() as patch:
        patch.setattr(store, "append", refusing)
        for write in (session.add, lambda _, text: session.ask(text)):
            with pytest.raises(StoreUnavailableError, match="no room"):
                write("user", "And then?")
        assert said(session) == [("user", QUESTION)]
    session.add("user", "And then?")
    assert [text for _, text in said(session)] == [QUESTION, ANSWER, "And then?"]


def test_another_memory_replays_when_it_opens(store: FailingStore, file: Path) -> None:
    ask_while_away(opened(store, file).session("a"), store)
    waiting = opened(store, file)  # opens all the same
    assert waiting.replay().waiting == 1
    store.broken.clear()
    opened(store, file)
    assert [m.text for m in store.read(waiting.session("a").scope)] == [QUESTION, ANSWER]


def test_an_answer_that_was_written_without_being_acknowledged_is_not_doubled(
    store: FailingStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    real = store.append

    def lossy(scope: Scope, messages: list[Message], **seen: int) -> int:
        real(scope, messages, **seen)
        raise StoreUnavailableError("the acknowledgement was lost")

    events = session.stream(QUESTION)
    next(events)
    with monkeypatch.context() as patch:
        patch.setattr(store, "append", lossy)
        *_, end = events
    assert isinstance(end, Finished)
    assert "acknowledgement was lost" in end.degraded[0]
    assert memory.replay().logged == 1
    assert said(session) == [("user", QUESTION), ("assistant", ANSWER)]


def test_many_that_replay_at_once_log_each_answer_once_and_in_order(
    store: FailingStore, file: Path
) -> None:
    session = opened(store, file, "one", "two", "three").session("a")
    streams = [session.stream(f"Question {n}?") for n in range(3)]
    for events in streams:
        next(events)
    store.broken.add("append")
    for events in streams:
        list(events)
    memories = [opened(store, file) for _ in range(4)]
    store.broken.clear()
    threads = [threading.Thread(target=memory.replay) for memory in memories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [text for role, text in said(session) if role == "assistant"] == ["one", "two", "three"]
    assert Outbox(file).entries() == []


# What cannot be logged


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


def test_an_answer_given_again_that_cannot_be_logged_is_in_the_error(
    store: FailingStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(store, file, ANSWER, "Tom.").session("a")
    session.ask(QUESTION)

    def away(*_: object, **__: object) -> int:
        raise StoreUnavailableError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "rewrite", away)
        with pytest.raises(AnswerNotLoggedError, match=r"old one stands.*is away") as caught:
            session.regenerate()
    assert caught.value.text == "Tom."
    assert [text for _, text in said(session)] == [QUESTION, ANSWER]


def test_what_a_store_hides_is_hidden_in_the_outbox_too(file: Path) -> None:
    class Hiding(FailingStore):
        def seal(self, scope: Scope, data: bytes) -> bytes:
            return bytes(255 - byte for byte in data)

        def unseal(self, scope: Scope, data: bytes) -> bytes:
            return self.seal(scope, data)

    store = Hiding()
    memory = opened(store, file)
    ask_while_away(memory.session("a"), store)
    assert not any(b"Miso" in path.read_bytes() for path in file.parent.iterdir())
    store.broken.clear()
    assert said(memory.session("a")) == [("user", QUESTION), ("assistant", ANSWER)]


# Deleting


def test_deleting_a_session_leaves_nothing_of_it_in_the_outbox(
    store: FailingStore, file: Path
) -> None:
    memory = opened(store, file, ANSWER, "A secret.")
    other, session = memory.session("b"), memory.session("a")
    ask_while_away(other, store)
    store.broken.clear()
    ask_while_away(session, store)
    assert any(b"secret" in path.read_bytes() for path in file.parent.iterdir())
    deleted = session.delete()
    assert (deleted.messages, deleted.outbox) == (1, 1)
    assert not any(b"secret" in path.read_bytes() for path in file.parent.iterdir())
    store.broken.clear()
    assert said(session) == []
    assert len(said(other)) == 2


def test_a_session_that_is_deleted_while_it_answers_stays_deleted(
    store: FailingStore, file: Path
) -> None:
    session = opened(store, file).session("a")
    events = session.stream(QUESTION)
    next(events)
    session.delete()
    *_, end = events
    assert isinstance(end, Finished)
    assert end.text == ANSWER
    assert "taken back meanwhile" in end.degraded[0]
    assert session.messages() == []
    assert not file.exists()


# Whose it is


def test_what_is_kept_for_one_store_or_namespace_is_replayed_into_no_other(
    store: FailingStore, file: Path
) -> None:
    acme = opened(store, file, namespace="acme")
    ask_while_away(acme.session("a"), store)
    store.broken.clear()
    for other in (opened(FailingStore(), file, namespace="acme"), opened(store, file)):
        other.session("a").add("user", QUESTION, id="t1:q", turn="t1")
        assert other.replay().logged == 0
        assert len(other.session("a").messages()) == 1
    assert acme.replay().logged == 1


# Without an outbox


def test_without_an_outbox_the_error_has_the_text_and_asking_again_works(
    store: FailingStore,
) -> None:
    session = opened(store, None).session("a")
    with pytest.raises(AnswerNotLoggedError, match="no outbox") as caught:
        ask_while_away(session, store)
    assert (caught.value.text, caught.value.turn) == (ANSWER, "t1")
    assert isinstance(caught.value.__cause__, StoreUnavailableError)
    store.broken.clear()
    session.ask(QUESTION, turn="t1")
    assert [role for role, _ in said(session)] == ["user", "assistant"]


def test_an_outbox_that_cannot_be_written_is_told_with_the_text(
    store: FailingStore, tmp_path: Path
) -> None:
    (tmp_path / "in the way").write_text("a file")
    session = opened(store, tmp_path / "in the way" / "outbox.db").session("a")
    with pytest.raises(AnswerNotLoggedError, match=r"cannot be used.*VIST2_OUTBOX") as caught:
        ask_while_away(session, store)
    assert caught.value.text == ANSWER


def test_an_interrupted_write_keeps_the_answer(
    store: FailingStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = opened(store, file)
    events = memory.session("a").stream(QUESTION)
    next(events)

    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(events)
    assert memory.replay().logged == 1


def test_a_log_that_is_damaged_keeps_the_answer(
    store: FailingStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = opened(store, file)
    session = memory.session("a")
    events = session.stream(QUESTION)
    next(events)

    def lost(*_: object, **__: object) -> list[Message]:
        raise LogLostError("1 of 2 messages")

    with monkeypatch.context() as patch:
        patch.setattr(store, "snapshot", lost)
        *_, end = events
        assert isinstance(end, Finished)
        assert "1 of 2 messages" in end.degraded[0]
        with pytest.raises(LogLostError):
            session.messages()
        assert memory.replay().waiting == 1
    assert memory.replay().logged == 1


# The file


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


# What looking into it costs


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


# The command line


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
