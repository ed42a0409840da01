"""Messages that are stored without a model, and cut by whoever reads them first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.memories import HOSTILE, TALK, engine_of, plain, said, tell, whole
from tests.support.plain import FailingStore
from vist2_memory import ConflictError, InvalidMessageError, StoreUnavailableError, VisualMemory
from vist2_memory.types import Message

MESSAGES = [
    Message(role, text, id=f"m{number}")  # type: ignore[arg-type]
    for number, (role, text) in enumerate([*TALK, ("system", "Be kind."), *TALK])
]


def test_nothing_is_loaded_cut_or_encoded() -> None:
    with VisualMemory.open("memory://", model="vist2-tiny") as memory:
        memory.session("a").record(MESSAGES)
        assert memory._engine is None
        stored = memory.session("a").messages()
    assert [(m.id, m.role, m.text) for m in stored] == [(m.id, m.role, m.text) for m in MESSAGES]
    assert all(m.time and not m.cuts and not m.layout for m in stored)


def test_it_is_cut_by_its_reader_as_if_it_had_been_added() -> None:
    recorded, added = plain().session("a"), plain().session("a")
    recorded.record(MESSAGES)
    tell(added, [(message.role, message.text) for message in MESSAGES])
    assert recorded.chunks() == added.chunks() != []
    assert recorded.tail() == added.tail()
    recorded.ask("Who?")
    assert recorded.chunks()[: len(added.chunks())] == added.chunks()


def test_what_others_recorded_between_is_read_and_cut() -> None:
    memory = plain()
    session = tell(memory.session("a"))
    other = VisualMemory.open(memory.store, model=engine_of(plain()), outbox=None).session("a")
    other.record(MESSAGES)
    session.record([Message("user", text, id=f"h{n}") for n, text in enumerate(HOSTILE)])
    tell(session)
    assert len(said(session)) == 2 * len(TALK) + len(MESSAGES) + len(HOSTILE)
    assert whole(session) == whole(other)


async def test_all_is_stored_or_nothing_and_nothing_twice() -> None:
    session = plain().session("a")
    session.record(MESSAGES[:3])
    await session.arecord(MESSAGES)
    session.record([])
    await session.arecord([])
    assert [m.id for m in session.messages()] == [m.id for m in MESSAGES]
    changed = replace(MESSAGES[0], text="Another text.")
    new = Message("user", "New.", id="new")
    for messages in ([new, changed], [new, replace(new, text="Other.")]):
        with pytest.raises((ConflictError, InvalidMessageError)):
            session.record(messages)
        with pytest.raises((ConflictError, InvalidMessageError)):
            await session.arecord(messages)
    assert len(session.messages()) == len(MESSAGES)


@pytest.mark.parametrize(
    "change",
    [
        {"role": "document"},
        {"text": " "},
        {"text": "a\0"},
        {"id": ""},
        {"payload": {"a": object()}},
        {"payload": {"calls": [1]}, "role": "assistant"},
    ],
)
def test_what_cannot_be_kept_is_refused(change: dict[str, Any]) -> None:
    session = plain().session("a")
    with pytest.raises(InvalidMessageError):
        session.record([MESSAGES[0], replace(MESSAGES[1], **change)])
    assert session.messages() == []


def test_a_store_that_is_away_is_told() -> None:
    session = plain(store=FailingStore("append")).session("a")
    with pytest.raises(StoreUnavailableError):
        session.record(MESSAGES)
