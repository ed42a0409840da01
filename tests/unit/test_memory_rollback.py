"""A store that lost the newest messages it had acknowledged, as a fail-over does."""

from __future__ import annotations

import pytest

from tests.support.memories import TALK, plain, said, tell
from vist2_memory.errors import LogLostError
from vist2_memory.store import InMemoryStore
from vist2_memory.types import Message

pytest_plugins = ("tests.support.fixtures",)


@pytest.mark.parametrize("others", [0, 1, 5], ids=["nobody", "one more", "many more"])
def test_a_session_says_once_that_messages_are_gone_and_goes_on(others: int) -> None:
    store = InMemoryStore()
    memory = plain(store=store)
    session = tell(memory.session("a"))
    kept = store.read(session.scope)[:-2]
    store.delete(session.scope)
    store.append(session.scope, kept)
    for number in range(others):  # written by someone else after the fail-over
        store.append(session.scope, [Message("user", "Hello.", id=f"other{number}")])
    with pytest.raises(LogLostError, match=f"held {len(TALK)} messages, .* has {len(kept)} now"):
        session.add("user", "And then?")
    session.add("user", "And then?")
    texts = [text for _, text in said(session)]
    assert texts == [m.text for m in kept] + ["Hello."] * others + ["And then?"]


def test_a_session_that_another_deleted_begins_anew() -> None:
    store = InMemoryStore()
    session = tell(plain(store=store).session("a"))
    store.delete(session.scope)
    session.add("user", "Something else.")
    assert [text for _, text in said(session)] == ["Something else."]
