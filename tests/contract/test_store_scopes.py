"""Scopes of every store: names never mix, lists are right, deleting leaves nothing."""

from __future__ import annotations

import random
import time

from tests.support.backends import Backend, say
from vist2_memory.store import Deleted, Scope

HOSTILE = [
    "a", "A", "a/b", "a:b", "a}b", "{a}", "{", "*", "?", "[a-z]", "%2F", "%252F", "a b", "..", "~",
    "a\0b", "a\n", "é", "e\u0301", "猫", "🐈", "session/a", "log", "'; DROP TABLE scopes; --",
    "x" * 1024,
]  # fmt: skip


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
        if left % 10 == 0:
            sessions = store.scopes(scope.namespace, "session")
            rest = sessions + store.scopes(scope.namespace, "collection")
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
