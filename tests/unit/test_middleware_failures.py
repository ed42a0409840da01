"""VisualMemoryMiddleware where something fails, does not fit, or is not allowed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import HumanMessage, SystemMessage

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from tests.support.agent_runs import agent_of, say, talked, thread
from tests.support.agents import (
    SilentStore,
    StrictChat,
    agent_memory,
    engine_of,
)
from vist2_memory import InvalidInputError, VisualMemory


def test_what_cannot_fit_is_a_clear_error() -> None:
    memory = agent_memory()
    agent = agent_of(memory, max_tokens=100, prompt="Obey. " * 200)
    with pytest.raises(ContextOverflowError, match="does not fit into 100 tokens: system prompt"):
        say(agent, "Hello.")
    pinned = agent_of(memory, keep_recent=("messages", 1))
    pinned.update_state(thread("u"), {"messages": [SystemMessage("Obey. " * 600)]})
    with pytest.raises(ContextOverflowError, match=r"would have \d+ tokens, the model"):
        say(pinned, "Hello.", thread("u"))


@pytest.mark.parametrize("broken", ["append", "snapshot"])
def test_where_the_store_fails_text_is_sent_and_it_is_told(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = SilentStore()
    memory = agent_memory(store=store)
    agent = agent_of(memory, keep_recent=("messages", 2))
    talked(agent, 4)
    store.broken.add(broken)
    with caplog.at_level(logging.WARNING, logger="langchain_vist2"):
        messages = talked(agent, 1)
    [note] = messages[-1].response_metadata["degraded"]
    assert "sent text only" in note
    assert "out of order" in note
    assert "thread 't'" in caplog.text
    context = engine_of(memory).contexts[-1]
    assert not context.visual
    assert context.tail.count("\ue000") == 5
    store.broken.clear()
    messages = talked(agent, 1)
    assert not messages[-1].response_metadata["degraded"]
    assert engine_of(memory).contexts[-1].visual


def test_where_the_encoder_fails_text_is_sent_within_the_budget() -> None:
    memory = agent_memory()
    agent = agent_of(memory, keep_recent=("messages", 2), max_tokens=400)
    talked(agent, 3)
    engine = engine_of(memory)

    def broken(chunks: Any) -> Any:
        raise RuntimeError("out of memory")

    engine.encode = broken  # type: ignore[method-assign]
    messages = talked(agent, 9)
    assert "out of memory" in messages[-1].response_metadata["degraded"][0]
    assert len(messages) == 24
    assert max(engine.read) <= 400
    context = engine.contexts[-1]
    assert not context.visual
    assert "messages of this conversation are not shown here; expand_memory(search" in context.tail
    assert messages[-2].text in context.tail


def test_a_store_that_fails_while_the_model_reads_is_told_too() -> None:
    store = SilentStore()
    memory = agent_memory(store=store)
    session = memory.session("t")
    agent = agent_of(memory, keep_recent=("messages", 2))
    talked(agent, 4)
    complete = session.complete

    def breaks(*args: Any, **options: Any) -> Any:
        store.broken.add("snapshot")
        return complete(*args, **options)

    session.complete = breaks  # type: ignore[method-assign]
    messages = talked(agent, 1)
    assert "out of order" in messages[-1].response_metadata["degraded"][0]


def test_a_memory_of_another_model_is_refused() -> None:
    memory, other = agent_memory(), agent_memory()
    engine_of(other).spec = engine_of(other).spec.__class__(
        **{
            **{
                name: getattr(engine_of(other).spec, name)
                for name in engine_of(other).spec.__slots__
            },
            "fingerprint": "another",
        }
    )
    agent = agent_of(memory, model=ChatVIST2(model=other.engine))
    with pytest.raises(InvalidInputError, match="give both the same engine"):
        say(agent, "Hello.")
    pages = VisualMemory.open("memory://", model="pages:openai")
    with pytest.raises(InvalidInputError, match="ChatVIST2 reads visual tokens"):
        say(agent_of(pages, model=ChatVIST2(model=memory.engine)), "Hello.")


def test_images_are_remembered_by_name_with_a_warning_or_refused() -> None:
    image = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
    pictured = HumanMessage([{"type": "text", "text": "See this:"}, image])
    memory = agent_memory()
    model = ChatVIST2(model=memory.engine, media="placeholder")
    agent = agent_of(memory, model=model, keep_recent=("messages", 1))
    with pytest.warns(UserWarning, match="image"):
        agent.invoke({"messages": [pictured]}, thread())
    with pytest.warns(UserWarning, match="memory holds text only: its name is remembered"):
        talked(agent, 2)
    assert memory.session("t").messages()[0].text == "See this:[image: image/png]"
    strict = agent_of(memory, model=model, keep_recent=("messages", 1), media="error")
    with pytest.raises(InvalidInputError, match="media='placeholder'"):
        strict.invoke({"messages": [pictured, HumanMessage("What is it?")]}, thread("u"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("keep_recent", ("words", 3)),
        ("keep_recent", ("messages", 0)),
        ("keep_recent", ("fraction", 1.5)),
        ("keep_recent", 6),
        ("trigger", ("tokens", True)),
        ("trigger", [("tokens", 10), ("messages", -1)]),
        ("max_tokens", 0),
        ("tool_result_tokens", 0.5),
        ("media", "drop"),
    ],
)
def test_options_that_are_not_allowed(option: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=option):
        VisualMemoryMiddleware(agent_memory(), **{option: value})


def test_fractions_are_of_the_budget_or_of_what_the_model_takes() -> None:
    memory = agent_memory()
    agent = agent_of(memory, keep_recent=("fraction", 0.3), max_tokens=300, expand=False)
    talked(agent, 8)
    assert 1 < engine_of(memory).contexts[-1].tail.count("\ue000") < 8
    unknown = agent_of(agent_memory(), model=StrictChat(), trigger=("fraction", 0.5))
    pages = VisualMemory.open("memory://", model="pages:openai")
    unknown = agent_of(pages, model=StrictChat(), trigger=("fraction", 0.5))
    with pytest.raises(InvalidInputError, match="give max_tokens"):
        say(unknown, "Hello.")


def test_asynchronous_agents_fall_back_to_text_too() -> None:
    store = SilentStore()
    memory = agent_memory(store=store)
    agent = agent_of(memory, keep_recent=("messages", 2))
    talked(agent, 4)
    store.broken.add("snapshot")
    asked = {"messages": [HumanMessage("And now?")]}
    messages = asyncio.run(agent.ainvoke(asked, thread()))["messages"]
    assert "out of order" in messages[-1].response_metadata["degraded"][0]
    assert engine_of(memory).contexts[-1].tail.count("\ue000") == 5
