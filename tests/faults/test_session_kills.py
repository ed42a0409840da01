"""kill -9 of a process that asks, over a store that often fails, so that its outbox is in use."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import deque
from pathlib import Path

import pytest

from tests.support.askers import ANSWER, QUESTION, ask_on_and_on, check_answers
from tests.support.memories import engine_of
from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.store.outbox import Outbox


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_process_that_is_killed_while_it_asks_loses_no_answer_that_it_gave(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/memory.db"
    if kind == "redis":
        url = request.getfixturevalue("redis_doors").url + "?deadline=30"
    outbox = tmp_path / "outbox.db"
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.support.askers", "vist2_memory.store.redis"])
    namespace = f"asked {time.time_ns()}"
    waited = 0
    kills = -(-request.config.getoption("--kills") // 2)
    for run in range(10 * kills):
        if run >= kills and waited:
            break
        reader, writer = processes.Pipe(duplex=False)
        name = str(run)
        asking = processes.Process(
            target=ask_on_and_on, args=(url, outbox, namespace, name, writer)
        )
        asking.start()
        writer.close()
        assert reader.poll(60), "the process did not start"
        time.sleep(random.random() * 0.3)
        asking.kill()
        asking.join()
        assert asking.exitcode == -9, "the process ended by itself"
        acknowledged = 0
        while True:
            try:
                acknowledged = reader.recv() + 1
            except EOFError:
                break
        reader.close()
        waited += len(Outbox(outbox).entries())
        with VisualMemory.open(
            url, model=PlainEngine(), namespace=namespace, outbox=outbox
        ) as memory:
            assert Outbox(outbox).entries() == []
            done = check_answers(memory, name, acknowledged)
            # Another process takes up the turn that was broken off.
            engine_of(memory).answers = deque([ANSWER.format(done)])
            memory.session(name).ask(QUESTION.format(done), turn=str(done))
            assert check_answers(memory, name, done + 1) == done + 1
            assert memory.session(name).delete().messages == 2 * done + 2
            assert memory.sessions() == []
    assert waited > 0  # else the outbox was not tried
