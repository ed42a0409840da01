"""A session that mirrors a conversation kept elsewhere, and what is read of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.memories import engine_of, plain, said, whole
from vist2_memory import (
    Chunk,
    ConflictError,
    ContextOverflowError,
    EncodingError,
    InvalidMessageError,
    Message,
    ModelError,
)
from vist2_memory.store import InMemoryStore
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import GenerationParams, VisualTokens

TALK = [
    Message(
        "user" if number % 2 == 0 else "assistant",
        f"This is message number {number}.",
        f"m{number}",
    )
    for number in range(8)
]


def test_what_is_new_is_added_in_one_step_and_cut_as_if_it_were_said_here() -> None:
    memory = plain()
    mirror, spoken = memory.session("mirror"), memory.session("spoken")
    mirror.extend(TALK[:3], after=0)
    mirror.extend(TALK[3:], after=3)
    for message in TALK:
        spoken.add(message.role, message.text, id=message.id)
    assert [m.id for m in mirror.held()] == [m.id for m in TALK]
    assert said(mirror) == said(spoken)
    assert mirror.chunks() == spoken.chunks()
    assert whole(mirror) == whole(spoken)
    assert {chunk.text for chunk in mirror.chunks()} <= set(engine_of(memory).encoded)


@pytest.mark.parametrize("after", [2, 4])
def test_where_another_writer_came_first_nothing_is_added(after: int) -> None:
    session = plain().session("a")
    session.extend(TALK[:3], after=0)
    with pytest.raises(ConflictError, match="look again"):
        session.extend(TALK[4:6], after=after)
    assert [m.id for m in session.held()] == ["m0", "m1", "m2"]


def test_another_process_is_seen_and_only_what_is_new_is_read() -> None:
    store = InMemoryStore()
    here, there = plain(store=store).session("a"), plain(store=store).session("a")
    here.extend(TALK[:2], after=0)
    assert [m.id for m in there.held()] == ["m0", "m1"]
    here.extend(TALK[2:4], after=2)
    reads: list[int] = []
    real = store.snapshot

    def snapshot(scope: object, after: int = 0) -> object:
        reads.append(after)
        return real(scope, after)  # type: ignore[arg-type]

    store.snapshot = snapshot  # type: ignore[method-assign, assignment]
    assert [m.id for m in there.held()] == ["m0", "m1", "m2", "m3"]
    assert reads == [1]
    with pytest.raises(ConflictError):
        there.extend(TALK[2:3], after=2)


def test_one_message_that_cannot_be_stored_keeps_all_of_them_out() -> None:
    session = plain().session("a")
    with pytest.raises(InvalidMessageError):
        session.extend([TALK[0], Message("user", "", "empty")], after=0)
    with pytest.raises(InvalidMessageError, match="unknown role"):
        session.extend([TALK[0], Message("document", "x", "d")], after=0)
    with pytest.raises(ContextOverflowError, match="system prompt"):
        session.extend([TALK[0], Message("system", "Obey. " * 2000, "s")], after=0)
    assert session.held() == []


def test_the_measure_is_what_an_answer_reads() -> None:
    memory = plain(max_visual_tokens=10_000)
    session, books = memory.session("a"), memory.collection("b")
    books.add_documents(["The ferry leaves at nine, from the old harbour."])
    session.extend(TALK, after=0)
    recent = [Message("system", "Be brief."), Message("user", "And now?")]
    params = GenerationParams(max_tokens=5)
    for upto in (None, 0, 3, 8):
        measured = session.measure(recent, upto=upto, include=[books], params=params)
        list(session.complete(recent, upto=upto, include=[books], params=params))
        context = engine_of(memory).contexts[-1]
        count = memory.engine.chunker.count
        assert measured.text == count(context.pinned) + count(context.tail)
        assert measured.visual == sum(map(len, context.visual)) > 0


def test_async_twins() -> None:
    async def run() -> list[Message]:
        session = plain().session("a")
        await session.aextend(TALK, after=0)
        return await session.aheld()

    assert [m.id for m in asyncio.run(run())] == [m.id for m in TALK]


def test_some_documents_of_a_collection() -> None:
    memory = plain()
    books = memory.collection("b")
    texts = ["The ferry leaves at nine.", "Bees sleep in winter.", "The harbour is old."]
    books.add_documents(texts)
    ids = [document.id for document in books.documents()]
    some = books.only([ids[0], ids[2], "unknown"])
    assert [document.text for document in some.documents()] == [texts[0], texts[2]]
    assert asyncio.run(some.adocuments()) == some.documents()
    assert "".join(c.text for c in some.chunks()) == "".join(
        MARKS["document"] + texts[n] for n in (0, 2)
    )
    assert not some.search("bees")
    assert [found.message.text for found in some.search("old")] == [texts[2]]
    list(memory.session("a").complete([Message("user", "When?")], include=[some]))
    read = "".join(chunk.text for chunk in engine_of(memory).contexts[-1].sources)
    assert "ferry" in read
    assert "Bees" not in read


def test_an_encoder_that_fails_is_named_and_the_text_is_kept() -> None:
    memory = plain()
    session, engine = memory.session("a"), engine_of(memory)
    real = engine.encode

    def broken(chunks: Sequence[Chunk]) -> list[VisualTokens]:
        raise RuntimeError("out of memory")

    engine.encode = broken  # type: ignore[method-assign]
    with pytest.raises(EncodingError, match=r"plain failed to encode .* chunks: .*out of memory"):
        session.extend(TALK, after=0)
    assert [m.id for m in session.held()] == [m.id for m in TALK]
    with pytest.raises(EncodingError):
        list(session.complete())
    engine.encode = real  # type: ignore[method-assign]
    assert [event.text for event in session.complete()][-1] == "Yes."  # type: ignore[union-attr]


def test_an_error_of_the_library_stays_what_it_is() -> None:
    memory = plain()

    def refuses(chunks: Sequence[Chunk]) -> list[VisualTokens]:
        raise ModelError("no tower")

    engine_of(memory).encode = refuses  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="no tower"):
        memory.session("a").extend(TALK, after=0)
