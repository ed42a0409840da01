"""Who has no key adds nothing to a sealed store, and reads no text in an encrypted one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import key, say
from vist2_memory.errors import ConflictError, SealedError, TamperedError
from vist2_memory.memory.replay import replay
from vist2_memory.store import InMemoryStore, Scope, Store
from vist2_memory.store.base import Refused
from vist2_memory.store.encryption import Encryption
from vist2_memory.store.outbox import Outbox
from vist2_memory.store.records import Record, SealedMessage, reading_sealed, to_records
from vist2_memory.store.sealed import SealedStore
from vist2_memory.store.seals import Seal, Signature
from vist2_memory.store.sqlite import SQLiteStore
from vist2_memory.types import Message

SCOPE = Scope("acme", "session", "user-42")
OTHER = Scope("acme", "session", "user-43")
SEALS = [Signature, Encryption]


@pytest.fixture(params=SEALS)
def kind(request: pytest.FixtureRequest) -> type[Seal]:
    found: type[Seal] = request.param
    return found


@pytest.fixture
def inner() -> InMemoryStore:
    return InMemoryStore()


@pytest.fixture
def store(inner: InMemoryStore, kind: type[Seal]) -> SealedStore:
    made = SealedStore(inner, kind([key(1)]))
    made.append(SCOPE, [say(1, "one"), say(2, "two"), say(3, "three")])
    made.put_many(SCOPE, "f", {"a": b"tensor a", "b": b"tensor b"})
    return made


def entries(inner: InMemoryStore, scope: Scope = SCOPE) -> list[Any]:
    """The log as who can write to the store has it."""
    with reading_sealed():
        return inner.read(scope)


def plant(inner: InMemoryStore, messages: list[Message], scope: Scope = SCOPE) -> None:
    """Put ``messages`` in place of the log of ``scope``, as who can write to the store may."""
    inner.delete(scope)
    inner.append(scope, messages)


# ---------------------------------------------------------------------------------------- messages


def _planted(log: list[SealedMessage]) -> list[Any]:
    return [*log, say(4, "planted")]


def _planted_with_a_seal(log: list[SealedMessage]) -> list[Any]:
    return [*log, replace(log[2], id="m4")]


def _swapped(log: list[SealedMessage]) -> list[Any]:
    return [log[1], log[0], log[2]]


def _cut_out(log: list[SealedMessage]) -> list[Any]:
    return [log[0], log[2]]


def _beginning_cut_off(log: list[SealedMessage]) -> list[Any]:
    return log[1:]


CHANGES: list[dict[str, Any]] = [
    {"role": "system"},
    {"text": "changed"},
    {"turn": "t9"},
    {"time": 2.5},
    {"payload": {"a": 1}},
    {"cuts": (1,)},
    {"layout": "other"},
    {"id": "m9"},
    {"seal": ""},
    {"seal": "no base64"},
]


@pytest.mark.parametrize(
    "attack",
    [
        _planted,
        _planted_with_a_seal,
        _swapped,
        _cut_out,
        _beginning_cut_off,
        *(lambda log, change=change: [log[0], replace(log[1], **change), log[2]]
          for change in CHANGES),
    ],
)  # fmt: skip
def test_a_message_that_was_planted_changed_or_moved_is_refused_and_all_is_still_there(
    store: SealedStore, inner: InMemoryStore, attack: Callable[[Any], list[Any]]
) -> None:
    before = entries(inner)
    plant(inner, attack(before))
    planted = entries(inner)
    with pytest.raises(TamperedError, match=r"entry \d of acme/session/user-42 is refused"):
        store.read(SCOPE)
    assert entries(inner) == planted
    plant(inner, before)
    assert [message.text for message in store.read(SCOPE)] == ["one", "two", "three"]


def test_a_log_of_another_session_or_tenant_is_refused(
    store: SealedStore, inner: InMemoryStore
) -> None:
    for scope in (OTHER, replace(SCOPE, namespace="evil"), replace(SCOPE, kind="collection")):
        plant(inner, entries(inner), scope)
        with pytest.raises(TamperedError):
            store.read(scope)


def test_a_flipped_bit_anywhere_in_a_record_is_refused(
    store: SealedStore, inner: InMemoryStore
) -> None:
    shelf = inner._shelves[SCOPE]
    good = shelf.log[1]
    for position in range(len(good.data)):
        data = bytearray(good.data)
        data[position] ^= 1
        shelf.log[1] = Record(good.id, good.digest, bytes(data))
        with pytest.raises(Exception, match="entry 2 of") as caught:
            store.read(SCOPE)
        assert type(caught.value).__name__ in (
            "TamperedError",
            "SealedError",  # the name of the key was hit
            "StoreFormatError",
        )
    shelf.log[1] = good
    assert len(store.read(SCOPE)) == 3


def test_without_keys_or_with_another_one_nothing_is_read_or_added_or_lost(
    store: SealedStore, inner: InMemoryStore, kind: type[Seal]
) -> None:
    before = entries(inner)
    with pytest.raises(SealedError, match="VIST2_STORE_KEY, or VIST2_ENCRYPTION_KEYS"):
        inner.read(SCOPE)
    wrong = SealedStore(inner, kind([key(2), key(3)]))
    told = f"under the key {key(1).id}, which was not given .given: {key(2).id}, {key(3).id}"
    for call in (
        lambda: wrong.read(SCOPE),
        lambda: wrong.append(SCOPE, [say(4)]),
        lambda: wrong.append(SCOPE, [say(4)], expected=3),
        lambda: wrong.reseal(SCOPE),
    ):
        with pytest.raises(SealedError, match=told):
            call()
    assert entries(inner) == before


def test_a_log_written_without_keys_is_not_appended_to(
    inner: InMemoryStore, kind: type[Seal]
) -> None:
    inner.append(SCOPE, [say(1)])
    sealed = SealedStore(inner, kind([key(1)]))
    for call in (lambda: sealed.append(SCOPE, [say(2)]), lambda: sealed.read(SCOPE)):
        with pytest.raises(TamperedError, match="written without the key, or planted"):
            call()
    assert inner.read(SCOPE) == [say(1)]


def test_the_other_kind_of_seal_is_refused(inner: InMemoryStore) -> None:
    for one, other in ((Signature, Encryption), (Encryption, Signature)):
        SealedStore(inner, one([key(1)])).append(SCOPE, [say(1)])
        with pytest.raises(TamperedError):
            SealedStore(inner, other([key(1)])).read(SCOPE)
        inner.delete(SCOPE)


# ----------------------------------------------------------------------------------------- tensors


def test_a_tensor_without_a_good_seal_is_a_miss_that_says_why(
    store: SealedStore, inner: InMemoryStore, kind: type[Seal]
) -> None:
    tensors = inner._shelves[SCOPE].tensors
    good = dict(tensors)
    name_a, name_b = list(good)
    bad: list[bytes] = [b"", b"tensor a", good[name_b], good[name_a][:-1], good[name_a] + b"\0"]
    bad += [bytes([*d[:n], d[n] ^ 1, *d[n + 1 :]]) for d in (good[name_a],) for n in range(len(d))]
    bad.append(kind([key(2)]).close(SCOPE, b"", b"tensor a"))
    for data in bad:
        tensors[name_a] = data
        a, b = store.get_many(SCOPE, "f", ["a", "b"])
        assert isinstance(a, Refused)
        assert a == b""
        assert "the tensor of chunk a in acme/session/user-42 is refused" in a.reason
        assert b == b"tensor b"
    tensors[name_a] = good[name_a]
    assert store.get_many(SCOPE, "f", ["a"]) == [b"tensor a"]


def test_a_tensor_of_another_session_tenant_or_model_is_refused(
    store: SealedStore, inner: InMemoryStore
) -> None:
    [(_, name), _] = inner._shelves[SCOPE].tensors
    [data] = inner.get_many(SCOPE, "f", [name])
    assert data is not None
    inner.put_many(SCOPE, "g", {name: data})
    [found] = store.get_many(SCOPE, "g", ["a"])
    assert isinstance(found, Refused)
    for scope in (OTHER, replace(SCOPE, namespace="evil"), replace(SCOPE, kind="collection")):
        store.put_many(scope, "f", {"a": b"theirs"})
        names = [name for _, name in inner._shelves[scope].tensors]
        inner.put_many(scope, "f", dict.fromkeys(names, data))
        [found] = store.get_many(scope, "f", ["a"])
        assert isinstance(found, Refused)


# ---------------------------------------------------------------------------------------- secrecy


def test_encrypted_text_is_nowhere_in_the_store(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    secret = "My-PIN-is-4711"
    document = Message("document", secret, id="digest-of-the-text")
    with SealedStore(SQLiteStore(path), Encryption([key(1)])) as store:
        store.append(SCOPE, [say(1, secret), replace(say(2), payload={secret: secret})])
        store.append(replace(SCOPE, kind="collection"), [document])
        store.put_many(SCOPE, "f", {"digest-of-a-chunk": secret.encode()})
        assert store.read(replace(SCOPE, kind="collection")) == [document]
        assert store.append(replace(SCOPE, kind="collection"), [document]) == 1
    connection = sqlite3.connect(path)
    dump = "\n".join(connection.iterdump())
    connection.close()
    raw = path.read_bytes() + dump.encode()
    raw += b"".join(bytes.fromhex(part.split("'")[0]) for part in dump.split("X'")[1:])
    assert b"user" in raw
    for word in (secret, "4711", "digest-of-the-text", "digest-of-a-chunk"):
        assert word.encode() not in raw


def test_the_same_text_is_never_the_same_ciphertext(inner: InMemoryStore) -> None:
    store = SealedStore(inner, Encryption([key(1)]))
    seals = set()
    for _ in range(50):
        store.append(SCOPE, [say(1)])
        seals.add(entries(inner)[0].seal[20:])
        store.delete(SCOPE)
    assert len(seals) == 50


def test_signed_text_stays_readable(inner: InMemoryStore) -> None:
    SealedStore(inner, Signature([key(1)])).append(SCOPE, [say(1)])
    [entry] = entries(inner)
    assert entry.text == say(1).text
    assert b"Miso" in to_records([entry])[0].data


# --------------------------------------------------------------------------------------- rotation


def test_rotation_reads_the_old_writes_the_new_and_reseals(
    store: SealedStore, inner: InMemoryStore, kind: type[Seal]
) -> None:
    books = replace(SCOPE, kind="collection")
    document = Message("document", "A page.", id="digest")
    store.append(books, [document])
    both = SealedStore(inner, kind([key(2), key(1)]))
    assert both.append(SCOPE, [say(1, "one"), say(4, "four")]) == 4  # a retry of the first
    assert both.append(books, [document]) == 1  # known, though it is named by another key now
    assert both.get_many(SCOPE, "f", ["a", "x", "b"]) == [b"tensor a", None, b"tensor b"]
    texts = ["one", "two", "three", "four"]
    assert [message.text for message in both.read(SCOPE)] == texts
    with pytest.raises(SealedError):
        SealedStore(inner, kind([key(2)])).read(SCOPE)

    assert (both.reseal(SCOPE), both.reseal(SCOPE), both.reseal(books)) == (3, 0, 1)
    both.reseal_tensors(SCOPE, "f", ["a", "b", "x"])
    new = SealedStore(inner, kind([key(2)]))
    assert [message.text for message in new.read(SCOPE)] == texts
    assert new.append(books, [document]) == 1
    assert new.get_many(SCOPE, "f", ["a", "b"]) == [b"tensor a", b"tensor b"]
    assert len(inner._shelves[SCOPE].tensors) == 2
    assert new.snapshot(SCOPE).revision == 1
    assert new.drop_many(SCOPE, "f", ["a", "b"]) == 2


def test_reseal_of_what_is_not_there_does_nothing(store: SealedStore) -> None:
    assert store.reseal(OTHER) == 0
    store.reseal_tensors(OTHER, "f", [])
    assert store.count(OTHER) == 0


def test_a_rewrite_keeps_what_it_keeps(store: Store) -> None:
    assert store.rewrite(SCOPE, 1, [say(5, "five")], expected=3, last="m3", revision=0) == 2
    assert [message.text for message in store.read(SCOPE)] == ["one", "five"]
    store.append(SCOPE, [say(6, "six")], expected=2, revision=1)
    with pytest.raises(ConflictError, match="rewritten"):
        store.append(SCOPE, [say(7)], expected=3, revision=0)


def test_an_answer_in_the_outbox_is_sealed_too(store: SealedStore, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    answer = Message("assistant", "Your cat is called Miso.", id="t:a", turn="t")
    outbox.keep(store, SCOPE, say(1, "one"), answer)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert (b"Miso" in written) != store._seal.hides
    assert replay(store, outbox, SCOPE).logged == 1
    assert store.read(SCOPE)[-1].text == answer.text
    with sqlite3.connect(outbox.path) as connection:
        outbox.keep(store, OTHER, say(1, "one"), answer)
        connection.execute("UPDATE answers SET scope=?", (SCOPE.key,))
    connection.close()
    assert replay(store, outbox, SCOPE).aside == 1  # it was sealed for another session
