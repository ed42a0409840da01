"""Every store over time: opened again, closed, expired."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.backends import Backend, InMemory, Joined, Redis, SQLite, say
from vist2_memory.errors import LogLostError, StoreUnavailableError
from vist2_memory.store import InMemoryStore


def test_reopening_finds_everything(lasting_backend: Backend) -> None:
    backend = lasting_backend
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


@pytest.mark.parametrize("use", ["read", "count", "get", "touch", "put", "append", "retry"])
@pytest.mark.parametrize("kind", ["memory", "sqlite", "joined"])
def test_a_scope_ends_as_a_whole_after_its_last_use(kind: str, use: str, tmp_path: Path) -> None:
    in_file = SQLite(tmp_path / "memory.db")
    joined = Joined(in_file, InMemory())
    backend = {"memory": InMemory(), "sqlite": in_file, "joined": joined}[kind]
    store, scope = backend.open(ttl=100), backend.scope()
    store.append(scope, [say(1)])
    store.put_many(scope, "f", {"c": b"1"})
    uses: dict[str, Callable[[], object]] = {
        "read": lambda: store.read(scope),
        "count": lambda: store.count(scope),
        "get": lambda: store.get_many(scope, "f", ["c"]),
        "touch": lambda: store.touch(scope, "f", ["c"]),
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
    store.touch(scope, "f", ["c"])
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


@pytest.mark.parametrize("log_first", [True, False])
def test_tensors_end_with_their_log_whoever_writes_them(
    redis_backend: Redis, log_first: bool
) -> None:
    client, scope = redis_backend.client, redis_backend.scope()

    def left() -> list[int]:
        return [client.pttl(key) for key in redis_backend.keys("session*")]

    expires, stays = redis_backend.open(ttl=100), redis_backend.open()
    if log_first:
        expires.append(scope, [say(1)])
        stays.put_many(scope, "f", {"a": b"1"})
        expires.put_many(scope, "f", {"b": b"2"})
    else:
        stays.put_many(scope, "f", {"a": b"1"})
        stays.append(scope, [say(1)])
        expires.get_many(scope, "f", ["a"])
        expires.put_many(scope, "f", {"b": b"2"})
        assert set(left()) == {-1}  # as the log, which the one without a ttl wrote
        expires.append(scope, [say(2)])
    assert len(left()) == 6
    assert all(0 < ms <= 100_000 for ms in left())


def test_using_the_tensors_of_a_log_that_is_kept_gives_them_no_end(redis_backend: Redis) -> None:
    scope, stays = redis_backend.scope(), redis_backend.open()
    stays.append(scope, [say(1)])
    stays.put_many(scope, "f", {"a": b"1"})
    expires = redis_backend.open(ttl=100)
    expires.touch(scope, "f", ["a", "none"])
    expires.touch(scope)
    expires.get_many(scope, "f", ["a"])
    assert {redis_backend.client.pttl(key) for key in redis_backend.keys("session*")} == {-1}


@pytest.mark.parametrize("kind", [InMemory, SQLite])
@pytest.mark.parametrize("ttl", [100, None], ids=["read with", "read without"])
def test_listing_and_counting_is_no_use_and_looking_is(
    kind: type[Backend], ttl: int | None, tmp_path: Path
) -> None:
    backend = SQLite(tmp_path / "memory.db") if kind is SQLite else InMemory()
    scope = backend.scope()
    store = backend.open(ttl=100)
    store.append(scope, [say(1)])
    store.put_many(scope, "f", {"c": b"1"})
    store = backend.open(ttl=ttl)
    backend.now += 60
    store.usage(backend.namespace)
    store.scopes(backend.namespace, "session")
    if ttl is None:
        store.tensor_ids(scope)
        store.read(scope)
    backend.now += 41
    assert store.usage(backend.namespace).sessions == 0
    assert (store.read(scope), store.tensor_ids(scope)) == ([], {})
    backend.close()


def test_a_log_appended_to_without_ttl_is_kept(backend: Backend) -> None:
    scope = backend.scope()
    backend.open(ttl=100).append(scope, [say(1)])
    backend.open().append(scope, [say(2)])
    backend.open(ttl=100).read(scope)
    if isinstance(backend, Redis):
        assert {backend.client.ttl(key) for key in backend.keys("session*")} == {-1}
        backend.remove(backend.keys("session*"))
        with pytest.raises(LogLostError):
            backend.open().read(scope)
        return
    backend.now += 1000
    assert backend.open().read(scope) == [say(1), say(2)]
