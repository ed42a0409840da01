"""Agents whose states LangGraph keeps in Redis, and their memory in Redis too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.redis import RedisSaver

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from tests.support.agents import agent_memory, engine_of, shown
from tests.support.redis_modules import HOW, server_with_modules
from tests.support.redis_servers import RedisServer
from vist2_memory import VisualMemory

THREAD: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that LangGraph's checkpointer can use."""
    server = server_with_modules(tmp_path_factory.mktemp("modules"))
    if server is None:
        pytest.skip(HOW)
    yield server
    server.stop()


def agent_of(memory: VisualMemory, saver: Any) -> Any:
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1))
    return create_agent(
        ChatVIST2(model=memory.engine), [], middleware=[middleware], checkpointer=saver
    )


def say(agent: Any, text: str, config: Any = THREAD) -> Any:
    agent.invoke(
        {"messages": [HumanMessage(f"{text} You know the old harbour, my friend.")]}, config
    )
    return agent.get_state(THREAD).config


def read_last(memory: VisualMemory) -> str:
    context = engine_of(memory).contexts[-1]
    return shown(context) + context.tail


def test_memory_in_redis_survives_a_restart_of_the_agent(redis_url: str) -> None:
    saver = InMemorySaver()
    encoded: list[str] = []
    for run in range(2):
        memory = agent_memory(store=redis_url)
        with memory:
            for number in range(3):
                say(agent_of(memory, saver), f"Run {run} says {number}.")
            encoded += engine_of(memory).encoded
            last = read_last(memory)
    assert "Run 0 says 0." in last
    assert "Run 1 says 2." in last
    assert len(encoded) == len(set(encoded))


def test_states_and_memory_in_redis_survive_a_restart(stack: RedisServer) -> None:
    for run in range(2):
        with (
            RedisSaver.from_conn_string(stack.url) as saver,
            agent_memory(store=stack.url) as memory,
        ):
            saver.setup()
            agent = agent_of(memory, saver)
            for number in range(3):
                say(agent, f"Run {run} says {number}.")
            assert len(agent.get_state(THREAD).values["messages"]) == 6 * (run + 1)
            last = read_last(memory)
    assert "Run 0 says 0." in last
    assert "Run 1 says 2." in last


def test_branches_of_states_in_redis_do_not_see_each_other(stack: RedisServer) -> None:
    with RedisSaver.from_conn_string(stack.url) as saver, agent_memory(store=stack.url) as memory:
        saver.setup()
        agent = agent_of(memory, saver)
        other: Any = {"configurable": {"thread_id": "fork"}}
        agent.invoke({"messages": [HumanMessage("My cat is called Miso, as you know.")]}, other)
        start = agent.get_state(other).config
        for text in ("The code is 4711, keep it well.", "What is it?"):
            agent.invoke({"messages": [HumanMessage(text)]}, other)
        assert "4711" in read_last(memory)
        agent.invoke({"messages": [HumanMessage("The code is 1234, keep it well.")]}, start)
        agent.invoke({"messages": [HumanMessage("What is it?")]}, agent.get_state(other).config)
        assert "1234" in read_last(memory)
        assert "4711" not in read_last(memory)
