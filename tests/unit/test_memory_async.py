"""The asynchronous face."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.memories import DOCUMENTS, TALK, engine_of, plain, said
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.types import Finished, TextDelta

pytest_plugins = ("tests.support.fixtures",)


async def test_every_async_twin_does_what_its_twin_does(tmp_path: Path) -> None:
    async with plain("one two", "three") as memory:
        session = memory.session("a")
        await session.aadd("user", TALK[0][1])
        events = [event async for event in session.astream("And?")]
        assert [e.text for e in events if isinstance(e, TextDelta)] == ["one ", "two"]
        assert isinstance(events[-1], Finished)
        assert (await session.aask("And?")).text == "three"
        assert await session.amessages() == session.messages()
        assert len(session.messages()) == 5
        assert await session.aexport(tmp_path / "a.jsonl") == 5
        books = memory.collection("handbook")
        assert await books.aadd_documents(DOCUMENTS) == 2
        assert (await books.adelete()).messages == 2
        assert (await session.adelete()).messages == 5
    with pytest.raises(StoreUnavailableError, match="closed"):
        session.messages()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.01)


async def test_cancelling_an_answer_stops_it_and_leaves_the_question_open() -> None:
    memory = plain("word " * 200, "Miso.", step_s=0.02)
    session, engine = memory.session("a"), engine_of(memory)
    task = asyncio.create_task(session.aask("Tell me everything."))
    await until(lambda: engine.open_generations == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: engine.open_generations == 0)
    assert said(session) == [("user", "Tell me everything.")]
    assert (await session.aask("Who?")).text == "Miso."


async def test_leaving_an_async_stream_early_stops_it() -> None:
    memory = plain("word " * 200, step_s=0.01)
    stream = memory.session("a").astream("Tell me everything.")
    async for event in stream:
        assert isinstance(event, TextDelta)
        break
    await stream.aclose()  # type: ignore[attr-defined]
    await until(lambda: engine_of(memory).open_generations == 0)


async def test_neither_answering_nor_cancelling_holds_up_the_event_loop() -> None:
    memory = plain("two words", step_s=1.2)
    session = memory.session("a")
    gaps: list[float] = []

    async def watch() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - last)
            last = time.monotonic()

    watcher = asyncio.create_task(watch())
    task = asyncio.create_task(session.aask("Tell me everything."))
    await until(lambda: engine_of(memory).open_generations == 1)
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: engine_of(memory).open_generations == 0)
    await asyncio.sleep(0.05)  # the watcher notices, if it was held up
    watcher.cancel()
    assert max(gaps) < 0.7


async def test_many_sessions_answer_at_once() -> None:
    memory = plain(*["one two three"] * 8, step_s=0.1)
    start = time.monotonic()
    ends = await asyncio.gather(*(memory.session(f"s{n}").aask("Who?") for n in range(8)))
    assert [end.text for end in ends] == ["one two three"] * 8
    assert time.monotonic() - start < 8 * 0.2
