"""Quotas of a memory, old tensors, and encoding ahead of time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.memories import DOCUMENTS, TALK, engine_of, plain, said, tell
from tests.support.plain import PlainEngine
from vist2_memory import Quota, QuotaExceededError, VisualMemory
from vist2_memory.errors import ModelError, StoreUnavailableError
from vist2_memory.memory.upkeep import Collected, Reencoded
from vist2_memory.store import InMemoryStore, StoreUsage

pytest_plugins = ("tests.support.fixtures",)


def newer(memory: VisualMemory) -> VisualMemory:
    """The same store under a model that was trained on."""
    engine = PlainEngine()
    engine.spec = replace(engine.spec, fingerprint="plain-2")
    return VisualMemory.open(memory.store, model=engine)


def filled() -> VisualMemory:
    memory = plain()
    for name in "ab":
        tell(memory.session(name))
    memory.collection("books").add_documents(DOCUMENTS)
    return memory


def test_a_question_without_room_is_refused_before_it_is_answered(url: str) -> None:
    with plain(store=url) as other:
        engine = engine_of(other)
    quota = Quota(messages=5, scope_messages=4)
    with VisualMemory.open(url, model=engine, quota=quota) as memory:
        session = tell(memory.session("a"))
        session.add("user", "One more.")
        for ask in (session.ask, lambda text: session.add("user", text)):
            with pytest.raises(QuotaExceededError, match=r"session 'a' holds 4 of 4 messages"):
                ask("And another?")
        assert engine.contexts == []
        assert said(session) == [*TALK, ("user", "One more.")]
        memory.session("b").add("user", "Hi.")
        with pytest.raises(QuotaExceededError, match="namespace 'default' holds 5 of 5"):
            memory.collection("c").add_documents(DOCUMENTS)
        assert memory.usage().messages == 5
        memory.session("b").delete()
        assert memory.collection("c").add_documents(DOCUMENTS[:1]) == 1
        usage = memory.usage()
        assert (usage.messages, usage.sessions, usage.collections) == (5, 1, 1)
        assert usage.bytes > 500


def test_an_answer_without_room_is_given_and_told() -> None:
    memory = VisualMemory.open("memory://", model=PlainEngine(["Miso."]), quota=Quota(messages=1))
    end = memory.session("a").ask("What is my cat called?")
    assert end.text == "Miso."
    [told] = end.degraded
    assert "the answer was not logged" in told
    assert said(memory.session("a")) == [("user", "What is my cat called?")]


def test_usage_of_nothing() -> None:
    assert plain().usage() == StoreUsage()


def test_garbage_is_what_the_model_will_not_ask_for() -> None:
    memory = filled()
    chunks = {name: len({c.id for c in memory.session(name).chunks()}) for name in "ab"}
    shelf = len({c.id for c in memory.collection("books").chunks()})
    whole = sum(chunks.values()) + shelf
    assert memory.collect_garbage() == Collected(3, whole, 0, 0)

    scope = memory.session("a").scope
    memory.store.put_many(scope, "plain-1", {"gone": b"1", "gone too": b"2"})
    assert memory.collect_garbage(["b"]) == Collected(1, chunks["b"], 0, 0)
    assert memory.collect_garbage() == Collected(3, whole, 0, 2)

    after = newer(memory)
    assert after.reencode(["a"]) == Reencoded(1, chunks["a"], chunks["a"])
    assert after.collect_garbage() == Collected(3, chunks["a"], whole, 0)
    assert after.collect_garbage().dropped == 0
    assert after.store.tensor_ids(memory.session("b").scope) == {}
    assert said(memory.session("a")) == TALK


def test_all_is_encoded_ahead_of_time_and_goes_on_where_it_ended() -> None:
    memory = filled()
    after = newer(memory)
    engine = engine_of(after)
    real, calls = memory.store.put_many, [0]

    def fails(*given: object) -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise StoreUnavailableError("out of order")
        real(*given)  # type: ignore[arg-type]

    assert isinstance(memory.store, InMemoryStore)
    memory.store.put_many = fails  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailableError):
        after.reencode()
    done = len({c.id for c in after.session("a").chunks()})
    engine.encoded.clear()
    seen: list[tuple[int, int]] = []
    found = after.reencode(progress=lambda done, of: seen.append((done, of)))
    assert (found.scopes, found.chunks - found.encoded) == (3, done)
    assert len(engine.encoded) == found.encoded > 0
    assert seen == [(1, 3), (2, 3), (3, 3)]
    engine.encoded.clear()
    assert after.reencode() == replace(found, encoded=0)
    after.session("a").ask("Who?", include=[after.collection("books")])
    assert engine.encoded == []


def test_an_engine_without_a_model_encodes_nothing() -> None:
    engine = PlainEngine()
    engine.spec = replace(engine.spec, answers=False)
    with pytest.raises(ModelError, match="makes no visual tokens"):
        VisualMemory.open("memory://", model=engine).reencode()
