"""The store goes away in the middle of an answer: what a call costs, and what is left of it."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.askers import ANSWER, QUESTION, die_with_an_answer, keep_one
from tests.support.memories import engine_of, said
from tests.support.plain import PlainEngine
from tests.support.redis_servers import RedisServer, started
from vist2_memory import Session, VisualMemory
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.memory.replay import Replayed
from vist2_memory.store import Scope
from vist2_memory.store.outbox import Outbox
from vist2_memory.types import Finished

DEADLINE = 1.0
LATE = 4.0
"""What a crowded machine may add; ten calls and more that each take a deadline would be later."""


def opened(server: RedisServer, outbox: Path, *answers: str, **options: Any) -> VisualMemory:
    url = f"{server.url}?deadline={DEADLINE}"
    return VisualMemory.open(url, model=PlainEngine(answers, **options), outbox=outbox)


def wait_until_taken(session: Session, text: str) -> None:
    """Say ``text`` as soon as the store takes it: it is left alone for a while."""
    end = time.monotonic() + 30
    while True:
        try:
            session.add("user", text, id=text)
            return
        except StoreUnavailableError as error:
            assert time.monotonic() < end
            time.sleep(error.retry_after or 0.01)


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_a_server_that_goes_away_in_the_middle_of_an_answer(how: str, tmp_path: Path) -> None:
    server = started(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always")
    with opened(server, tmp_path / "outbox.db", ANSWER) as memory:
        session = memory.session("s")
        events = session.stream(QUESTION)
        next(events)
        getattr(server, how)()
        began = time.monotonic()
        *_, end = events
        assert time.monotonic() - began < DEADLINE + LATE
        assert isinstance(end, Finished)
        assert end.text == ANSWER
        assert "not in the log yet" in end.degraded[0]
        assert "cannot be reached" in end.degraded[0]
        server.resume() if how == "pause" else server.start()
        wait_until_taken(session, "And then?")
        assert said(session) == [("user", QUESTION), ("assistant", ANSWER), ("user", "And then?")]
        assert memory.replay() == Replayed()
    server.stop()


def test_asking_a_server_that_hangs_costs_one_deadline(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with opened(redis_server, tmp_path / "outbox.db") as memory:
        books = memory.collection("books")
        books.add_documents(["Bees sleep in winter. " * 10])
        session = memory.session("s")
        session.ask("Hello?")
        asked = len(engine_of(memory).contexts)
        redis_server.pause()
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            session.ask(QUESTION, include=[books])
        assert time.monotonic() - began < DEADLINE + LATE
        assert len(engine_of(memory).contexts) == asked  # before anything was generated


def test_tensors_out_of_reach_cost_one_deadline_for_session_and_collections(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hangs once the question is logged and the texts are read."""
    with opened(redis_server, tmp_path / "outbox.db", ANSWER) as memory:
        shelves = [memory.collection(name) for name in ("bees", "ferries", "cats")]
        for books in shelves:
            books.add_documents([f"All about {books.name}. " * 10])
        session = memory.session("s")
        session.add("user", "The ferry leaves at nine, from the old harbour. " * 4)
        memory.flush()
        for scope in (session.scope, *(books.scope for books in shelves)):
            memory.tensors.forget(scope)
        real = memory.store.get_many

        def hanging(scope: Scope, *arguments: Any) -> Any:
            if scope.kind == "collection":
                redis_server.pause()
            return real(scope, *arguments)

        monkeypatch.setattr(memory.store, "get_many", hanging)
        began = time.monotonic()
        end = session.ask(QUESTION, include=shelves)
        assert time.monotonic() - began < 2 * DEADLINE + LATE  # one to read, one to try and log
        assert end.text == ANSWER
        assert sum("were not read and are encoded again" in note for note in end.degraded) == 4
        assert "not in the log yet" in " ".join(end.degraded)
        assert len(engine_of(memory).contexts[-1].visual) > 10
        monkeypatch.undo()
        redis_server.resume()
        wait_until_taken(session, "And then?")
        assert [text for _, text in said(session)][1:] == [QUESTION, ANSWER, "And then?"]


def test_an_answer_outlives_its_process_and_its_server(tmp_path: Path) -> None:
    server = started(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always")
    outbox = tmp_path / "outbox.db"
    processes = multiprocessing.get_context("forkserver")
    here, there = processes.Pipe()
    url = f"{server.url}?deadline={DEADLINE}"
    process = processes.Process(target=die_with_an_answer, args=(url, outbox, there))
    process.start()
    assert here.poll(60)
    assert here.recv() == "asked"
    server.kill()
    here.send("go on")
    assert here.poll(60)
    assert here.recv().text == ANSWER
    process.join(60)
    assert process.exitcode == -9
    server.start()
    with opened(server, outbox) as memory:  # opening is enough
        texts = [m.text for m in memory.store.read(memory.session("s").scope)]
        assert texts == [QUESTION, ANSWER]
        assert Outbox(outbox).entries() == []
    server.stop()


def test_many_processes_make_one_outbox_and_lose_nothing(tmp_path: Path) -> None:
    outbox = tmp_path / "new" / "outbox.db"
    processes = multiprocessing.get_context("forkserver")
    started = []
    for number in range(12):
        here, there = processes.Pipe()
        process = processes.Process(target=keep_one, args=(outbox, number, there))
        process.start()
        started.append((process, here))
    for _, here in started:
        here.send("go")
    for process, _ in started:
        process.join(60)
        assert process.exitcode == 0
    texts = {kept.answer().text for kept in Outbox(outbox).entries()}
    assert texts == {f"Number {number}." for number in range(12)}
