"""Keys are given, checked, and never shown."""

from __future__ import annotations

import base64
import pickle
import subprocess
import sys
import traceback

import pytest

from tests.support.memories import engine_of, plain, tell
from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.errors import InvalidInputError, StoreError
from vist2_memory.store import InMemoryStore, Scope
from vist2_memory.store.sealed import SealedStore, find_seal
from vist2_memory.store.seals import Key, Signature, parse_keys

ONE, TWO = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 250))
URLSAFE = base64.urlsafe_b64encode(bytes([250]) * 32).decode().rstrip("=")
TALK = [("user", "My cat is called Miso and sleeps all day."), ("assistant", "Good for Miso.")]


def test_keys_are_read_in_both_kinds_of_base64() -> None:
    first, second = parse_keys(f" {ONE},{URLSAFE}\n", "KEYS")
    assert [first.id, second.id] == [key.id for key in parse_keys([ONE, TWO], "KEYS")]
    assert first.id != second.id
    assert len(first.id) == 16


@pytest.mark.parametrize(
    "given", ["short", ONE[:-8], f"{ONE},", f"{ONE},pass word!", ONE + "AAAA", ",", "é" * 44]
)
def test_a_bad_key_is_refused_without_being_shown(given: str) -> None:
    with pytest.raises(InvalidInputError, match=r"KEYS: key \d of \d is not 32 bytes") as caught:
        parse_keys(given, "KEYS")
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(part and part in str(caught.value) for part in given.split(","))
    assert ONE not in shown
    with pytest.raises(InvalidInputError, match="one key twice"):
        parse_keys([ONE, ONE], "KEYS")
    with pytest.raises(InvalidInputError, match="no key"):
        parse_keys([], "KEYS")


def test_a_key_is_nowhere_to_be_seen() -> None:
    key = Key(b"k" * 32)
    seal = Signature([key])
    store = SealedStore(InMemoryStore(), seal)
    memory = VisualMemory.open(store, model=PlainEngine())
    for thing in (key, seal, store, memory, [key], {"a": seal}):
        assert "kkkk" not in repr(thing) + str(thing)
    assert repr(seal) == f"Signature({key.id})"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)
    with pytest.raises(InvalidInputError, match="32 bytes, not 3"):
        Key(b"abc")


def test_the_environment_gives_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_seal() is None
    monkeypatch.setenv("VIST2_STORE_KEY", ONE)
    assert repr(find_seal()) == f"Signature({parse_keys(ONE, '')[0].id})"
    monkeypatch.setenv("VIST2_ENCRYPTION_KEYS", f"{TWO},{ONE}")
    with pytest.raises(InvalidInputError, match="encryption signs too"):
        find_seal()
    monkeypatch.setenv("VIST2_STORE_KEY", "")
    two, one = parse_keys([TWO, ONE], "")
    assert repr(find_seal()) == f"Encryption({two.id}, {one.id})"
    memory = plain()
    tell(memory.session("a"), TALK)
    assert isinstance(memory.store, SealedStore)


def test_encryption_says_what_it_needs() -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from vist2_memory.store.sealed import find_seal\n"
        f"find_seal('{ONE}')\n"
        f"find_seal(None, '{ONE}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert "pip install 'vist2-memory[encryption]'" in done.stderr
    assert "line 4" in done.stderr
    assert ONE not in done.stderr.replace(code.splitlines()[3], "")


@pytest.mark.parametrize("name", ["key", "encryption_keys"])
def test_a_memory_with_keys_answers_as_one_without(name: str) -> None:
    inner, engine = InMemoryStore(), PlainEngine(["Yes.", "Yes."])
    with VisualMemory.open(inner, model=engine, **{name: ONE}) as memory:
        session = tell(memory.session("a"), TALK * 5)
        assert session.ask("Who?").degraded == ()
        books = memory.collection("books")
        assert (books.add_documents(["One.", "Two."]), books.add_documents(["One."])) == (2, 0)
    engine.encoded.clear()
    again = VisualMemory.open(inner, model=engine, **{name: [TWO, ONE]})
    assert len(again.session("a").messages()) == 12
    assert again.session("a").ask("Who?", include=[again.collection("books")]).degraded == ()
    assert again.session("a").chunks()[0].text not in engine.encoded
    assert again.session("a").reseal() == 12
    assert again.collection("books").reseal() == 2
    newest = VisualMemory.open(inner, model=engine, **{name: TWO})
    assert newest.session("a").ask("Who?", include=[newest.collection("books")]).degraded == ()
    # A memory without keys, or with others, says so and adds nothing.
    for other in (plain(store=inner), VisualMemory.open(inner, model=engine, key=ONE)):
        for call in (
            lambda m=other: m.session("a").ask("Who?"),
            lambda m=other: m.session("a").add("user", "Hello."),
            lambda m=other: m.collection("books").add_documents(["Three."]),
        ):
            with pytest.raises(StoreError, match=r"signed or encrypted|is refused"):
                call()
    assert inner.count(Scope("default", "session", "a")) == 16
    assert inner.count(Scope("default", "collection", "books")) == 2


def test_a_tensor_of_who_has_no_key_is_encoded_again_and_told() -> None:
    inner = InMemoryStore()
    memory = plain(store=SealedStore(inner, Signature([Key(b"1" * 32)])), cache_bytes=0)
    session = tell(memory.session("a"), TALK * 5)
    chunk = session.chunks()[0].id
    unsigned = plain(store="memory://")
    theirs = tell(unsigned.session("a"), TALK * 5)
    memory.flush()
    unsigned.flush()
    [data] = unsigned.store.get_many(theirs.scope, "plain-1", [chunk])
    assert data is not None
    inner.put_many(session.scope, "plain-1", {chunk: data})  # good, but for the key
    engine_of(memory).encoded.clear()
    [note] = session.ask("Who?").degraded
    assert "written without the key, or planted" in note
    assert session.chunks()[0].text in engine_of(memory).encoded
    memory.flush()
    assert session.ask("Who?").degraded == ()


def test_keys_that_cannot_be_used_are_told_at_once() -> None:
    with pytest.raises(InvalidInputError, match="VIST2_STORE_KEY: key 1 of 1"):
        VisualMemory.open("memory://", model=PlainEngine(), key="hunter2")
    sealed = SealedStore(InMemoryStore(), Signature([Key(b"1" * 32)]))
    with pytest.raises(InvalidInputError, match="has keys already"):
        VisualMemory.open(sealed, model=PlainEngine(), key=ONE)
    with pytest.raises(InvalidInputError, match="opened without keys"):
        plain().session("a").reseal()
