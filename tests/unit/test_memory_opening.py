"""Opening and closing a memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.memories import DOCUMENTS, TALK, engine_of, plain, said, tell
from tests.support.plain import FailingStore
from vist2_memory import VisualMemory
from vist2_memory.types import VisualTokens

pytest_plugins = ("tests.support.fixtures",)


def test_the_environment_names_store_and_model(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIST2_STORE", f"sqlite:///{tmp_path / 'env.db'}")
    monkeypatch.setenv("VIST2_MODEL", str(checkpoint))
    with VisualMemory.open() as memory:
        assert memory.store.describe().endswith("env.db")
        memory.session("a").add("user", "Hello.")
        assert memory.engine.spec.model == checkpoint.name
    assert (tmp_path / "env.db").is_file()


def test_closing_the_memory_leaves_a_store_open_that_the_caller_opened() -> None:
    store = FailingStore()
    with plain(store=store) as memory:
        tell(memory.session("a"))
    with plain(store=store) as memory:
        assert said(memory.session("a")) == TALK


def test_a_collection_that_is_included_twice_is_read_once() -> None:
    memory = plain()
    books = memory.collection("handbook")
    books.add_documents(DOCUMENTS)
    memory.session("a").ask("When?", include=[books, books])
    [context] = engine_of(memory).contexts
    shelf = [chunk.id for chunk in books.chunks()]
    assert [t.chunk_id for t in context.visual if t.chunk_id in shelf] == shelf


def test_one_name_is_one_session_object() -> None:
    memory = plain()
    assert memory.session("a") is memory.session("a")
    assert memory.session("a") is not memory.session("b")


def test_visual_tokens_that_are_not_finite_are_never_stored() -> None:
    """A model that overflowed would poison every later answer."""
    memory = plain()
    engine = engine_of(memory)
    good = engine.encode

    def broken(chunks: list[object]) -> list[VisualTokens]:
        return [replace(t, values=t.values * np.nan) for t in good(chunks)]  # type: ignore[arg-type]

    engine.encode = broken  # type: ignore[method-assign, assignment]
    session = memory.session("a")
    with pytest.raises(Exception, match="finite"):
        tell(session)
    ids = [chunk.id for chunk in session.chunks()]
    assert memory.store.get_many(session.scope, "plain-1", ids) == [None] * len(ids)
