"""Tensors are written behind: nobody waits for them, nothing comes back, failures are told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from tests.support.memories import DOCUMENTS, TALK, engine_of, plain, tell
from tests.support.plain import FailingStore, PlainEngine
from vist2_memory import Session, VisualMemory
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.memory.behind import WriteBehind
from vist2_memory.store import InMemoryStore, Scope
from vist2_memory.store.sealed import SealedStore
from vist2_memory.store.seals import Key, Signature
from vist2_memory.types import (
    ChunkFolded,
    Context,
    GenerationEvent,
    GenerationParams,
    Message,
    TextDelta,
)

SCOPE, OTHER = Scope("n", "session", "s"), Scope("n", "session", "other")
SAID = Message("user", "Hello.", id="m1")


class GatedStore(InMemoryStore):
    """The store in memory; tensors are put only while ``gate`` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.tried = threading.Event(), threading.Event()
        self.puts: list[list[str]] = []

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        self.tried.set()
        assert not items or self.gate.wait(30)
        super().put_many(scope, fingerprint, items)
        self.puts.append(list(items))


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def stored(session: Session) -> list[bool]:
    store = session._memory.store
    ids = [chunk.id for chunk in session.chunks()]
    return [data is not None for data in store.get_many(session.scope, "plain-1", ids)]


def test_neither_a_message_nor_an_answer_waits_for_tensors() -> None:
    store = GatedStore()
    memory = plain("They rest on Sundays.", store=store)
    session = tell(memory.session("a"))
    end = session.ask("When do Anna's bees rest?")
    assert (end.text, end.degraded) == ("They rest on Sundays.", ())
    assert store.puts == []
    store.gate.set()
    memory.close()
    read = len(engine_of(memory).contexts[0].visual)
    assert stored(session)[:read] == [True] * read
    assert len(store.puts) > 1


def test_documents_do_not_wait_either_and_closing_does() -> None:
    store = GatedStore()
    memory = plain(store=store)
    books = memory.collection("handbook")
    books.add_documents(DOCUMENTS)
    closing = in_thread(memory.close)
    assert store.tried.wait(30)
    assert closing.is_alive()
    store.gate.set()
    closing.join(30)
    ids = [chunk.id for chunk in books.chunks()]
    assert None not in store.get_many(books.scope, "plain-1", ids)


def test_who_brings_more_than_there_is_room_for_waits() -> None:
    store = GatedStore()
    store.append(SCOPE, [SAID])
    behind = WriteBehind(store, limit=100)
    behind.put(SCOPE, "f", {"large": b"x" * 1000})  # alone it may
    waiting = in_thread(lambda: behind.put(SCOPE, "f", {"small": b"x"}))
    waiting.join(0.05)
    assert waiting.is_alive()
    store.gate.set()
    waiting.join(30)
    behind.put(SCOPE, "f", {"b": b"x" * 40})
    behind.flush()
    assert store.puts == [["large"], ["small"], ["b"]]
    assert behind._bytes == 0


def test_what_could_not_be_written_is_told_once_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = plain(store=FailingStore("put_many"))
    session = tell(memory.session("a"))
    memory.flush()
    with caplog.at_level(logging.WARNING):
        [note] = session.ask("Who?").degraded
    assert note == "visual tokens were not cached: put_many is out of order"
    memory.flush()
    assert "n/session/a" not in note
    memory.store.broken.clear()  # type: ignore[attr-defined]
    memory.flush()
    session.ask("Who?")
    assert session.ask("Who?").degraded == ()


def test_what_fails_again_while_an_answer_comes_is_told_once_too() -> None:
    class Slow(PlainEngine):
        """What its memory put is written, or has failed, before it says a word."""

        def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
            memory.flush()
            yield from super().generate(context, params)

    memory = VisualMemory.open(FailingStore("put_many"), model=Slow(["It rained in Lisbon."]))
    session = tell(memory.session("a"))
    memory.flush()
    [note] = session.ask("Where did it rain?").degraded
    assert note == "visual tokens were not cached: put_many is out of order"


def test_what_could_not_be_written_is_written_with_its_next_use() -> None:
    store = FailingStore("put_many")
    memory = plain(store=store)
    used, unused = tell(memory.session("a")), tell(memory.session("b"))
    memory.flush()
    for _ in range(3):  # however often it fails
        notes = set(used.ask("Who?").degraded)  # of what was put before and what is put now
        assert notes == {"visual tokens were not cached: put_many is out of order"}
        memory.flush()
    assert not any(stored(used))
    store.broken.clear()
    used.ask("Who?")
    memory.flush()
    read = len(engine_of(memory).contexts[-1].visual)
    assert read > 3
    assert stored(used)[:read] == [True] * read
    assert not any(stored(unused))
    encoded = engine_of(memory).encoded
    assert len(encoded) == len(used.chunks()) + len(unused.chunks())


@pytest.mark.parametrize("change", ["edit", "delete"])
def test_what_could_not_be_written_and_is_gone_is_never_written(change: str) -> None:
    store = FailingStore("put_many")
    memory = plain(store=store)
    session = tell(memory.session("a"))
    memory.flush()
    before = {chunk.id for chunk in session.chunks()}
    if change == "edit":
        session.edit(session.messages()[0].id, "My dog is called Rex.")
    else:
        session.delete()
        tell(session, TALK[1:])
    store.broken.clear()
    session.ask("Who?")
    memory.flush()
    assert set(store.tensor_ids(session.scope)["plain-1"]) <= {c.id for c in session.chunks()}
    assert before - {chunk.id for chunk in session.chunks()}


def test_an_error_that_nobody_foresaw_is_told_and_the_next_write_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(InMemoryStore):
        def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
            if "bad" in items:
                raise RuntimeError("no such luck")
            super().put_many(scope, fingerprint, items)

    store = Broken()
    store.append(SCOPE, [SAID])
    behind = WriteBehind(store)
    for name in ("bad", "bad", "good"):
        behind.put(SCOPE, "f", {name: b"1"})
    behind.flush()
    assert store.get_many(SCOPE, "f", ["bad", "good"]) == [None, b"1"]
    assert behind.notes(OTHER) == []
    assert behind.notes(SCOPE) == ["visual tokens were not cached: no such luck"]
    assert behind.notes(SCOPE) == []
    assert "n/session/s" in caplog.text


def test_deleting_counts_what_was_on_its_way_and_nothing_comes_after() -> None:
    store = GatedStore()
    memory = plain(store=store)
    session = tell(memory.session("a"))
    chunks = len({chunk.id for chunk in session.chunks()})
    gone: list[object] = []
    deleting = in_thread(lambda: gone.append(session.delete()))
    assert store.tried.wait(30)
    store.gate.set()
    deleting.join(30)
    memory.flush()
    [deleted] = gone
    assert (deleted.messages, deleted.tensors) == (3, chunks)  # type: ignore[attr-defined]
    assert store._shelves == {}


def test_a_session_deleted_elsewhere_while_its_tensors_wait_stays_deleted() -> None:
    store = GatedStore()
    memory = plain(store=store)
    session, other = tell(memory.session("a")), tell(memory.session("b"))
    assert store.tried.wait(30)
    store.delete(session.scope)  # as another process does
    store.gate.set()
    memory.flush()
    shelf = store._shelves.get(session.scope)
    assert shelf is None or (shelf.log, shelf.tensors) == ([], {})
    assert all(stored(other))


def test_a_log_that_is_found_deleted_takes_what_waits_with_it() -> None:
    store = GatedStore()
    memory = plain(store=store)
    session = tell(memory.session("a"))
    first = [chunk.id for chunk in session.chunks()]
    assert store.tried.wait(30)
    store.delete(session.scope)
    finding = in_thread(session.chunks)
    finding.join(0.05)
    store.gate.set()
    finding.join(30)
    memory.flush()
    assert len(store.puts) == 1  # the one that was on its way
    assert memory.tensors._lately.get(session.scope, "plain-1", first) == {}


def test_sealing_anew_waits_for_what_is_on_its_way() -> None:
    old, new = (Key(bytes([n]) * 32) for n in (1, 2))
    inner = GatedStore()
    tell(plain(store=SealedStore(inner, Signature([old]))).session("a"), TALK[:1])
    memory = plain(store=SealedStore(inner, Signature([new, old])))
    session = tell(memory.session("a"), TALK[1:])
    resealing = in_thread(session.reseal)
    resealing.join(0.1)
    finding = in_thread(session.chunks)  # a log that was sealed anew: what waits is dropped
    finding.join(0.1)
    inner.gate.set()
    resealing.join(30)
    finding.join(30)
    memory.flush()
    newest = plain(store=SealedStore(inner, Signature([new])))
    assert all(stored(newest.session("a")))


def test_what_is_on_its_way_is_not_encoded_twice() -> None:
    store = GatedStore()
    memory = plain(store=store, cache_bytes=0)
    session = tell(memory.session("a"))
    branching = in_thread(lambda: session.branch("b"))
    branching.join(0.05)
    store.gate.set()
    branching.join(30)
    assert len(engine_of(memory).encoded) == len(session.chunks())
    memory.flush()
    assert all(stored(memory.session("b")))


class FoldingEngine(PlainEngine):
    """Folds the tail at once."""

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        yield TextDelta("It")
        [chunk, *_] = self.chunker.cut_all(context.tail)
        yield ChunkFolded(chunk, self.encode([chunk])[0])
        yield from super().generate(context, params)


@pytest.mark.parametrize("deleted", [True, False])
def test_a_session_deleted_while_it_answers_gets_no_tensors_back(deleted: bool) -> None:
    store = InMemoryStore()
    memory = VisualMemory.open(store, model=FoldingEngine(["It rained in Lisbon."]))
    session = tell(memory.session("a"))
    events = session.stream("Where did it rain?")
    assert isinstance(next(events), TextDelta)
    memory.flush()
    before = len(store._shelves[session.scope].tensors)
    if deleted:
        session.delete()
    list(events)
    memory.flush()
    if deleted:
        assert session.scope not in store._shelves
    else:
        assert len(store._shelves[session.scope].tensors) == before + 1


def test_touching_waits_for_nobody_and_its_failure_is_told() -> None:
    class Untouchable(InMemoryStore):
        def touch(self, scope: Scope, fingerprint: str = "", ids: Sequence[str] = ()) -> None:
            raise StoreUnavailableError("touch is out of order")

    behind = WriteBehind(Untouchable())
    behind.touch(SCOPE, "f", ["a"])
    behind.flush()
    assert behind.notes(SCOPE) == ["visual tokens were not cached: touch is out of order"]


def test_remarks_are_few_and_none_is_kept_for_ever() -> None:
    class Failing(InMemoryStore):
        def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
            raise StoreUnavailableError(f"{time.monotonic_ns()}")

    behind = WriteBehind(Failing())
    for number in range(50):
        behind.put(SCOPE, "f", {str(number): b"1"})
    behind.flush()
    assert 1 < len(behind.notes(SCOPE)) < 10
    assert not behind._notes


def test_text_that_was_edited_is_held_no_more_in_the_process() -> None:
    memory = plain()
    session = tell(memory.session("a"))
    before = {chunk.id for chunk in session.chunks()}
    session.edit(session.messages()[0].id, "My dog is called Rex.")
    held = {chunk for _, _, chunk in memory.tensors._lately._entries}
    assert before - held
    assert held == {chunk.id for chunk in session.chunks()}
