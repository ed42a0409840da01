"""Visual tokens held in the process: whose they are, how many, and that the store knows of uses."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.support.memories import engine_of, plain, tell
from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.lately import LatelyUsed
from vist2_memory.store import InMemoryStore, Scope
from vist2_memory.types import VisualTokens

SCOPE, OTHER = Scope("n", "session", "s"), Scope("n", "session", "other")


class CountingStore(InMemoryStore):
    """Remembers which chunks were read and touched."""

    def __init__(self, ttl: int | None = None) -> None:
        super().__init__(ttl=ttl)
        self.read_ids: list[str] = []
        self.touched: list[str] = []

    def get_many(self, scope: Scope, fingerprint: str, ids: Sequence[str]) -> list[bytes | None]:
        self.read_ids += ids
        return super().get_many(scope, fingerprint, ids)

    def touch(self, scope: Scope, fingerprint: str = "", ids: Sequence[str] = ()) -> None:
        self.touched += ids
        super().touch(scope, fingerprint, ids)


def tokens(chunk_id: str, count: int = 1, fingerprint: str = "f") -> VisualTokens:
    return VisualTokens(chunk_id, np.full((count, 10), 1.0, np.float32), fingerprint, 4)  # 40 bytes


def test_what_was_used_lately_is_not_read_again_and_counts_as_cached() -> None:
    store = CountingStore()
    memory = plain(store=store)
    session = tell(memory.session("a"))
    store.read_ids.clear()
    for _ in range(3):
        end = session.ask("Who?")
    assert len(store.read_ids) == len(set(store.read_ids))  # each chunk once, when it was new
    assert set(store.read_ids) < {chunk.id for chunk in session.chunks()}
    assert len(engine_of(memory).encoded) == len(engine_of(memory).contexts[-1].visual)
    assert end.degraded == ()
    found = memory.tensors.recollect(memory.engine, session.scope, session.chunks()[:4])
    assert found.cached_visual_tokens == sum(map(len, found.visual)) > 0


def test_without_room_everything_is_read() -> None:
    store = CountingStore()
    memory = VisualMemory.open(store, model=PlainEngine(), cache_bytes=0)
    session = tell(memory.session("a"))
    memory.flush()
    for _ in range(2):
        store.read_ids.clear()
        session.ask("Who?")
        memory.flush()
        assert {chunk.id for chunk in session.chunks()[:3]} <= set(store.read_ids)
    with pytest.raises(InvalidInputError, match="cache_bytes=-1"):
        VisualMemory.open(store, model=PlainEngine(), cache_bytes=-1)


def test_the_least_recently_used_go_first() -> None:
    lately = LatelyUsed(100)
    lately.put(SCOPE, [tokens("a"), tokens("b")])
    assert set(lately.get(SCOPE, "f", ["a"])) == {"a"}
    lately.put(SCOPE, [tokens("c")])
    assert set(lately.get(SCOPE, "f", ["a", "b", "c"])) == {"a", "c"}
    lately.put(SCOPE, [tokens("too large", 3)])
    assert set(lately.get(SCOPE, "f", ["a", "c", "too large"])) == {"a", "c"}
    lately.put(SCOPE, [tokens("a", 2)])  # over what was there
    assert len(lately.get(SCOPE, "f", ["a", "c"])["a"]) == 2
    assert lately._bytes == 80
    assert LatelyUsed(0).get(SCOPE, "f", ["a"]) == {}


def test_nothing_is_served_to_another_scope_or_model() -> None:
    lately = LatelyUsed(10_000)
    lately.put(SCOPE, [tokens("a")])
    for scope, fingerprint in ((OTHER, "f"), (Scope("m", "session", "s"), "f"), (SCOPE, "g")):
        assert lately.get(scope, fingerprint, ["a"]) == {}
    assert lately.get(Scope("n", "collection", "s"), "f", ["a"]) == {}
    lately.put(OTHER, [tokens("a")])
    lately.forget(SCOPE)
    assert lately.get(SCOPE, "f", ["a"]) == {}
    assert set(lately.get(OTHER, "f", ["a"])) == {"a"}


def test_two_sessions_that_say_the_same_read_their_own() -> None:
    store = CountingStore()
    memory = plain(store=store)
    first, second = tell(memory.session("a")), tell(memory.session("b"))
    encoded = engine_of(memory).encoded
    assert len(encoded) == 2 * len(first.chunks())
    first.delete()
    memory.flush()
    store.read_ids.clear()
    second.ask("Who?")
    assert first.ask("Who?").usage.cached_visual_tokens == 0


def test_nobody_can_change_what_others_get() -> None:
    memory = plain()
    session = tell(memory.session("a"))
    session.ask("Who?")
    for context in engine_of(memory).contexts:
        for item in context.visual:
            with pytest.raises(ValueError, match="read-only"):
                item.values[0, 0] = 7.0


def test_a_caller_who_changes_what_was_folded_changes_nothing_here() -> None:
    memory = plain()
    session = tell(memory.session("a"))
    [chunk, *_] = session.chunks()
    mine = VisualTokens(chunk.id, np.ones((2, 4), np.float32), "plain-1", 8)
    memory.tensors.remember(memory.engine, session.scope, [mine])
    mine.values[:] = 5.0
    [found] = memory.tensors.recollect(memory.engine, session.scope, [chunk]).visual
    assert (found.values == 1).all()


def test_the_store_is_told_of_uses_but_not_of_each() -> None:
    clock = [0.0]
    store = CountingStore(ttl=100)
    memory = plain(store=store)
    memory.tensors._lately._clock = lambda: clock[0]
    session = tell(memory.session("a"))
    ids = [chunk.id for chunk in session.chunks()]
    recollect = memory.tensors.recollect
    for now, told in ((9.0, 0), (10.5, 1), (12.0, 1), (20.0, 1), (21.0, 2)):
        clock[0] = now
        recollect(memory.engine, session.scope, session.chunks())
        memory.flush()
        assert store.touched.count(ids[0]) == told
    assert set(store.touched) == set(ids)


def test_no_more_is_written_again_at_once_than_was_asked() -> None:
    lately = LatelyUsed(1000)
    lately.put(SCOPE, [tokens(name) for name in "abcd"])  # 40 bytes each
    lately.not_stored(SCOPE, "f", ["a", "b", "c", "unknown"])
    lately.not_stored(OTHER, "f", ["d"])

    def again(limit: int) -> list[str]:
        return [item.chunk_id for item in lately.to_store_again(SCOPE, "f", "abcd", limit)]

    assert (again(50), again(50), again(50)) == (["a", "b"], ["c"], [])


def test_several_threads_share_it() -> None:
    lately = LatelyUsed(40 * 50)
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        scope = Scope("n", "session", str(number))
        barrier.wait()
        for step in range(300):
            lately.put(scope, [tokens(str(step % 40), 1 + step % 2)])
            for found in lately.get(scope, "f", [str(n) for n in range(40)]).values():
                assert found.values.shape[1] == 10
            if step % 50 == 0:
                lately.forget(scope)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert lately._bytes == sum(e.tokens.values.nbytes for e in lately._entries.values()) <= 2000
