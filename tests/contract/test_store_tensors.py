"""Tensors of every store: what was put is what is got."""

from __future__ import annotations

from tests.support.backends import Backend


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
