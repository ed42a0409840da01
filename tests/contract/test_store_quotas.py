"""Quotas of every store: what is counted, what is refused, what gives room back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.backends import Backend, Redis, SQLite, say
from vist2_memory.errors import ConflictError, QuotaExceededError
from vist2_memory.store import InMemoryStore, Quota, Scope, Store, StoreUsage
from vist2_memory.store.asynchronous import asynchronous
from vist2_memory.store.base import Snapshot
from vist2_memory.store.sealed import SealedStore


def size_of(backend: Backend, *numbers: int) -> int:
    """The bytes of these messages as they are stored, seals and all."""
    store: Store = InMemoryStore()
    if backend.seal is not None:
        store = SealedStore(store, backend.seal)
    for place, number in enumerate(numbers):
        store.append(backend.scope(str(place)), [say(number)])
    return store.usage(backend.namespace).bytes


def limited(backend: Backend, quota: Quota) -> Store:
    store = backend.open()
    store.limit(backend.namespace, quota)
    return store


def test_usage_counts_messages_and_bytes_of_a_namespace(backend: Backend) -> None:
    store = backend.open()
    assert store.usage(backend.namespace) == StoreUsage()
    store.append(backend.scope("a"), [say(1), say(2)])
    store.append(backend.scope("a"), [say(2), say(3)])
    store.append(backend.scope("b"), [say(1)])
    store.append(Scope(backend.namespace, "collection", "c"), [say(4)])
    store.append(Scope(backend.namespace + "/x", "session", "other"), [say(5)])
    store.put_many(backend.scope("only tensors"), "f", {"c": b"1"})
    assert store.usage(backend.namespace) == StoreUsage(5, size_of(backend, 1, 2, 3, 1, 4), 2, 1)
    store.delete(backend.scope("a"))
    store.delete(Scope(backend.namespace + "/x", "session", "other"))
    assert store.usage(backend.namespace) == StoreUsage(2, size_of(backend, 1, 4), 1, 1)
    for scope in (backend.scope("b"), Scope(backend.namespace, "collection", "c")):
        store.delete(scope)
    store.delete(backend.scope("only tensors"))
    assert store.usage(backend.namespace) == StoreUsage()
    assert backend.leftovers() == []


QUOTAS: dict[str, Callable[[Backend], Quota]] = {
    "messages": lambda backend: Quota(messages=2),
    "bytes": lambda backend: Quota(bytes=size_of(backend, 1, 2)),
    "messages of a session": lambda backend: Quota(scope_messages=2),
    "bytes of a session": lambda backend: Quota(scope_bytes=size_of(backend, 1, 2)),
}


@pytest.mark.parametrize("kind", QUOTAS)
def test_what_there_is_no_room_for_is_refused_and_nothing_is_lost(
    backend: Backend, kind: str
) -> None:
    store, scope = limited(backend, QUOTAS[kind](backend)), backend.scope()
    with pytest.raises(QuotaExceededError, match="nothing was stored"):
        store.append(scope, [say(1), say(2), say(3)])
    assert backend.leftovers() == []
    assert store.read(scope) == []
    assert store.append(scope, [say(1)]) == 1
    with pytest.raises(QuotaExceededError, match=r"holds .* and has no room for"):
        store.append(scope, [say(2), say(3)])
    assert store.append(scope, [say(1), say(2)]) == 2  # one of them was there
    for _ in range(2):
        with pytest.raises(QuotaExceededError, match=r"Delete sessions or documents, or raise"):
            store.append(scope, [say(3)])
    assert store.append(scope, [say(1), say(2)]) == 2  # a retry needs no room
    with pytest.raises(ConflictError):
        store.append(scope, [say(1, "changed")])
    assert store.read(scope) == [say(1), say(2)]
    store.limit(backend.namespace, None)
    assert store.append(scope, [say(3)]) == 3


@pytest.mark.parametrize("whole", [True, False], ids=["namespace", "session"])
def test_deleting_gives_room_back(backend: Backend, whole: bool) -> None:
    store = limited(backend, Quota(messages=2) if whole else Quota(scope_messages=2))
    store.append(backend.scope("a"), [say(1), say(2)])
    if whole:
        with pytest.raises(QuotaExceededError, match="namespace 'test"):
            store.append(backend.scope("b"), [say(1)])
    else:
        store.append(backend.scope("b"), [say(1)])
    backend.open().delete(backend.scope("a"))
    assert store.append(backend.scope("b"), [say(1), say(2)]) == 2


def test_a_quota_holds_for_its_namespace_only(backend: Backend) -> None:
    store = limited(backend, Quota(messages=0))
    with pytest.raises(QuotaExceededError):
        store.append(backend.scope(), [say(1)])
    other = Scope(backend.namespace + " other", "session", "s")
    assert store.append(other, [say(1)]) == 1
    store.delete(other)


def test_both_sides_of_a_store_keep_to_one_quota(backend: Backend) -> None:
    store, quota = backend.open(), Quota(messages=0)
    other = asynchronous(store)
    other.limit(backend.namespace, quota)
    assert store.quota(backend.namespace) == other.quota(backend.namespace) == quota
    with pytest.raises(QuotaExceededError):
        store.append(backend.scope(), [say(1)])
    store.limit(backend.namespace, None)
    assert other.quota(backend.namespace) is None


def test_what_others_stored_without_a_quota_counts(backend: Backend) -> None:
    scope = backend.scope()
    backend.open().append(scope, [say(1), say(2)])
    quota = Quota(messages=3, bytes=10_000)
    store = limited(backend, quota)
    assert store.append(scope, [say(3)]) == 3
    other = backend.open()
    other.limit(backend.namespace, None)
    other.append(backend.scope("b"), [say(1)])
    store.limit(backend.namespace, quota)
    store.usage(backend.namespace)
    with pytest.raises(QuotaExceededError, match=r"holds 4 of 3 messages"):
        store.append(scope, [say(4)])


def test_what_expired_gives_room_back(backend: Backend) -> None:
    if isinstance(backend, Redis):
        store = backend.open(ttl=100)
        store.limit(backend.namespace, Quota(messages=1))
        store.append(backend.scope("a"), [say(1)])
        backend.remove(backend.keys("session*"))  # as when they expire
    else:
        store = backend.open(ttl=100)
        store.limit(backend.namespace, Quota(messages=1))
        store.append(backend.scope("a"), [say(1)])
        backend.now += 101
    assert store.append(backend.scope("b"), [say(1)]) == 1
    assert store.usage(backend.namespace) == StoreUsage(1, size_of(backend, 1), 1, 0)


def test_several_writers_do_not_run_past_a_quota(backend: Backend) -> None:
    writers, allowed = 4, 30
    stores = [limited(backend, Quota(messages=allowed)) for _ in range(writers)]
    barrier = threading.Barrier(writers)

    def write(writer: int) -> int:
        barrier.wait()
        done = 0
        for n in range(12):
            try:
                stores[writer].append(backend.scope(str(writer)), [say(n)])
                done += 1
            except QuotaExceededError:
                pass
        return done

    with ThreadPoolExecutor(writers) as pool:
        done = sum(pool.map(write, range(writers)))
    usage = stores[0].usage(backend.namespace)
    assert usage.messages == done
    assert allowed <= done <= allowed + writers
    assert done == allowed or isinstance(backend, Redis)


@pytest.mark.parametrize("option", ["messages", "bytes", "scope_messages", "scope_bytes"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "9"])
def test_a_bad_quota_is_refused(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option}="):
        Quota(**{option: value})  # type: ignore[arg-type]


def test_deleting_only_what_was_seen(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    assert store.delete(scope, expected=0).messages == 0
    store.append(scope, [say(1), say(2)])
    for wrong in (0, 1, 3):
        with pytest.raises(ConflictError, match=f"holds 2 messages, not {wrong}"):
            store.delete(scope, expected=wrong)
    assert store.read(scope) == [say(1), say(2)]
    assert store.delete(scope, expected=2).messages == 2
    assert backend.leftovers() == []


@pytest.mark.parametrize("kind", QUOTAS)
def test_a_rewrite_that_grows_needs_room_and_one_that_shrinks_gives_it(
    backend: Backend, kind: str
) -> None:
    store, scope = limited(backend, QUOTAS[kind](backend)), backend.scope()
    store.append(scope, [say(1), say(2)])
    longer = [say(2, "My cat is called Miso, and my dog is called Rex."), say(3)]
    seen: dict[str, Any] = {"expected": 2, "last": "m2", "revision": 0}
    for keep in (1, 2):
        with pytest.raises(QuotaExceededError, match=r"holds .* and has no room for"):
            store.rewrite(scope, keep, longer[keep - 1 :], **seen)
    assert store.snapshot(scope) == Snapshot([say(1), say(2)], 0)
    assert store.rewrite(scope, 1, [say(2, "Miso.")], **seen, token="one") == 2
    assert store.rewrite(scope, 1, [say(2, "Miso.")], **seen, token="one") == 2  # its answer lost
    usage = store.usage(backend.namespace)
    assert (usage.messages, usage.bytes < size_of(backend, 1, 2)) == (2, True)
    assert store.rewrite(scope, 1, [], expected=2, last="m2", revision=1) == 1
    assert store.usage(backend.namespace) == StoreUsage(1, size_of(backend, 1), 1, 0)
    assert store.append(scope, [say(2)]) == 2
    seen |= {"revision": 2}
    store.limit(backend.namespace, Quota(messages=1, scope_bytes=1))  # passed by what is there
    assert store.rewrite(scope, 1, [], **seen) == 1
    assert store.rewrite(scope, 0, [], expected=1, last="m1", revision=3) == 0
    assert store.usage(backend.namespace) == StoreUsage()


def test_deleting_only_the_revision_that_was_seen(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    assert store.delete(scope, expected=0, revision=0).messages == 0
    store.append(scope, [say(1), say(2)])
    store.rewrite(scope, 1, [say(2, "Miso.")], expected=2, last="m2", revision=0)
    with pytest.raises(ConflictError, match="at revision 1, not 0"):
        store.delete(scope, expected=2, revision=0)
    assert store.read(scope) == [say(1), say(2, "Miso.")]
    assert store.delete(scope, expected=2, revision=1).messages == 2
    assert backend.leftovers() == []


# Each store's own


def test_a_redis_writer_that_died_takes_no_room(redis_backend: Redis) -> None:
    store = limited(redis_backend, Quota(messages=2))
    store.append(redis_backend.scope("a"), [say(1)])
    [key] = redis_backend.keys(":usage")
    dead = redis_backend.scope("dead").key
    redis_backend.client.hset(key, mapping={dead: "1 9", "#messages": 2, "#bytes": 99})
    assert store.append(redis_backend.scope("a"), [say(2)]) == 2
    with pytest.raises(QuotaExceededError):
        store.append(redis_backend.scope("a"), [say(3)])
    counts = {k: v for k, v in redis_backend.client.hgetall(key).items() if b"#" not in k}
    assert list(counts.values()) == [b"2 %d" % size_of(redis_backend, 1, 2)]


def test_a_redis_log_of_another_release_is_counted(redis_backend: Redis) -> None:
    store, scope = redis_backend.open(), redis_backend.scope()
    store.append(scope, [say(1), say(2)])
    [meta] = redis_backend.keys(":meta")
    for sized in (None, "1 5", "rubbish"):
        redis_backend.client.hdel(meta, "sized")
        if sized:
            redis_backend.client.hset(meta, "sized", sized)
        assert store.usage(redis_backend.namespace).bytes == size_of(redis_backend, 1, 2)
    redis_backend.client.hdel(meta, "sized")
    store.limit(redis_backend.namespace, Quota(scope_bytes=size_of(redis_backend, 1, 2)))
    with pytest.raises(QuotaExceededError, match="bytes"):
        store.append(scope, [say(3)])


def test_a_sqlite_file_of_an_earlier_release_is_counted(sqlite_backend: SQLite) -> None:
    store, scope = sqlite_backend.open(), sqlite_backend.scope()
    store.append(scope, [say(1), say(2)])
    for trigger in ("message_added", "message_changed", "message_removed", "scope_removed"):
        sqlite_backend.execute(f"DROP TRIGGER {trigger}")
    sqlite_backend.execute("DROP TABLE usage")
    again = sqlite_backend.open()
    assert again.usage(sqlite_backend.namespace) == StoreUsage(
        2, size_of(sqlite_backend, 1, 2), 1, 0
    )
    again.append(scope, [say(3)])
    sqlite_backend.execute("UPDATE messages SET data=x'00' WHERE position=1")
    assert again.usage(sqlite_backend.namespace).bytes == size_of(sqlite_backend, 2, 3) + 1
    sqlite_backend.execute("DELETE FROM messages WHERE position=3")
    assert again.usage(sqlite_backend.namespace).messages == 2
    again.delete(scope)
    assert sqlite_backend.execute("SELECT * FROM usage") == []
