"""Answers that were generated while the store went away: kept, and logged when it is back."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from tests.support.memories import engine_of, said
from tests.support.outboxes import ANSWER, QUESTION, ask_while_away, opened
from tests.support.plain import FailingStore
from vist2_memory.errors import AnswerNotLoggedError, LogLostError, StoreUnavailableError
from vist2_memory.store import Scope
from vist2_memory.store.outbox import Outbox
from vist2_memory.types import Finished, Message


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The outbox; neither it nor its folder is there yet."""
    return tmp_path / "state" / "vist2" / "outbox.db"


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
