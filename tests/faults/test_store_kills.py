"""kill -9 of a client in the middle of its writes, and of the server."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.crashes import (
    CHUNKS,
    check_rewritten,
    check_turns,
    rewrite_always,
    turn,
    versions,
    write_turns,
)
from tests.support.redis_servers import started
from vist2_memory.errors import LogLostError, StoreUnavailableError
from vist2_memory.store import Scope, open_store

SCOPE = Scope("n", "session", "s")


def url_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder}/memory.db"
    name = "redis_cluster" if kind == "cluster" else "redis_doors"
    return str(request.getfixturevalue(name).url) + "?deadline=30"


def killed(work: Callable[..., None], url: str, namespace: str, name: str) -> int:
    """Let ``work`` write, kill it at any moment; how many writes it was told were done."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.support.crashes", "vist2_memory.store.redis"])
    reader, writer = processes.Pipe(duplex=False)
    process = processes.Process(target=work, args=(url, namespace, name, writer))
    process.start()
    writer.close()
    assert reader.poll(60), "the writer did not start"
    time.sleep(random.random() * 0.05)
    process.kill()
    process.join()
    assert process.exitcode == -9, "the writer ended by itself"
    acknowledged = 0
    while True:
        try:
            acknowledged = reader.recv() + 1
        except EOFError:
            break
    reader.close()
    return acknowledged


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind", ["sqlite", "redis", pytest.param("cluster", marks=pytest.mark.servers)]
)
def test_a_writer_that_is_killed_leaves_whole_turns_and_whole_tensors(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = url_of(kind, request, tmp_path)
    namespace = f"killed {time.time_ns()}"
    tensors = broken_off = 0
    with open_store(url) as store:
        for run in range(-(-request.config.getoption("--kills") // 3)):
            name = str(run)
            acknowledged = killed(write_turns, url, namespace, name)
            scope = Scope(namespace, "session", name)
            found = check_turns(store, scope, acknowledged)
            tensors += found
            broken_off += found < CHUNKS * store.count(scope) // 2
            # Another goes on where the one that was killed stopped, and all of it can be deleted.
            turns = store.count(scope) // 2
            assert store.append(scope, turn(turns), expected=2 * turns) == 2 * turns + 2
            assert store.delete(scope).messages == 2 * turns + 2
        assert store.scopes(namespace, "session") == []
    assert tensors > 0
    assert broken_off > 0  # else no writer was killed in the middle of a turn


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind", ["sqlite", "redis", pytest.param("cluster", marks=pytest.mark.servers)]
)
def test_a_writer_that_is_killed_while_it_rewrites_leaves_one_whole_revision(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = url_of(kind, request, tmp_path)
    namespace = f"rewritten {time.time_ns()}"
    with open_store(url) as store:
        for run in range(-(-request.config.getoption("--kills") // 6)):
            scope = Scope(namespace, "session", str(run))
            check_rewritten(store, scope, killed(rewrite_always, url, namespace, str(run)))
            store.append(scope, turn(0))
            store.delete(scope)
        assert store.scopes(namespace, "session") == []


def test_a_server_that_is_killed_has_the_rewrites_that_it_acknowledged(tmp_path: Path) -> None:
    server = started(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    with open_store(f"{server.url}?deadline=0.5") as store:
        store.append(SCOPE, versions(0))
    done = 0
    for _ in range(3):
        with open_store(server.url) as store:
            end = time.monotonic() + random.uniform(0.02, 0.2)
            while time.monotonic() < end:
                before, new = versions(done), versions(done + 1)
                last = before[-1].id
                store.rewrite(SCOPE, 0, new, expected=len(before), last=last, revision=done)
                done += 1
        server.kill()
        server.start()
        with open_store(server.url) as store:
            check_rewritten(store, SCOPE, done)
    assert done > 3
    server.stop()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_a_server_that_is_killed_has_what_it_acknowledged(fsync: str, tmp_path: Path) -> None:
    """With everysec what it handed to the system: while the disk is busy it may wait with that."""
    server = started(tmp_path, "--appendonly", "yes", "--appendfsync", fsync)
    acknowledged = 0
    with open_store(f"{server.url}?deadline=0.5") as store:
        for _ in range(3):
            end = time.monotonic() + random.uniform(0.02, 0.2)
            while time.monotonic() < end:
                acknowledged = store.append(SCOPE, turn(acknowledged // 2), expected=acknowledged)
            if fsync == "everysec":
                with redis.Redis.from_url(server.url) as client:
                    while client.info("persistence")["aof_buffer_length"]:
                        time.sleep(0.01)
            server.kill()
            with pytest.raises(StoreUnavailableError):
                store.append(SCOPE, turn(acknowledged // 2))
            server.start()
            with open_store(server.url) as again:
                assert again.count(SCOPE) == acknowledged
                check_turns(again, SCOPE, acknowledged // 2)
            while store.describe() != server.url:
                time.sleep(0.01)
    server.stop()


def test_of_a_file_cut_by_a_crash_a_prefix_is_left_or_the_loss_is_told(tmp_path: Path) -> None:
    server = started(tmp_path, "--appendonly", "yes", "--appendfsync", "everysec")
    turns = 12
    with open_store(server.url) as store:
        for number in range(turns):
            store.append(SCOPE, turn(number))
    server.kill()
    written: dict[Any, bytes] = {path: path.read_bytes() for path in tmp_path.rglob("*.aof")}
    file = max(written, key=lambda path: len(written[path]))
    lengths = set()
    for _ in range(8):
        file.write_bytes(written[file][: random.randrange(len(written[file]))])
        server.start()
        with open_store(server.url) as store:
            try:
                messages = store.read(SCOPE)
            except LogLostError:
                messages = []
            assert messages == [m for number in range(turns) for m in turn(number)][: len(messages)]
            assert len(messages) % 2 == 0
            lengths.add(len(messages))
        server.kill()
    assert len(lengths) > 1
