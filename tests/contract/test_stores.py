"""One suite for every store: what `vist2_memory.store.base` promises, against the real thing."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from vist2_memory.errors import (
    ConflictError,
    InvalidMessageError,
    LogLostError,
    StoreFormatError,
    StoreUnavailableError,
)
from vist2_memory.store import Deleted, InMemoryStore, Scope, Store
from vist2_memory.store.redis import RedisStore
from vist2_memory.store.sqlite import SQLiteStore
from vist2_memory.types import Message

HOSTILE = [
    "a", "A", "a/b", "a:b", "a}b", "{a}", "{", "*", "?", "[a-z]", "%2F", "%252F", "a b", "..", "~",
    "a\0b", "a\n", "é", "e\u0301", "猫", "🐈", "session/a", "log", "'; DROP TABLE scopes; --",
    "x" * 1024,
]  # fmt: skip


class Backend:
    """One place to store; every `open` is another client of it."""

    def __init__(self) -> None:
        self.namespace = f"test {uuid.uuid4().hex}"
        self.now = 1_700_000_000.0
        self._opened: list[Store] = []

    def scope(self, name: str = "cats") -> Scope:
        return Scope(self.namespace, "session", name)

    def open(self, ttl: int | None = None) -> Store:
        store = self._open(ttl)
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()

    def _open(self, ttl: int | None) -> Store:
        raise NotImplementedError

    def leftovers(self) -> list[str]:
        """All that is stored of this test's namespace, in any form."""
        raise NotImplementedError


class InMemory(Backend):
    def __init__(self) -> None:
        super().__init__()
        self.store = InMemoryStore(clock=lambda: self.now)

    def _open(self, ttl: int | None) -> Store:
        self.store.ttl = ttl
        return self.store

    def leftovers(self) -> list[str]:
        return [str(scope) for scope in self.store._shelves]


class SQLite(Backend):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _open(self, ttl: int | None) -> Store:
        return SQLiteStore(self.path, ttl=ttl, clock=lambda: self.now)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def leftovers(self) -> list[str]:
        return [
            f"{table}: {row}"
            for table in ("scopes", "messages", "tensors")
            for row in self.execute(f"SELECT * FROM {table}")
        ]


class Redis(Backend):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.client = redis.Redis.from_url(url)

    def _open(self, ttl: int | None) -> Store:
        return RedisStore.from_url(self.url, ttl=ttl)

    def keys(self, part: str = "") -> list[bytes]:
        tag = self.namespace.replace(" ", "%20")
        return sorted(self.client.scan_iter(match=f"*{tag}*{part}", count=1000))

    def leftovers(self) -> list[str]:
        return [key.decode() for key in self.keys()]

    def close(self) -> None:
        super().close()
        keys = self.keys()
        if keys:
            self.client.delete(*keys)
        self.client.close()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    made: Backend
    if request.param == "memory":
        made = InMemory()
    elif request.param == "sqlite":
        made = SQLite(tmp_path / "memory.db")
    else:
        made = Redis(request.getfixturevalue("redis_url"))
    yield made
    made.close()


@pytest.fixture
def sqlite_backend(tmp_path: Path) -> Iterator[SQLite]:
    made = SQLite(tmp_path / "memory.db")
    yield made
    made.close()


@pytest.fixture
def redis_backend(redis_url: str) -> Iterator[Redis]:
    made = Redis(redis_url)
    yield made
    made.close()


def say(number: int | str, text: str = "My cat is called Miso.") -> Message:
    return Message("user", text, id=f"m{number}", turn=f"t{number}", time=1.5)


# --------------------------------------------------------------------------------------- the log


def test_reads_what_was_appended_in_order_and_verbatim(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    full = Message(
        "assistant",
        "Ein Text.",
        id="id",
        turn="turn",
        time=1_700_000_000.123456,
        payload={"name": "find", "args": {"z": [1, 2.5, None, True], "a": "é\0"}},
        cuts=(3, 9),
        layout="v1",
    )
    messages = [say(1), full, Message("document", "A page.", id="d"), say(2)]
    assert store.append(scope, messages[:1]) == 1
    assert store.append(scope, messages[1:]) == 4
    assert store.read(scope) == messages
    assert [store.read(scope, after) for after in (1, 3, 4, 9)] == [
        messages[1:],
        messages[3:],
        [],
        [],
    ]
    assert store.count(scope) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "nul \0 in \0 it",
        "猫 🐈‍⬛ é é \u2028 \x7f",
        '"\\u0000\\" \'{}%s*',
        "A cat. " * 600_000,
    ],
    ids=["empty", "blank", "nul", "unicode", "quotes", "large"],
)
def test_text_is_stored_exactly(backend: Backend, text: str) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [Message("user", text, id=text[:9] + "id", payload={text[:9]: text[:9]})])
    [message] = backend.open().read(scope)
    assert message.text == text
    assert (message.id, message.payload) == (text[:9] + "id", {text[:9]: text[:9]})


def test_a_scope_that_is_not_there_is_empty(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    assert (store.read(scope), store.count(scope), store.delete(scope)) == ([], 0, Deleted())
    assert store.append(scope, []) == 0
    assert store.scopes(backend.namespace, "session") == []
    assert backend.leftovers() == []


def test_appending_again_doubles_nothing(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [say(1), say(2)])
    later = Message("user", say(1).text, id="m1", turn="t1", time=99.0, cuts=(4,), layout="v2")
    assert store.append(scope, [later, say(2)]) == 2
    assert store.append(scope, [say(2), say(3)]) == 3
    assert store.read(scope) == [say(1), say(2), say(3)]


@pytest.mark.parametrize(
    "changed",
    [
        Message("user", "Other text.", id="m1", turn="t1"),
        Message("assistant", say(1).text, id="m1", turn="t1"),
        Message("user", say(1).text, id="m1", turn="t2"),
        Message("user", say(1).text, id="m1", turn="t1", payload={"a": 1}),
    ],
    ids=["text", "role", "turn", "payload"],
)
def test_an_id_never_changes_its_message(backend: Backend, changed: Message) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [say(1)])
    with pytest.raises(ConflictError, match="'m1'"):
        store.append(scope, [say(2), changed, say(3)])
    assert store.read(scope) == [say(1)]


def test_expected_is_what_the_caller_has_seen(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    assert store.append(scope, [say(1), say(2)], expected=0) == 2
    for wrong in (0, 1, 3):
        with pytest.raises(ConflictError, match=f"holds 2 messages, not {wrong}"):
            store.append(scope, [say(3)], expected=wrong)
        with pytest.raises(ConflictError):
            store.append(scope, [], expected=wrong)
        with pytest.raises(ConflictError):
            store.append(scope, [say(2), say(3)], expected=wrong)
    assert store.append(scope, [say(1), say(2)], expected=0) == 2  # a retry after a lost reply
    assert store.append(scope, [], expected=2) == 2
    assert store.append(scope, [say(3)], expected=2) == 3
    assert store.read(scope) == [say(1), say(2), say(3)]


def test_expected_of_a_scope_that_is_not_there_writes_nothing(backend: Backend) -> None:
    with pytest.raises(ConflictError, match="holds 0 messages, not 2"):
        backend.open().append(backend.scope(), [say(1)], expected=2)
    assert backend.leftovers() == []


@pytest.mark.parametrize(
    "bad",
    [
        Message("user", "no id"),
        Message("user", "x", id="i" * 1025),
        Message("wizard", "x", id="b"),  # type: ignore[arg-type]
        Message("user", "lone \ud800 surrogate", id="b"),
        Message("user", "x", id="\udfff"),
        Message("user", "x", id="b", time=float("nan")),
        Message("user", "x", id="b", payload={"f": float("inf")}),
        Message("user", "x", id="b", payload={"f": object()}),
        Message("user", b"bytes", id="b"),  # type: ignore[arg-type]
        Message("user", "x", id="b", cuts=(1.5,)),  # type: ignore[arg-type]
        say(1, "the same id again"),
    ],
)
def test_what_cannot_be_written_down_is_refused_as_a_whole(backend: Backend, bad: Message) -> None:
    store, scope = backend.open(), backend.scope()
    with pytest.raises(InvalidMessageError):
        store.append(scope, [say(1), bad])
    assert backend.leftovers() == []


def test_after_is_not_negative(backend: Backend) -> None:
    with pytest.raises(ValueError, match="after=-1"):
        backend.open().read(backend.scope(), after=-1)


# ---------------------------------------------------------------------------------------- scopes


def test_hostile_names_never_mix(backend: Backend) -> None:
    store = backend.open()
    scopes = [Scope(backend.namespace, "session", name) for name in HOSTILE]
    scopes += [Scope(backend.namespace, "collection", name) for name in HOSTILE]
    for number, scope in enumerate(scopes):
        store.append(scope, [say(number)])
        store.put_many(scope, "f", {"c": b"%d" % number})
    for number, scope in enumerate(scopes):
        assert store.read(scope) == [say(number)]
        assert store.get_many(scope, "f", ["c"]) == [b"%d" % number]
    listed = store.scopes(backend.namespace, "session")
    assert [info.scope.name for info in listed] == sorted(HOSTILE)
    assert {info.messages for info in listed} == {1}
    random.Random(5).shuffle(scopes)
    for left, scope in enumerate(scopes, start=1):
        assert store.delete(scope) == Deleted(messages=1, chunks=1, tensors=1)
        rest = [
            s for kind in ("session", "collection") for s in store.scopes(scope.namespace, kind)
        ]
        assert len(rest) == len(scopes) - left
    assert backend.leftovers() == []


def test_hostile_namespaces_never_mix(backend: Backend) -> None:
    store = backend.open()
    scopes = [Scope((backend.namespace + name)[:1024], "session", "s") for name in HOSTILE]
    for number, scope in enumerate(scopes):
        store.append(scope, [say(number)])
    for number, scope in enumerate(scopes):
        assert [info.scope for info in store.scopes(scope.namespace, "session")] == [scope]
        assert store.read(scope) == [say(number)]
        store.delete(scope)
    assert backend.leftovers() == []


def test_hostile_fingerprints_and_chunk_ids_never_mix(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    ids = ["a", "a:b", "b", ":", "a:", "*", "{", "%3A", "é"]
    for fingerprint in ids:
        store.put_many(scope, fingerprint, {c: f"{fingerprint} {c}".encode() for c in ids})
    for fingerprint in ids:
        expected = [f"{fingerprint} {c}".encode() for c in ids]
        assert store.get_many(scope, fingerprint, ids) == expected
    assert store.delete(scope) == Deleted(messages=0, chunks=len(ids), tensors=len(ids) ** 2)
    assert backend.leftovers() == []


def test_scopes_says_when(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [say(1)])
    store.put_many(backend.scope("tensors only"), "f", {"c": b"1"})
    [info] = store.scopes(backend.namespace, "session")
    assert (info.scope, info.messages) == (scope, 1)
    assert 1_600_000_000 < info.created <= info.updated <= time.time() + 1
    assert store.scopes(backend.namespace, "collection") == []
    assert store.scopes("another", "session") == []


def test_delete_counts_exactly_and_leaves_nothing(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [say(n) for n in range(5)])
    store.put_many(scope, "f1", {"a": b"1", "b": b"2", "c": b"3"})
    store.put_many(scope, "f2", {"a": b"4", "d": b"5"})
    store.drop_many(scope, "f1", ["b"])
    store.append(backend.scope("other"), [say(1)])
    assert store.delete(scope) == Deleted(messages=5, chunks=3, tensors=4)
    assert store.read(scope) == []
    assert store.get_many(scope, "f1", ["a"]) == [None]
    assert store.read(backend.scope("other")) == [say(1)]
    store.delete(backend.scope("other"))
    assert backend.leftovers() == []
    assert store.append(scope, [say(9)], expected=0) == 1
    assert store.read(scope) == [say(9)]


# --------------------------------------------------------------------------------------- tensors


def test_tensors_are_put_got_and_dropped(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    assert store.get_many(scope, "f", ["a", "b"]) == [None, None]
    store.put_many(scope, "f", {"a": b"\0\xff one", "b": b""})
    store.put_many(scope, "f", {})
    assert store.get_many(scope, "f", ["b", "x", "a", "b"]) == [b"", None, b"\0\xff one", b""]
    assert store.get_many(scope, "f", []) == []
    assert store.get_many(scope, "other", ["a"]) == [None]
    assert store.get_many(backend.scope("other"), "f", ["a"]) == [None]
    store.put_many(scope, "f", {"a": b"two"})
    assert store.drop_many(scope, "f", ["b", "x"]) == 1
    assert store.drop_many(scope, "f", []) == 0
    assert store.get_many(scope, "f", ["a", "b"]) == [b"two", None]


def test_many_and_large_tensors(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    items = {f"c{n}": bytes([n % 256]) * (n * 40) for n in range(1000)}  # 20 MB, several batches
    store.put_many(scope, "f", items)
    asked = [f"c{n}" for n in range(0, 1200)]
    assert store.get_many(scope, "f", asked) == [items.get(chunk) for chunk in asked]
    assert store.delete(scope).tensors == 1000


# ------------------------------------------------------------------------------------- life cycle


@pytest.mark.parametrize("name", ["sqlite", "redis"])
def test_reopening_finds_everything(name: str, request: pytest.FixtureRequest) -> None:
    backend: Backend = request.getfixturevalue(f"{name}_backend")
    with backend.open() as store:
        store.append(backend.scope(), [say(1), say(2)])
        store.put_many(backend.scope(), "f", {"c": b"1"})
    store = backend.open()
    assert store.read(backend.scope()) == [say(1), say(2)]
    assert store.get_many(backend.scope(), "f", ["c"]) == [b"1"]
    assert store.append(backend.scope(), [say(2), say(3)]) == 3


def test_a_closed_store_says_so(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    store.close()
    store.close()
    calls: list[Callable[[], object]] = [
        lambda: store.append(scope, [say(1)]),
        lambda: store.read(scope),
        lambda: store.get_many(scope, "f", ["c"]),
        lambda: store.scopes(backend.namespace, "session"),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailableError, match="closed"):
            call()


@pytest.mark.parametrize("ttl", [0, -1, 1.5, True, "60"])
def test_a_bad_ttl_is_refused(backend: Backend, ttl: int) -> None:
    make = InMemoryStore if isinstance(backend, InMemory) else backend.open
    with pytest.raises(ValueError, match="ttl="):
        make(ttl=ttl)


@pytest.mark.parametrize("use", ["read", "count", "get", "put", "append", "retry"])
@pytest.mark.parametrize("kind", [InMemory, SQLite])
def test_a_scope_ends_as_a_whole_after_its_last_use(
    kind: type[Backend], use: str, tmp_path: Path
) -> None:
    backend = SQLite(tmp_path / "memory.db") if kind is SQLite else InMemory()
    store, scope = backend.open(ttl=100), backend.scope()
    store.append(scope, [say(1)])
    store.put_many(scope, "f", {"c": b"1"})
    uses: dict[str, Callable[[], object]] = {
        "read": lambda: store.read(scope),
        "count": lambda: store.count(scope),
        "get": lambda: store.get_many(scope, "f", ["c"]),
        "put": lambda: store.put_many(scope, "f", {"d": b"2"}),
        "append": lambda: store.append(scope, [say(2)]),
        "retry": lambda: store.append(scope, [say(1)]),
    }
    for _ in range(3):
        backend.now += 60
        uses[use]()
    backend.now += 99
    assert len(store.scopes(backend.namespace, "session")) == 1
    backend.now += 1
    assert store.scopes(backend.namespace, "session") == []
    assert (store.read(scope), store.get_many(scope, "f", ["c"])) == ([], [None])
    assert store.append(scope, [say(3)], expected=0) == 1
    assert store.get_many(scope, "f", ["c"]) == [None]
    backend.close()


def test_redis_keys_end_together_and_use_puts_it_off(redis_backend: Redis) -> None:
    client, scope = redis_backend.client, redis_backend.scope()
    store = redis_backend.open(ttl=100)
    store.append(scope, [say(1)])
    store.put_many(scope, "f", {"c": b"1"})
    keys = redis_backend.keys("session*")
    assert len(keys) == 5
    log = [key for key in keys if key.endswith((b":log", b":meta", b":ids"))]

    def shorten() -> None:
        for key in keys:
            assert client.pttl(key) > 90_000
            client.pexpire(key, 50_000)

    for use in (lambda: store.read(scope), lambda: store.append(scope, [say(2)])):
        shorten()
        use()
        assert len({client.execute_command("PEXPIRETIME", key) for key in log}) == 1
        assert min(client.pttl(key) for key in log) > 90_000
        store.get_many(scope, "f", ["c"])
    shorten()
    store.get_many(scope, "f", ["c"])
    shorten()
    store.put_many(scope, "f", {"c": b"2"})
    shorten()
    for key in keys:
        client.pexpire(key, 1)
    time.sleep(0.05)
    assert (store.read(scope), store.get_many(scope, "f", ["c"])) == ([], [None])
    assert store.scopes(redis_backend.namespace, "session") == []
    assert redis_backend.leftovers() == []
    assert store.append(scope, [say(5)], expected=0) == 1


def test_a_log_appended_to_without_ttl_is_kept(backend: Backend) -> None:
    scope = backend.scope()
    backend.open(ttl=100).append(scope, [say(1)])
    backend.open().append(scope, [say(2)])
    backend.open(ttl=100).read(scope)
    if isinstance(backend, Redis):
        assert {backend.client.ttl(key) for key in backend.keys("session*")} == {-1}
        backend.client.delete(*backend.keys("session*"))
        with pytest.raises(LogLostError):
            backend.open().read(scope)
        return
    backend.now += 1000
    assert backend.open().read(scope) == [say(1), say(2)]


# -------------------------------------------------------------------------------------- lost logs


def assert_lost(store: Store, scope: Scope) -> None:
    for call in (
        lambda: store.read(scope),
        lambda: store.read(scope, after=1),
        lambda: store.count(scope),
        lambda: store.append(scope, [say(9)]),
        lambda: store.append(scope, [say(1)], expected=0),
    ):
        with pytest.raises(LogLostError, match="session/cats"):
            call()
    assert [info.scope for info in store.scopes(scope.namespace, "session")] == [scope]
    store.delete(scope)
    assert (store.read(scope), store.append(scope, [say(1)], expected=0)) == ([], 1)
    store.delete(scope)


@pytest.mark.parametrize(
    "damage",
    [
        ("XDEL", "log", "1-0"),
        ("XDEL", "log", "2-0"),
        ("XDEL", "log", "3-0"),
        ("XTRIM", "log", "MAXLEN", "1"),
        ("DEL", "log"),
        ("DEL", "ids"),
        ("DEL", "meta"),
        ("HDEL", "ids", "m2"),
        ("everything",),
    ],
    ids=" ".join,
)
def test_a_damaged_redis_log_is_never_a_fresh_one(
    redis_backend: Redis, damage: tuple[str, ...]
) -> None:
    store, scope = redis_backend.open(), redis_backend.scope()
    store.append(scope, [say(1), say(2), say(3)])
    if damage == ("everything",):
        redis_backend.client.delete(*redis_backend.keys("session*"))
    else:
        [key] = redis_backend.keys(f":{damage[1]}")
        assert redis_backend.client.execute_command(damage[0], key, *damage[2:]) != 0
    if damage == ("DEL", "meta"):  # not listed by count, but not empty either
        with pytest.raises(LogLostError):
            store.read(scope)
    assert_lost(store, scope)
    assert redis_backend.leftovers() == []


@pytest.mark.parametrize("position", [1, 2, 3, 0])
def test_a_damaged_sqlite_log_is_never_a_fresh_one(sqlite_backend: SQLite, position: int) -> None:
    store, scope = sqlite_backend.open(), sqlite_backend.scope()
    store.append(scope, [say(1), say(2), say(3)])
    sqlite_backend.execute(f"DELETE FROM messages WHERE position={position} OR {position}=0")
    assert_lost(store, scope)
    assert sqlite_backend.leftovers() == []


@pytest.mark.parametrize(
    "entry", [b"", b"\xff", b"[]", b"{}", b'{"v":2}', b'{"v":1}', b"[" * 100_000]
)
def test_an_entry_that_is_not_ours_is_named(
    sqlite_backend: SQLite, redis_backend: Redis, entry: bytes
) -> None:
    for backend in (sqlite_backend, redis_backend):
        store, scope = backend.open(), backend.scope()
        store.append(scope, [say(1), say(2)])
        if isinstance(backend, SQLite):
            backend.execute(f"UPDATE messages SET data=x'{entry.hex()}' WHERE position=2")
        else:
            [key] = redis_backend.keys(":log")
            redis_backend.client.xdel(key, "2-0")
            redis_backend.client.execute_command("XSETID", key, "1-0")
            redis_backend.client.xadd(key, {"m": entry}, id="2-0")
        with pytest.raises(StoreFormatError, match=r"entry 2 of test%20\w+/session/cats"):
            store.read(scope)


# ---------------------------------------------------------------------------------------- writers


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
