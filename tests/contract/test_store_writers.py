"""Several threads and processes on one store."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.backends import Backend, say
from vist2_memory.errors import ConflictError
from vist2_memory.store import Scope
from vist2_memory.store.sqlite import SQLiteStore


def test_several_writers_lose_and_double_nothing(backend: Backend) -> None:
    scope, writers, each = backend.scope(), 4, 15
    stores = [backend.open() for _ in range(writers)]
    barrier = threading.Barrier(writers)

    def write(writer: int) -> None:
        barrier.wait()
        for n in range(each):
            pair = [say(f"{writer}-{n}-q"), say(f"{writer}-{n}-a")]
            stores[writer].append(scope, pair)
            stores[writer].append(scope, pair)  # as after a lost reply

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    ids = [message.id for message in stores[0].read(scope)]
    assert len(ids) == len(set(ids)) == writers * each * 2
    for writer in range(writers):
        mine = [i for i in ids if i.startswith(f"m{writer}-")]
        assert mine == [f"m{writer}-{n}-{part}" for n in range(each) for part in "qa"]
    assert all(q[:-1] == a[:-1] for q, a in zip(ids[::2], ids[1::2], strict=True))


def test_of_two_writers_who_saw_the_same_one_wins(backend: Backend) -> None:
    scope, writers = backend.scope(), 4
    stores = [backend.open() for _ in range(writers)]
    barrier = threading.Barrier(writers)

    def write(writer: int) -> bool:
        barrier.wait()
        try:
            return stores[writer].append(scope, [say(writer)], expected=0) == 1
        except ConflictError:
            return False

    with ThreadPoolExecutor(writers) as pool:
        won = list(pool.map(write, range(writers)))
    assert sum(won) == 1
    assert stores[0].read(scope) == [say(won.index(True))]


def test_deleting_while_others_write_is_never_a_lost_log(backend: Backend) -> None:
    scope, writers = backend.scope(), 3
    stores = [backend.open() for _ in range(writers + 1)]

    def write(writer: int) -> None:
        for n in range(40):
            stores[writer].append(scope, [say(f"{writer}-{n}")])
            stores[writer].put_many(scope, "f", {f"{writer}-{n}": b"1"})
            stores[writer].read(scope)

    with ThreadPoolExecutor(writers) as pool:
        running = [pool.submit(write, writer) for writer in range(writers)]
        while not all(future.done() for future in running):
            stores[-1].delete(scope)
        for future in running:
            future.result()
    stores[0].append(scope, [say("last")])
    assert [info.scope for info in stores[0].scopes(backend.namespace, "session")] == [scope]
    stores[0].delete(scope)
    assert backend.leftovers() == []


_PROCESS = """
import sys
from vist2_memory.store import Scope, open_store
from vist2_memory.types import Message

url, writer = sys.argv[1:]
with open_store(url) as store:
    for n in range(25):
        store.append(Scope("n", "session", "s"), [Message("user", str(n), id=f"{writer}-{n}")])
"""


def test_two_processes_share_one_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"  # made by both at once
    command = [sys.executable, "-c", _PROCESS, f"sqlite:///{path}"]
    processes = [
        subprocess.Popen([*command, writer], stderr=subprocess.PIPE) for writer in ("a", "b", "c")
    ]
    for process in processes:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors.decode()
    with SQLiteStore(path) as store:
        ids = [message.id for message in store.read(Scope("n", "session", "s"))]
    assert sorted(ids) == sorted(f"{writer}-{n}" for writer in "abc" for n in range(25))
    for writer in "abc":
        assert [i for i in ids if i[0] == writer] == [f"{writer}-{n}" for n in range(25)]
