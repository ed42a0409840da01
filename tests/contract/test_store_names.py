"""Names by the thousand, made up to be mistaken for one another: never a byte of another scope."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.conftest import backend_of
from tests.support.backends import Backend
from vist2_memory.errors import InvalidMessageError, InvalidScopeError
from vist2_memory.store import Deleted, Kind, Scope
from vist2_memory.types import Message

PIECES = st.sampled_from(
    [
        *("/", ":", "{", "}", "*", "?", "[", "]", "\\", "%", "%2F", "%25", ".", "..", "~", "#"),
        *("session", "collection", "log", "meta", "ids", "tensors", "t", "scopes", "vist2", "f"),
        *(
            "'",
            '"',
            ";",
            "--",
            "_",
            " ",
            "\0",
            "\n",
            "\r\n",
            "a",
            "A",
            "é",
            "e\u0301",
            "🐈",
            "\ufeff",
        ),
    ]
)
NAMES = st.one_of(
    st.lists(PIECES, min_size=1, max_size=8).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
)
KINDS = st.sampled_from(["session", "collection"])
PLACES = st.lists(st.tuples(NAMES, KINDS, NAMES), min_size=2, max_size=8, unique=True)


@pytest.fixture(params=["sqlite", "redis"])
def fuzzed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    made = backend_of(request, tmp_path)
    yield made
    made.close()


# Each example deletes what it stored, and looks that all of it is gone.
ON_ONE_STORE = settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


@ON_ONE_STORE
@given(places=PLACES, ids=st.lists(NAMES, min_size=1, max_size=3, unique=True))
def test_no_two_names_share_a_byte(
    fuzzed: Backend, places: list[tuple[str, Kind, str]], ids: list[str]
) -> None:
    store = fuzzed.open()
    scopes = [Scope(fuzzed.namespace + space, kind, name) for space, kind, name in places]
    for number, scope in enumerate(scopes):
        store.append(scope, [Message("user", f"only {number}", id=id, turn=id) for id in ids])
        store.put_many(scope, "f", {id: b"only %d" % number for id in ids})
        store.put_many(scope, f"f{ids[0]}", {ids[0]: b"other %d" % number})
    for number, scope in enumerate(scopes):
        assert [m.text for m in store.read(scope)] == [f"only {number}"] * len(ids)
        assert store.get_many(scope, "f", ids) == [b"only %d" % number] * len(ids)
        assert store.get_many(scope, f"f{ids[0]}", ids[:1]) == [b"other %d" % number]
    for number, scope in enumerate(scopes):
        left = {s for s in scopes[number:] if s.namespace == scope.namespace}
        listed = {
            info.scope
            for kind in ("session", "collection")
            for info in store.scopes(scope.namespace, kind)
        }
        assert listed == left
        gone = store.delete(scope)
        assert gone == Deleted(len(ids), chunks=len(ids), tensors=len(ids) + 1)
        for other in scopes[number + 1 :]:
            assert store.count(other) == len(ids)
            assert None not in store.get_many(other, "f", ids)
    assert fuzzed.leftovers() == []
    store.close()


def test_names_and_ids_of_ten_thousand_bytes(fuzzed: Backend) -> None:
    """Refused where they would be part of a key, and nothing is stored; else kept as they are."""
    store, scope = fuzzed.open(), fuzzed.scope()
    long = "é" * 5_000
    for parts in ((long, "session", "s"), ("n", "session", long), ("n", "collection", long)):
        with pytest.raises(InvalidScopeError, match="10000 bytes"):
            Scope(*parts)
    with pytest.raises(InvalidScopeError, match="10000 bytes"):
        store.scopes(long, "session")
    with pytest.raises(InvalidMessageError, match="1 to 1024 characters"):
        store.append(scope, [Message("user", "Hello.", id=long)])
    assert store.count(scope) == 0
    store.put_many(scope, long, {long: b"1", long + "!": b"2"})
    assert store.get_many(scope, long, [long + "!", long, long[1:]]) == [b"2", b"1", None]
    assert store.delete(scope) == Deleted(chunks=2, tensors=2)
    assert fuzzed.leftovers() == []
