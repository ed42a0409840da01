"""A log that was damaged from outside is never taken for a whole or a fresh one."""

from __future__ import annotations

import pytest

from tests.support.backends import Redis, SQLite, say
from vist2_memory.errors import LogLostError, StoreFormatError
from vist2_memory.store import Scope, Store


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
        redis_backend.remove(redis_backend.keys("session*"))
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
