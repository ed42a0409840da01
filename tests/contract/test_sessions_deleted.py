"""A session that was deleted: nothing of it is left, in no key, row, page or file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import backend_of
from tests.support.backends import Backend, Redis
from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.errors import StoreUnavailableError

SECRET = "Xylophon-4711"
"""Stands in texts, ids and names, and is drawn; a word that nothing else says."""


@pytest.fixture(params=["sqlite", "redis", pytest.param("cluster", marks=pytest.mark.servers)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    made = backend_of(request, tmp_path)
    yield made
    made.close()


def test_of_a_deleted_session_nothing_is_left_anywhere(
    place: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place.open()
    engine = PlainEngine([f"Yes, {SECRET}. " * 20, f"No, {SECRET}."])
    memory = VisualMemory.open(
        store, model=engine, namespace=place.namespace, outbox=tmp_path / "outbox.db"
    )
    other = memory.session("other")
    other.add("user", "I stay. " * 20)
    session = memory.session(f"s {SECRET}")
    session.add("system", f"Never say {SECRET}.")
    session.ask(f"Who is {SECRET}? " * 20, turn=SECRET, payload={"about": SECRET})
    memory.collection(SECRET).add_documents([f"All about {SECRET}. " * 20])

    def away(*_: object, **__: object) -> int:
        raise StoreUnavailableError("the store is away")

    events = session.stream("And then?", turn=f"2 {SECRET}")
    next(events)
    with monkeypatch.context() as patch:
        patch.setattr(store, "append", away)
        list(events)
        assert found(place, tmp_path)
        deleted = session.delete()
    assert (deleted.messages, deleted.outbox) == (4, 1)
    assert deleted.tensors > 10
    assert memory.collection(SECRET).delete().messages == 1
    assert found(place, tmp_path) == []
    assert session.messages() == []
    assert session.chunks() == []
    assert len(other.messages()) == 1
    assert other.delete().tensors > 0
    assert place.leftovers() == []


def found(place: Backend, folder: Path) -> list[str]:
    """Where the secret stands: keys and values of a server, and all files of the test."""
    word = SECRET.encode()
    places = [
        str(path) for path in folder.rglob("*") if path.is_file() and word in path.read_bytes()
    ]
    if isinstance(place, Redis):
        for key in place.client.scan_iter(count=1000):
            if word in key or word in content(place.client, key):
                places.append(str(key))
    return places


def content(client: Any, key: bytes) -> bytes:
    """All that a key holds, in the clear."""
    match client.type(key):
        case b"string":
            return bytes(client.get(key) or b"")
        case b"hash":
            return repr(client.hgetall(key)).encode()
        case b"set":
            return repr(client.smembers(key)).encode()
        case b"stream":
            return repr(client.xrange(key)).encode()
        case b"none":  # gone since it was listed
            return b""
        case other:
            raise AssertionError(f"a key of type {other!r}")
