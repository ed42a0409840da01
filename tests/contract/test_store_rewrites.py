"""Rewriting a log: in one step, only as it was seen, once, and noticed by everybody."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.support.backends import Backend, Redis, SQLite, say
from vist2_memory.errors import ConflictError, InvalidMessageError, StoreFormatError
from vist2_memory.store import Deleted
from vist2_memory.store.base import Snapshot

FULL = replace(say("new"), payload={"a": [1]}, cuts=(3, 9), layout="v1", time=1_700_000_000.25)


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
@pytest.mark.parametrize("new", [[], [FULL], [say(3), say(2, "Changed."), FULL, say(9)]])
def test_the_end_of_a_log_is_replaced(backend: Backend, keep: int, new: list) -> None:
    store, scope = backend.open(), backend.scope()
    old = [say(1), say(2), say(3)]
    new = [message for message in new if message.id not in {m.id for m in old[:keep]}]
    store.append(scope, old)
    wanted = old[:keep] + new
    assert store.rewrite(scope, keep, new, expected=3, last="m3", revision=0) == len(wanted)
    assert backend.open().snapshot(scope) == Snapshot(wanted, 1)
    assert (store.count(scope), store.read(scope, 1)) == (len(wanted), wanted[1:])
    listed = [(info.scope, info.messages) for info in store.scopes(scope.namespace, "session")]
    assert listed == ([(scope, len(wanted))] if wanted else [])
    # It goes on as any log does; an id that left may come again.
    for number in (1, 2, 3, 4):
        if all(message.id != f"m{number}" for message in wanted):
            wanted.append(say(number, "Said again."))
            assert store.append(scope, [wanted[-1]], expected=len(wanted) - 1) == len(wanted)
    assert store.snapshot(scope) == Snapshot(wanted, 1)
    last = wanted[-1].id
    store.rewrite(scope, 1, [say("z")], expected=len(wanted), last=last, revision=1)
    assert store.snapshot(scope, after=1) == Snapshot([say("z")], 2)
    assert store.delete(scope) == Deleted(messages=2)
    assert backend.leftovers() == []
    assert store.snapshot(scope) == Snapshot([], 0)


def test_a_log_that_was_emptied_is_empty_and_keeps_its_revision(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [say(1)])
    assert store.rewrite(scope, 0, [], expected=1, last="m1", revision=0) == 0
    assert (store.snapshot(scope), store.count(scope)) == (Snapshot([], 1), 0)
    assert store.append(scope, []) == 0
    with pytest.raises(ConflictError):
        store.append(scope, [say(1)], expected=0, revision=0)
    assert store.append(scope, [say(1)], expected=0, revision=1) == 1
    store.rewrite(scope, 0, [], expected=1, last="m1", revision=1)
    assert store.delete(scope) == Deleted()
    assert backend.leftovers() == []


def test_only_a_log_that_is_as_it_was_seen_is_rewritten(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    with pytest.raises(ConflictError, match="holds 0 messages, not 2"):
        store.rewrite(scope, 0, [say(7)], expected=2, last="m2", revision=0)
    assert backend.leftovers() == []
    store.append(scope, [say(1), say(2)])
    store.rewrite(scope, 1, [say(2, "Changed.")], expected=2, last="m2", revision=0)
    for expected, last, revision in (
        (1, "m1", 1),
        (3, "m2", 1),
        (2, "m1", 1),
        (2, "other", 1),
        (2, "m2", 0),
        (2, "m2", 2),
    ):
        for keep in (0, 1):
            with pytest.raises(ConflictError):
                store.rewrite(
                    scope, keep, [say(7)], expected=expected, last=last, revision=revision
                )
    assert store.snapshot(scope) == Snapshot([say(1), say(2, "Changed.")], 1)


def test_what_was_cut_for_another_revision_is_not_appended(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [say(1), say(2)], revision=0)
    store.rewrite(scope, 0, [say(1, "Changed."), say(2)], expected=2, last="m2", revision=0)
    for messages in ([say(3)], [say(2), say(3)], []):
        with pytest.raises(ConflictError, match="at revision 1, not 0"):
            store.append(scope, messages, expected=2, revision=0)
    assert store.append(scope, [say(2)], expected=1, revision=0) == 2  # a retry
    assert store.append(scope, [say(3)], expected=2, revision=1) == 3


def test_a_rewrite_tried_again_is_done_once(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [say(1), say(2), say(3)])

    def rewrite() -> int:
        return store.rewrite(
            scope, 1, [say(4)], expected=3, last="m3", revision=0, token="undo of t1"
        )

    assert (rewrite(), rewrite()) == (2, 2)
    store.append(scope, [say(5)])
    assert rewrite() == 3
    assert store.snapshot(scope) == Snapshot([say(1), say(4), say(5)], 1)
    store.rewrite(scope, 1, [], expected=3, last="m5", revision=1, token="another")
    with pytest.raises(ConflictError):
        rewrite()
    store.rewrite(scope, 0, [say(1), say(2), say(3)], expected=1, last="m1", revision=2)
    with pytest.raises(ConflictError):  # the same messages again, but not the same log
        rewrite()


@pytest.mark.parametrize(
    "bad",
    [
        [say(1)],
        [say(4), say(2, "Changed.")],
        [say(4), say(4)],
        [replace(say(4), id="")],
        [replace(say(4), text="\ud800")],
    ],
    ids=["kept", "kept and changed", "twice", "no id", "no text"],
)
def test_a_rewrite_that_cannot_be_written_changes_nothing(backend: Backend, bad: list) -> None:
    store, scope = backend.open(), backend.scope()
    before = [say(1), say(2), say(3)]
    store.append(scope, before)
    with pytest.raises(InvalidMessageError):
        store.rewrite(scope, 2, bad, expected=3, last="m3", revision=0)
    assert store.snapshot(scope) == Snapshot(before, 0)


@pytest.mark.parametrize(
    ("keep", "expected", "revision"), [(-1, 2, 0), (3, 2, 0), (0, 0, 0), (1, 2, -1)]
)
def test_a_rewrite_that_means_nothing_is_refused(
    backend: Backend, keep: int, expected: int, revision: int
) -> None:
    with pytest.raises(ValueError, match=r"(keep|revision)=-?\d"):
        backend.open().rewrite(
            backend.scope(), keep, [], expected=expected, last="m", revision=revision
        )


def test_tensors_and_time_to_live_outlast_a_rewrite(backend: Backend) -> None:
    store, scope = backend.open(ttl=60), backend.scope()
    store.append(scope, [say(1), say(2)])
    store.put_many(scope, "f", {"a": b"1", "b": b"2"})
    store.rewrite(scope, 1, [], expected=2, last="m2", revision=0)
    assert store.get_many(scope, "f", ["a", "b"]) == [b"1", b"2"]
    store.rewrite(scope, 0, [say(4)], expected=1, last="m1", revision=1)
    if isinstance(backend, Redis):
        assert all(0 < backend.client.pttl(k) <= 60_000 for k in backend.keys("session*"))
    else:
        backend.now += 61
        assert store.snapshot(scope) == Snapshot([], 0)


def test_rewriting_races_appending_and_nothing_is_lost_or_doubled(backend: Backend) -> None:
    """Each writer appends its own; one keeps changing the text of what it finds in the middle."""
    scope, writers, each = backend.scope(), 3, 12
    stores = [backend.open() for _ in range(writers + 1)]
    stores[0].append(scope, [say("first")])

    def write(writer: int) -> None:
        for n in range(each):
            stores[writer].append(scope, [say(f"{writer}-{n}")])

    def edit(number: int) -> None:
        while True:
            log = stores[-1].snapshot(scope)
            seen, place = len(log.messages), number % len(log.messages)
            new = [replace(log.messages[place], text=f"edit {number}"), *log.messages[place + 1 :]]
            try:
                stores[-1].rewrite(
                    scope, place, new, expected=seen, last=log.messages[-1].id,
                    revision=log.revision,
                )  # fmt: skip
            except ConflictError:
                continue
            assert stores[-1].snapshot(scope, place).messages[0].text == f"edit {number}"
            return

    with ThreadPoolExecutor(writers + 1) as pool:
        running = [pool.submit(write, writer) for writer in range(writers)]
        edits = 0
        while not all(future.done() for future in running) or edits < 5:
            edit(edits)
            edits += 1
        for future in running:
            future.result()
    log = stores[0].snapshot(scope)
    ids = [message.id for message in log.messages]
    assert len(ids) == len(set(ids)) == writers * each + 1
    for writer in range(writers):
        mine = [i for i in ids if i.startswith(f"m{writer}-")]
        assert mine == [f"m{writer}-{n}" for n in range(each)]
    assert log.revision == edits
    assert any(message.text.startswith("edit") for message in log.messages)


def test_of_two_who_rewrite_what_they_saw_none_overwrites_the_other(backend: Backend) -> None:
    scope, writers, each = backend.scope(), 3, 10
    stores = [backend.open() for _ in range(writers)]
    stores[0].append(scope, [say(1, ""), say(2)])

    def add(writer: int) -> None:
        done = 0
        while done < each:
            log = stores[writer].snapshot(scope)
            new = [replace(log.messages[0], text=log.messages[0].text + str(writer)), say(2)]
            try:
                stores[writer].rewrite(scope, 0, new, expected=2, last="m2", revision=log.revision)
            except ConflictError:
                continue
            done += 1

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(add, range(writers)))
    log = stores[0].snapshot(scope)
    assert sorted(log.messages[0].text) == sorted("012" * each)
    assert (len(log.messages), log.revision) == (2, writers * each)


# Layouts


def test_a_log_of_the_first_layout_is_read_and_goes_on(redis_backend: Redis) -> None:
    scope, client = redis_backend.scope(), redis_backend.client
    tag = f"vist2:{{{scope.key}}}:"
    for n in (1, 2):
        data = {
            "v": 1, "id": f"m{n}", "turn": f"t{n}", "role": "user", "text": say(n).text,
            "time": 1.5, "payload": {}, "cuts": [], "layout": "",
        }  # fmt: skip
        client.xadd(tag + "log", {"m": json.dumps(data)}, id=f"{n}-0")
        client.hset(tag + "ids", f"m{n}", "digest")
    meta = {"v": 1, "count": 2, "created": 1000, "updated": 1000, "ttl": 0}
    client.hset(tag + "meta", mapping=meta)
    client.hset(f"vist2:{{{scope.key.split('/')[0]}}}:scopes", scope.key, "kept")
    store = redis_backend.open()
    assert store.snapshot(scope) == Snapshot([say(1), say(2)], 0)
    assert client.hget(tag + "meta", "v") == b"1"  # reading leaves it to earlier releases too
    assert store.append(scope, [say(3)], expected=2, revision=0) == 3
    assert client.hget(tag + "meta", "v") == b"2"
    store.rewrite(scope, 1, [say(2, "Changed.")], expected=3, last="m3", revision=0)
    assert store.snapshot(scope) == Snapshot([say(1), say(2, "Changed.")], 1)
    client.hset(tag + "meta", "v", 3)
    for call in (
        lambda: store.snapshot(scope),
        lambda: store.append(scope, [say(4)]),
        lambda: store.rewrite(scope, 0, [], expected=2, last="m2", revision=1),
    ):
        with pytest.raises(StoreFormatError, match="layout version 3; this release reads 1 to 2"):
            call()
    assert client.xlen(tag + "log") == 2


FIRST_SCHEMA = """
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, messages INTEGER NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL, expires REAL);
CREATE INDEX ends ON scopes (expires) WHERE expires IS NOT NULL;
CREATE TABLE messages (
    scope INTEGER NOT NULL REFERENCES scopes ON DELETE CASCADE, position INTEGER NOT NULL,
    id BLOB NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (scope, position), UNIQUE (scope, id));
CREATE TABLE tensors (
    scope INTEGER NOT NULL REFERENCES scopes ON DELETE CASCADE, fingerprint TEXT NOT NULL,
    chunk TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (scope, fingerprint, chunk));
PRAGMA application_id=1447646036;
PRAGMA user_version=1
"""


def test_a_file_of_the_first_schema_is_brought_up_to_date(sqlite_backend: SQLite) -> None:
    scope = sqlite_backend.scope()
    data = json.dumps(
        {
            "v": 1, "id": "m1", "turn": "t1", "role": "user", "text": say(1).text,
            "time": 1.5, "payload": {}, "cuts": [], "layout": "",
        }
    ).encode()  # fmt: skip
    for statement in (
        *FIRST_SCHEMA.split(";"),
        f"INSERT INTO scopes VALUES (1, '{scope.key}', 1, 5.0, 6.0, NULL)",
        f"INSERT INTO messages VALUES (1, 1, x'6d31', x'00', x'{data.hex()}')",
    ):
        sqlite_backend.execute(statement)
    for _ in range(2):
        assert sqlite_backend.open().snapshot(scope) == Snapshot([say(1)], 0)
        assert sqlite_backend.execute("PRAGMA user_version") == [(2,)]
    store = sqlite_backend.open()
    assert store.rewrite(scope, 1, [say(2)], expected=1, last="m1", revision=0) == 2
    assert sqlite_backend.open().snapshot(scope) == Snapshot([say(1), say(2)], 1)
    [info] = store.scopes(scope.namespace, "session")
    assert info.created == 5.0
