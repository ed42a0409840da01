"""Branches: what they begin with, and that they go their own way."""

from __future__ import annotations

import pytest

from tests.support.memories import TALK, engine_of, plain, said, tell
from tests.support.plain import FailingStore
from tests.support.revised import check_whole, tensors
from vist2_memory.errors import ConflictError, InvalidInputError

pytest_plugins = ("tests.support.fixtures",)


def test_a_branch_goes_its_own_way() -> None:
    memory = plain("Miso.", "Bees.", "Lisbon.")
    session = tell(memory.session("a"))
    session.ask("What is my cat called?", turn="t1")
    before, encoded = session.messages(), list(engine_of(memory).encoded)
    other = session.branch("b", at=before[1].id)
    assert other.messages() == before[:2]
    assert engine_of(memory).encoded == encoded  # copied
    assert tensors(memory, other) == {chunk.id for chunk in check_whole(memory, other)} != set()
    other.ask("Who keeps bees?", turn="t2")
    assert session.messages() == before
    whole_copy = session.branch("c")
    assert (whole_copy.messages(), whole_copy.chunks()) == (before, session.chunks())
    check_whole(memory, whole_copy)
    whole_copy.ask("Where to?")
    assert not any("refused" in note for note in whole_copy.ask("And?").degraded)
    session.delete()
    assert other.messages()[:2] == before[:2]
    check_whole(memory, other)
    other.delete()
    whole_copy.delete()
    assert memory.store._shelves == {}  # type: ignore[attr-defined]


def test_a_branch_takes_no_name_that_is_taken_and_none_from_nothing() -> None:
    memory = plain()
    session, other = tell(memory.session("a")), tell(memory.session("b"), TALK[:1])
    for name in ("a", "b"):
        with pytest.raises(ConflictError, match=f"session '{name}' exists already"):
            session.branch(name)
    assert said(other) == TALK[:1]
    with pytest.raises(InvalidInputError, match="no messages"):
        memory.session("empty").branch("c")
    with pytest.raises(InvalidInputError, match="session name"):
        session.branch("")
    assert [info.scope.name for info in memory.sessions()] == ["a", "b"]


def test_a_branch_whose_tensors_cannot_be_copied_has_its_text() -> None:
    store = FailingStore()
    memory = plain(store=store, cache_bytes=0)
    session = tell(memory.session("a"))
    memory.flush()
    store.broken = {"get_many", "put_many"}
    other = session.branch("b")
    memory.flush()
    store.broken = set()
    assert said(other) == TALK
    other.ask("Who?")
    memory.flush()
    assert tensors(memory, other) >= {chunk.id for chunk in session.chunks()}
