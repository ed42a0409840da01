"""What is added to a memory is stored verbatim, or refused whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.memories import HOSTILE, engine_of, plain, said, tell, whole
from tests.support.plain import PlainEngine
from tests.support.tokenizers import PROSE
from vist2_memory import Session, VisualMemory
from vist2_memory.errors import (
    ConflictError,
    InvalidMessageError,
    InvalidScopeError,
    ModelNotFoundError,
)
from vist2_memory.text.transcript import MARKS, read, write

pytest_plugins = ("tests.support.fixtures",)


# What is stored


def test_messages_are_stored_verbatim_and_in_order(url: str) -> None:
    talk = [(["user", "assistant", "tool"][i % 3], text) for i, text in enumerate(HOSTILE)]
    with plain(store=url) as memory:
        tell(memory.session("a"), talk)
        assert said(memory.session("a")) == talk
    with plain(store=url) as memory:
        assert said(memory.session("a")) == talk
        assert list(read(whole(memory.session("a")))) == talk


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_any_text_is_kept_whole_in_chunks_and_tail(texts: list[str]) -> None:
    talk = [("user", text) for text in texts if text.strip() and "\0" not in text]
    session = tell(plain().session("a"), talk)
    assert said(session) == talk
    assert whole(session) == write(talk)  # type: ignore[arg-type]


def test_payload_turn_id_and_time_come_back(url: str) -> None:
    with plain(store=url) as memory:
        before = time.time()
        added = memory.session("a").add("tool", "42", id="i", turn="t", payload={"name": ["x"]})
    with plain(store=url) as memory:
        [message] = memory.session("a").messages()
    assert message == added
    assert (message.id, message.turn, message.payload) == ("i", "t", {"name": ["x"]})
    assert before <= message.time <= time.time()


def test_two_sessions_and_two_namespaces_know_nothing_of_each_other(url: str) -> None:
    with plain(store=url) as memory:
        tell(memory.session("a"))
        assert memory.session("b").messages() == []
        assert [info.scope.name for info in memory.sessions()] == ["a"]
    with VisualMemory.open(url, model=PlainEngine(), namespace="other") as memory:
        assert memory.session("a").messages() == []
        assert memory.sessions() == []


def test_the_same_message_under_the_same_id_is_stored_once() -> None:
    session = plain().session("a")
    first = session.add("user", "Hello there.", id="one")
    assert session.add("user", "Hello there.", id="one") == first
    with pytest.raises(ConflictError, match="'one'"):
        session.add("user", "Something else.", id="one")
    assert said(session) == [("user", "Hello there.")]


# Bad input


BAD_TEXT = {
    "empty": ("", "empty"),
    "spaces": (" \n\t\u3000", "empty"),
    "10 MB": ("a" * 10_000_000, "longer than"),
    "NUL": ("a\0b", "NUL character at 1"),
    "lone surrogate": ("ab\udc80", "lone surrogate.*at 2"),
    "no text": (7, "must be a str, not int"),
    "bytes": (b"hello", "must be a str, not bytes"),
}


VERBS: dict[str, Callable[[Session, str], object]] = {
    "add": lambda session, text: session.add("user", text),
    "ask": lambda session, text: session.ask(text),
    "stream": lambda session, text: next(session.stream(text)),
    "aask": lambda session, text: asyncio.run(session.aask(text)),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("text", "told"), BAD_TEXT.values(), ids=BAD_TEXT)
def test_text_that_cannot_be_kept_is_refused_and_nothing_is_stored(
    verb: str, text: str, told: str
) -> None:
    memory = plain()
    session = memory.session("a")
    with pytest.raises(InvalidMessageError, match=told):
        VERBS[verb](session, text)
    assert session.messages() == []
    assert engine_of(memory).contexts == []


@pytest.mark.parametrize("role", ["wizard", "", "User", "document", MARKS["user"], None])
def test_an_unknown_role_is_refused_with_the_known_ones_and_nothing_is_stored(role: str) -> None:
    session = plain().session("a")
    with pytest.raises(InvalidMessageError, match="one of system, user, assistant, tool"):
        session.add(role, "Hello.")
    assert session.messages() == []


@pytest.mark.parametrize(
    "options",
    [{"id": "x" * 5000}, {"id": "\ud800"}, {"turn": "\ud800"}, {"payload": {"a": object()}}],
    ids=["long id", "id", "turn", "payload"],
)
def test_what_cannot_be_written_down_is_refused_and_nothing_is_stored(
    options: dict[str, object],
) -> None:
    session = plain().session("a")
    with pytest.raises(InvalidMessageError):
        session.add("user", "Hello.", **options)  # type: ignore[arg-type]
    assert session.messages() == []
    session.add("user", "Hello.")  # and the session is as good as before


@pytest.mark.parametrize("name", ["", "x" * 1025, "\ud800"])
def test_a_name_that_is_not_allowed_is_refused_at_once(name: str) -> None:
    memory = plain()
    for make in (memory.session, memory.collection):
        with pytest.raises(InvalidScopeError):
            make(name)
    with pytest.raises(InvalidScopeError):
        VisualMemory.open("memory://", model=PlainEngine(), namespace=name)


def test_a_model_that_is_not_there_is_told_before_a_store_is_made(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no model"):
        VisualMemory.open(f"sqlite:///{tmp_path / 'm.db'}", model=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(30)
def test_the_longest_message_that_is_allowed_is_taken_in_seconds() -> None:
    """A tenth of it here; time must grow with the length, not with its square."""
    session = plain(chunk_tokens=64).session("a")
    start = time.process_time()
    session.add("user", (PROSE * 300)[:100_000])
    assert time.process_time() - start < 3
