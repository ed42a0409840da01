"""kill -9 of a process that moves sessions: nothing is lost, and the next one does the rest."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest

from tests.support.crashes import move_sessions
from vist2_memory.memory.moving import move
from vist2_memory.store import Scope, open_store
from vist2_memory.types import Message

SESSIONS = 40


@pytest.mark.timeout(600)
@pytest.mark.parametrize("into", ["sqlite", "redis"])
def test_a_mover_that_is_killed_loses_nothing(
    into: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source_url = f"sqlite:///{tmp_path}/from.db"
    target_url = f"sqlite:///{tmp_path}/to.db"
    if into == "redis":
        target_url = request.getfixturevalue("redis_doors").url + "?deadline=30"
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.support.crashes", "vist2_memory.store.redis"])
    draw = random.Random()
    namespace = f"moved {time.time_ns()}"
    scopes = [Scope(namespace, "session", str(n)) for n in range(SESSIONS)]
    messages = [Message("user", f"Message {n}.", id=str(n), time=1.5) for n in range(5)]
    with open_store(source_url) as source, open_store(target_url) as target:
        for scope in scopes:
            source.append(scope, messages)
        kills = 0
        while source.scopes(namespace, "session"):
            reader, writer = processes.Pipe(duplex=False)
            arguments = (source_url, target_url, namespace, writer)
            process = processes.Process(target=move_sessions, args=arguments)
            process.start()
            writer.close()
            assert reader.poll(60), "the mover did not start"
            time.sleep(draw.random() * 0.03)
            process.kill()
            process.join()
            reader.close()
            kills += 1
            for scope in scopes:
                held = [source.read(scope), target.read(scope)]
                assert messages in held
                assert all(log in ([], messages) for log in held)
            if kills > 30:  # on a machine where none gets far: the rest in peace
                for info in source.scopes(namespace, "session"):
                    move(source, info.scope, target, info.scope)
        assert all(target.read(scope) == messages for scope in scopes)
        for scope in scopes:
            target.delete(scope)
