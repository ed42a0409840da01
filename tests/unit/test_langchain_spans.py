"""The stages of an answer as child runs, in every way of calling ChatVIST2."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run

from langchain_vist2 import ChatVIST2
from tests.support.scripted import Scripted

pytest_plugins = ("tests.support.scripted_fixtures",)

LONG = "a word and another word and one more, " * 10


class Tree(BaseTracer):
    """Keeps the runs that were traced."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)


def names(run: Run) -> list[str]:
    return [child.name for child in run.child_runs]


@pytest.fixture
def alone(scripted: Scripted) -> ChatVIST2:
    return ChatVIST2(model=scripted)


def test_invoke_and_stream(alone: ChatVIST2) -> None:
    first, second = Tree(), Tree()
    alone.invoke("One. " + LONG, config={"callbacks": [first]})
    list(alone.stream("And two. " + LONG, config={"callbacks": [second]}))
    for tree in (first, second):
        [run] = tree.roots
        assert names(run)[-1] == "generate"
        assert "encode" in names(run)


async def test_ainvoke_and_astream(alone: ChatVIST2) -> None:
    first, second = Tree(), Tree()
    await alone.ainvoke(LONG, config={"callbacks": [first]})
    async for _ in alone.astream("Other. " + LONG, config={"callbacks": [second]}):
        pass
    for tree in (first, second):
        [run] = tree.roots
        assert names(run)[-1] == "generate"
        assert "encode" in names(run)
        assert all(child.end_time and child.error is None for child in run.child_runs)


def test_streaming_by_a_setting_and_by_stream_events(scripted: Scripted) -> None:
    tree = Tree()
    ChatVIST2(model=scripted, streaming=True).invoke("q", config={"callbacks": [tree]})
    assert names(tree.roots[0])[-1] == "generate"


@pytest.mark.filterwarnings("ignore:.*is in beta")
async def test_events_of_a_chain_show_the_stages(alone: ChatVIST2) -> None:
    chain = RunnableLambda(lambda text: text) | alone
    events = [event async for event in chain.astream_events(LONG, version="v2")]
    [model] = [e for e in events if e["event"] == "on_chat_model_start"]
    stages = [e for e in events if e["event"] == "on_chain_start" and e["name"] == "generate"]
    assert [stage["parent_ids"][-1] for stage in stages] == [model["run_id"]]
    tree = Tree()
    stream = alone.stream_events("q", config={"callbacks": [tree]}, version="v3")
    assert stream.output.text
    assert names(tree.roots[0])[-1] == "generate"


class Loops(AsyncCallbackHandler):
    """Notes on which event loop it is told of what."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.loop = asyncio.get_running_loop()

    async def on_chain_start(self, *args: Any, name: str = "", **kwargs: Any) -> None:
        await asyncio.sleep(0.01)
        self.told.append((name, asyncio.get_running_loop() is self.loop))

    async def on_chain_end(self, *args: Any, **kwargs: Any) -> None:
        self.told.append(("end", asyncio.get_running_loop() is self.loop))

    async def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.told.append(("llm end", True))


async def test_async_handlers_are_told_on_their_loop_and_in_order(alone: ChatVIST2) -> None:
    handler = Loops()
    await alone.ainvoke("q", config={"callbacks": [handler]})
    assert [name for name, _ in handler.told] == ["generate", "end", "llm end"]
    assert all(on_loop for _, on_loop in handler.told)


class Errors(BaseCallbackHandler):
    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.failed: list[tuple[str, str]] = []

    def on_chain_start(self, *args: Any, run_id: UUID, name: str = "", **kwargs: Any) -> None:
        self.names[run_id] = name

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.failed.append((self.names.pop(run_id), type(error).__name__))

    def on_chain_end(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
        self.names.pop(run_id)


async def test_a_stage_that_fails_or_is_left_is_told_so(
    scripted: Scripted, alone: ChatVIST2
) -> None:
    handler = Errors()
    scripted.answers = [RuntimeError("no power")] * 2
    with pytest.raises(RuntimeError, match="no power"):
        alone.invoke("q", config={"callbacks": [handler]})
    with pytest.raises(RuntimeError, match="no power"):
        await alone.ainvoke("q", config={"callbacks": [handler]})
    stream = alone.stream("q", config={"callbacks": [handler]})
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    async for _ in alone.astream("q", config={"callbacks": [handler]}):
        break
    assert [name for name, _ in handler.failed][:3] == ["generate"] * 3
    assert handler.failed[2] == ("generate", "GeneratorExit")


async def test_a_cancelled_call_leaves_no_stage_open(scripted: Scripted, alone: ChatVIST2) -> None:
    handler = Errors()
    scripted.answers = ["word " * 5000]
    call = asyncio.create_task(alone.ainvoke("q", config={"callbacks": [handler]}))
    while not scripted.running:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert handler.names == {}
    assert handler.failed == [("generate", "CancelledError")]
    while scripted.running:
        await asyncio.sleep(0.01)


def test_a_handler_of_the_model_itself_sees_them_too(scripted: Scripted) -> None:
    tree = Tree()
    ChatVIST2(model=scripted, callbacks=[tree]).invoke("q")
    assert names(tree.roots[0])[-1] == "generate"
