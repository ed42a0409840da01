"""The log of every store: verbatim, in order, nothing twice."""

from __future__ import annotations

import pytest

from tests.support.backends import Backend, say
from vist2_memory.errors import ConflictError, InvalidMessageError
from vist2_memory.store import Deleted
from vist2_memory.types import Message


def test_reads_what_was_appended_in_order_and_verbatim(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    full = Message(
        "assistant",
        "Ein Text.",
        id="id",
        turn="turn",
        time=1_700_000_000.123456,
        payload={"name": "find", "args": {"z": [1, 2.5, None, True], "a": "é\0"}},
        cuts=(3, 9),
        layout="v1",
    )
    messages = [say(1), full, Message("document", "A page.", id="d"), say(2)]
    assert store.append(scope, messages[:1]) == 1
    assert store.append(scope, messages[1:]) == 4
    assert store.read(scope) == messages
    assert [store.read(scope, after) for after in (1, 3, 4, 9)] == [
        messages[1:],
        messages[3:],
        [],
        [],
    ]
    assert store.count(scope) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "nul \0 in \0 it",
        "猫 🐈‍⬛ é é \u2028 \x7f",
        '"\\u0000\\" \'{}%s*',
        "A cat. " * 600_000,
    ],
    ids=["empty", "blank", "nul", "unicode", "quotes", "large"],
)
def test_text_is_stored_exactly(backend: Backend, text: str) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [Message("user", text, id=text[:9] + "id", payload={text[:9]: text[:9]})])
    [message] = backend.open().read(scope)
    assert message.text == text
    assert (message.id, message.payload) == (text[:9] + "id", {text[:9]: text[:9]})


def test_a_scope_that_is_not_there_is_empty(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    assert (store.read(scope), store.count(scope), store.delete(scope)) == ([], 0, Deleted())
    assert store.append(scope, []) == 0
    assert store.scopes(backend.namespace, "session") == []
    assert backend.leftovers() == []


def test_appending_again_doubles_nothing(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [say(1), say(2)])
    later = Message("user", say(1).text, id="m1", turn="t1", time=99.0, cuts=(4,), layout="v2")
    assert store.append(scope, [later, say(2)]) == 2
    assert store.append(scope, [say(2), say(3)]) == 3
    assert store.read(scope) == [say(1), say(2), say(3)]


@pytest.mark.parametrize(
    "changed",
    [
        Message("user", "Other text.", id="m1", turn="t1"),
        Message("assistant", say(1).text, id="m1", turn="t1"),
        Message("user", say(1).text, id="m1", turn="t2"),
        Message("user", say(1).text, id="m1", turn="t1", payload={"a": 1}),
    ],
    ids=["text", "role", "turn", "payload"],
)
def test_an_id_never_changes_its_message(backend: Backend, changed: Message) -> None:
    store, scope = backend.open(), backend.scope()
    store.append(scope, [say(1)])
    with pytest.raises(ConflictError, match="'m1'"):
        store.append(scope, [say(2), changed, say(3)])
    assert store.read(scope) == [say(1)]


def test_expected_is_what_the_caller_has_seen(backend: Backend) -> None:
    store, scope = backend.open(), backend.scope()
    assert store.append(scope, [say(1), say(2)], expected=0) == 2
    for wrong in (0, 1, 3):
        with pytest.raises(ConflictError, match=f"holds 2 messages, not {wrong}"):
            store.append(scope, [say(3)], expected=wrong)
        with pytest.raises(ConflictError):
            store.append(scope, [], expected=wrong)
        with pytest.raises(ConflictError):
            store.append(scope, [say(2), say(3)], expected=wrong)
    assert store.append(scope, [say(1), say(2)], expected=0) == 2  # a retry after a lost reply
    assert store.append(scope, [], expected=2) == 2
    assert store.append(scope, [say(3)], expected=2) == 3
    assert store.read(scope) == [say(1), say(2), say(3)]


def test_expected_of_a_scope_that_is_not_there_writes_nothing(backend: Backend) -> None:
    with pytest.raises(ConflictError, match="holds 0 messages, not 2"):
        backend.open().append(backend.scope(), [say(1)], expected=2)
    assert backend.leftovers() == []


@pytest.mark.parametrize(
    "bad",
    [
        Message("user", "no id"),
        Message("user", "x", id="i" * 1025),
        Message("wizard", "x", id="b"),  # type: ignore[arg-type]
        Message("user", "lone \ud800 surrogate", id="b"),
        Message("user", "x", id="\udfff"),
        Message("user", "x", id="b", time=float("nan")),
        Message("user", "x", id="b", payload={"f": float("inf")}),
        Message("user", "x", id="b", payload={"f": object()}),
        Message("user", b"bytes", id="b"),  # type: ignore[arg-type]
        Message("user", "x", id="b", cuts=(1.5,)),  # type: ignore[arg-type]
        say(1, "the same id again"),
    ],
)
def test_what_cannot_be_written_down_is_refused_as_a_whole(backend: Backend, bad: Message) -> None:
    store, scope = backend.open(), backend.scope()
    with pytest.raises(InvalidMessageError):
        store.append(scope, [say(1), bad])
    assert backend.leftovers() == []


def test_after_is_not_negative(backend: Backend) -> None:
    with pytest.raises(ValueError, match="after=-1"):
        backend.open().read(backend.scope(), after=-1)
