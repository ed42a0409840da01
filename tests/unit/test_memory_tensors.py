"""Visual tokens are a cache: whatever happens to them, the answers stay the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.engines import CountingEngine, Script
from tests.support.memories import engine_of, plain, tell
from tests.support.plain import FailingStore
from vist2_memory import Session, VisualMemory
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.memory.recollection import recollect
from vist2_memory.store import Store
from vist2_memory.store.codec import decode, encode
from vist2_memory.types import GenerationParams

pytest_plugins = ("tests.support.fixtures",)


Damage = Callable[[Store, Session, CountingEngine, CountingEngine], None]


def _tensors(store: Store, session: Session, engine: CountingEngine) -> dict[str, bytes]:
    ids = [chunk.id for chunk in session.chunks()]
    stored = store.get_many(session.scope, engine.spec.fingerprint, ids)
    return {key: data for key, data in zip(ids, stored, strict=True) if data is not None}


def _lost(store: Store, session: Session, engine: CountingEngine, other: CountingEngine) -> None:
    store.drop_many(session.scope, engine.spec.fingerprint, [c.id for c in session.chunks()])


def _evicted(store: Store, session: Session, engine: CountingEngine, other: CountingEngine) -> None:
    store.drop_many(session.scope, engine.spec.fingerprint, [session.chunks()[1].id])


def _foreign(store: Store, session: Session, engine: CountingEngine, other: CountingEngine) -> None:
    """Only another model's tensors are there, each where it belongs."""
    _lost(store, session, engine, other)
    theirs = {t.chunk_id: encode(t, session.scope) for t in other.encode(session.chunks())}
    store.put_many(session.scope, other.spec.fingerprint, theirs)


def _foreign_in_place(
    store: Store, session: Session, engine: CountingEngine, other: CountingEngine
) -> None:
    """Another model's tensors lie where ours belong."""
    theirs = {t.chunk_id: encode(t, session.scope) for t in other.encode(session.chunks())}
    store.put_many(session.scope, engine.spec.fingerprint, theirs)


def _corrupted(
    store: Store, session: Session, engine: CountingEngine, other: CountingEngine
) -> None:
    for key, data in _tensors(store, session, engine).items():
        bad = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
        store.put_many(session.scope, engine.spec.fingerprint, {key: bad})


def _swapped(store: Store, session: Session, engine: CountingEngine, other: CountingEngine) -> None:
    keys, values = zip(*_tensors(store, session, engine).items(), strict=True)
    moved = dict(zip(keys, (*values[1:], values[0]), strict=True))
    store.put_many(session.scope, engine.spec.fingerprint, moved)


def _of_another_session(
    store: Store, session: Session, engine: CountingEngine, other: CountingEngine
) -> None:
    scope = replace(session.scope, name="somebody else")
    theirs = {t.chunk_id: encode(t, scope) for t in engine.encode(session.chunks())}
    store.put_many(session.scope, engine.spec.fingerprint, theirs)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_lost, None),
        (_evicted, None),
        (_foreign, None),
        (_foreign_in_place, "was made by"),
        (_corrupted, "checksum does not hold"),
        (_swapped, "lies under"),
        (_of_another_session, "checksum does not hold"),
    ],
)
def test_a_tensor_that_is_missing_or_refused_is_encoded_again_and_the_answer_is_the_same(
    checkpoint: Path, other_checkpoint: Path, script: Script, damage: Damage, told: str | None
) -> None:
    engine, other = CountingEngine(checkpoint), CountingEngine(other_checkpoint)
    memory = VisualMemory.open("memory://", model=engine, cache_bytes=0)
    params = GenerationParams(max_tokens=6)
    good, bad = tell(memory.session("good")), tell(memory.session("bad"))
    expected = good.ask("Who?", params=params)
    logits, script.logits = script.logits, []
    memory.flush()
    damage(memory.store, bad, engine, other)
    before = len(_tensors(memory.store, bad, engine))
    engine.encoded.clear()
    chunks = bad.chunks()
    end = bad.ask("Who?", params=params)

    gone = chunks[1:2] if damage is _evicted else chunks
    assert before == (0 if damage in (_lost, _foreign) else len(chunks) - (damage is _evicted))
    assert engine.encoded[: len(gone)] == [chunk.text for chunk in gone]
    assert end.text == expected.text
    assert all(np.array_equal(a, b) for a, b in zip(logits, script.logits, strict=True))
    assert len(logits) > 2
    assert end.usage.text_tokens == expected.usage.text_tokens
    assert end.usage.cached_visual_tokens < expected.usage.cached_visual_tokens
    assert len(end.degraded) == (len(chunks) if told else 0)
    assert all(told is None or told in note for note in end.degraded)
    # What was encoded again is good now, under our fingerprint and in this session.
    memory.flush()
    again = _tensors(memory.store, bad, engine)
    for chunk in chunks:
        decode(
            again[chunk.id], scope=bad.scope, fingerprint=engine.spec.fingerprint, chunk_id=chunk.id
        )
    engine.encoded.clear()
    recollect(memory.store, engine, bad.scope, chunks)
    assert engine.encoded == []


@pytest.mark.parametrize("broken", [("get_many",), ("put_many",), ("get_many", "put_many")])
def test_without_the_tensor_store_the_answer_is_the_same_and_says_so(
    checkpoint: Path, broken: tuple[str, ...]
) -> None:
    params = GenerationParams(max_tokens=6)
    whole_store, failing = FailingStore(), FailingStore(*broken)
    answers = []
    for store in (whole_store, failing):
        memory = VisualMemory.open(store, model=CountingEngine(checkpoint), cache_bytes=0)
        session = tell(memory.session("a"))
        memory.flush()
        answers.append(session.ask("What is my cat called?", params=params))
    assert answers[0].degraded == ()
    assert answers[0].text == answers[1].text
    for method in broken:
        assert any(f"{method} is out of order" in note for note in answers[1].degraded)
    assert answers[1].usage.cached_visual_tokens == 0


def test_a_log_that_fails_is_told_before_anything_is_generated() -> None:
    memory = plain("never", store=FailingStore("append"))
    session = memory.session("a")
    with pytest.raises(StoreUnavailableError, match="append is out of order"):
        session.ask("Who?")
    with pytest.raises(StoreUnavailableError):
        session.add("user", "Hello.")
    assert engine_of(memory).contexts == []
    assert session.messages() == []
