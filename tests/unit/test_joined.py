"""The log in one store and the tensors in another: what deleting and moving leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.memories import TALK, plain, said, tell
from vist2_memory import Session
from vist2_memory.errors import ConflictError, StoreUnavailableError
from vist2_memory.store import InMemoryStore, JoinedStore, Scope, Store, open_store
from vist2_memory.store.base import Deleted
from vist2_memory.types import Message


class Away(InMemoryStore):
    """The store in memory; it can be deleted from as often as ``deletes`` says."""

    deletes = 1_000_000

    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        if not self.deletes:
            raise StoreUnavailableError("the tensors are away")
        self.deletes -= 1
        return super().delete(scope, expected=expected, revision=revision)


@pytest.fixture
def tensors() -> Away:
    return Away()


@pytest.fixture
def store(tensors: Away) -> JoinedStore:
    return JoinedStore(InMemoryStore(), tensors)


@pytest.fixture
def session(store: JoinedStore) -> Session:
    session = tell(plain(store=store).session("a"))
    session._memory.flush()
    return session


def chunks_of(session: Session) -> set[str]:
    return {chunk.id for chunk in session.chunks()}


@pytest.mark.parametrize("seen", [{}, {"expected": 3, "revision": 0}], ids=["as it is", "as seen"])
def test_while_the_tensors_are_away_nothing_is_deleted(
    store: JoinedStore, tensors: Away, session: Session, seen: dict[str, int]
) -> None:
    chunks = len(chunks_of(session))
    tensors.deletes = 0
    with pytest.raises(StoreUnavailableError):
        store.delete(session.scope, **seen)
    assert said(session) == TALK
    tensors.deletes = 2
    assert store.delete(session.scope, **seen) == Deleted(3, chunks, chunks)
    assert (store.count(session.scope), tensors._shelves) == (0, {})


@pytest.mark.parametrize("seen", [{"expected": 2}, {"revision": 1}, {"expected": 3, "revision": 1}])
def test_a_log_that_is_another_keeps_its_tensors(
    store: JoinedStore, session: Session, seen: dict[str, int]
) -> None:
    with pytest.raises(ConflictError):
        store.delete(session.scope, **seen)
    assert said(session) == TALK
    assert set(store.tensor_ids(session.scope)["plain-1"]) == chunks_of(session)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store that somebody else keeps logs in."""
    if request.param == "memory":
        return InMemoryStore()
    if request.param == "sqlite":
        return open_store(f"sqlite:///{tmp_path}/memory.db")
    return open_store(request.getfixturevalue("redis_url"))


def test_a_log_where_only_the_tensors_lie_is_not_ours_and_stays(place: Store) -> None:
    first = Message("user", "I was here first.", id="m1", time=1.5)
    place.append(Scope("default", "session", "joined"), [first])
    with JoinedStore(InMemoryStore(), place) as store:
        session = tell(plain(store=store).session("joined"))
        session._memory.flush()
        chunks = len(chunks_of(session))
        assert session.delete() == Deleted(3, chunks, chunks)
        assert store.tensor_ids(session.scope) == {}
        assert place.read(session.scope) == [first]
        place.delete(session.scope)


def test_a_session_is_moved_to_where_its_tensors_are(place: Store) -> None:
    with JoinedStore(InMemoryStore(), place) as store:
        memory, there = plain(store=store), plain(store=place)
        tell(memory.session("moved"))
        assert memory.move_session("moved", there).messages == 3
        assert said(there.session("moved")) == TALK
        assert memory.sessions() == []
        there.session("moved").delete()


def test_a_move_that_failed_at_its_end_is_ended_by_the_same_call(
    tensors: Away, session: Session
) -> None:
    memory, other = session._memory, plain()
    tensors.deletes = 1  # then the log is deleted, and what came meanwhile cannot be
    with pytest.raises(StoreUnavailableError):
        memory.move_session("a", other)
    tensors.put_many(session.scope, "plain-1", {"late": b"1"})
    tensors.deletes = 1_000_000
    memory.move_session("a", other)
    assert (said(other.session("a")), memory.sessions()) == (TALK, [])
    assert tensors._shelves == {}
