"""Tensors of every store: what was put is what is got."""

from __future__ import annotations

from tests.support.backends import Backend, Redis, say


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


def test_the_tensors_that_are_there_are_listed(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    assert store.tensor_ids(scope) == {}
    store.append(scope, [say(1)])
    assert store.tensor_ids(scope) == {}
    store.put_many(scope, "f:1", {"b": b"1", "a:%é": b"2"})
    store.put_many(scope, "f2", {"c": b"3"})
    store.put_many(backend.scope("other"), "f3", {"d": b"4"})

    def names(*chunks: str) -> list[str]:
        return sorted(store.listed_as(scope, chunk)[0] for chunk in chunks)

    found = store.tensor_ids(scope)
    assert found == {"f2": names("c"), "f:1": names("a:%é", "b")}
    store.drop_many(scope, "f:1", ["b"])
    store.drop_many(scope, "f2", found["f2"])  # as they are listed
    assert store.tensor_ids(scope) == {"f:1": names("a:%é")}
    assert store.get_many(scope, "f:1", ["a:%é"]) == [b"2"]


def test_an_evicted_tensor_is_not_listed(redis_backend: Redis) -> None:
    store, scope = redis_backend.open(), redis_backend.scope()
    store.put_many(scope, "f", {"a": b"1", "b": b"2"})
    redis_backend.remove(redis_backend.keys(":t:f:a"))
    assert store.tensor_ids(scope) == {"f": ["b"]}
