"""Many at once: sixteen processes in one session, a thousand sessions in one process."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.askers import write_together
from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.store import Scope, open_store
from vist2_memory.types import Context, Finished, GenerationEvent, GenerationParams

WRITERS, TURNS = 16, 2_000
SESSIONS = 1_000


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_doors').url}?deadline=60"
    return f"sqlite:///{tmp_path}/memory.db"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_what_sixteen_processes_say_in_one_session_all_is_there_once_and_in_order(
    url: str,
) -> None:
    namespace = f"crowd {time.time_ns()}"
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.support.askers", "vist2_memory.store.redis"])
    running = []
    for who in range(WRITERS):
        here, there = processes.Pipe()
        arguments = (url, namespace, who, TURNS // WRITERS, there)
        process = processes.Process(target=write_together, args=arguments)
        process.start()
        running.append((process, here))
    for _, here in running:
        here.send("go")
    with open_store(url) as store:
        scope, seen = Scope(namespace, "session", "s"), []
        while any(process.is_alive() for process, _ in running):
            new = store.read(scope, after=len(seen))  # what was read never changes its place
            seen += new
            time.sleep(0.05)
        for process, _ in running:
            process.join()
            assert process.exitcode == 0
        log = store.read(scope)
        assert log[: len(seen)] == seen
        assert len(log) == store.count(scope) == 2 * TURNS
        assert max(Counter(message.id for message in log).values()) == 1
        # Each turn stands together, and those of each writer in the order in which it wrote them.
        assert all(q.id == f"{q.turn}:q" for q in log[::2])
        assert all(
            a.id == f"{q.turn}:a" and a.turn == q.turn
            for q, a in zip(log[::2], log[1::2], strict=True)
        )
        for who in range(WRITERS):
            theirs = [m.turn for m in log[::2] if m.turn.startswith(f"{who}-")]
            assert theirs == [f"{who}-{number}" for number in range(TURNS // WRITERS)]
        store.delete(scope)


class Telltale(PlainEngine):
    """Answers with all the names that it was shown."""

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        shown = "".join(chunk.text for chunk in context.sources) + context.tail
        yield Finished(" ".join(sorted(set(re.findall(r"<\d+>", shown)))), "stop")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_sessions_at_once_hear_nothing_of_one_another(url: str, tmp_path: Path) -> None:
    namespace = f"crowd {time.time_ns()}"
    memory = VisualMemory.open(
        url, model=Telltale(chunk_tokens=32), namespace=namespace, outbox=tmp_path / "outbox.db"
    )

    def talk(number: int) -> list[str]:
        session = memory.session(f"s{number}")
        return [session.ask(f"I am <{number}>. {step}?").text for step in ("Who", "Really")]

    with memory, ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(talk, range(SESSIONS)))
        assert answers == [[f"<{number}>"] * 2 for number in range(SESSIONS)]
        assert {i.scope.name: i.messages for i in memory.sessions()} == {
            f"s{number}": 4 for number in range(SESSIONS)
        }
        for number in range(0, SESSIONS, 97):
            texts = [message.text for message in memory.session(f"s{number}").messages()]
            own = f"<{number}>"
            assert texts == [f"I am {own}. Who?", own, f"I am {own}. Really?", own]
        list(pool.map(lambda number: memory.session(f"s{number}").delete(), range(SESSIONS)))
        assert memory.sessions() == []
