"""Agents with the middleware: time travel, forks, and a restart in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from langchain_vist2.agents.following import sessions_of
from tests.support.agents import agent_memory, engine_of, shown
from tests.support.memories import in_a_process, output_of
from vist2_memory import VisualMemory
from vist2_memory.types import Context

THREAD: Any = {"configurable": {"thread_id": "t"}}


def words(context: Context) -> str:
    return shown(context) + context.tail


def test_branches_of_a_thread_do_not_see_each_other() -> None:
    memory = agent_memory()
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1))
    agent = create_agent(
        ChatVIST2(model=memory.engine), [], middleware=[middleware], checkpointer=InMemorySaver()
    )
    contexts = engine_of(memory).contexts

    def say(text: str, config: Any = THREAD) -> Any:
        agent.invoke({"messages": [HumanMessage(text + " And the harbour is old.")]}, config)
        return agent.get_state(THREAD).config

    say("My cat is called Miso.")
    fork_at = say("I live by the sea.")
    say("The code of the safe is 4711.")
    main = say("My sister is called Anna.")
    assert "4711" in words(contexts[-1])

    say("The code of the safe is 1234.", fork_at)  # back in time
    assert "4711" not in words(contexts[-1])
    assert "Anna" not in words(contexts[-1])
    branch = say("What do you know?")
    assert "Miso" in shown(contexts[-1]) + contexts[-1].tail
    assert "1234" in words(contexts[-1])
    assert "4711" not in words(contexts[-1])

    say("What do you know?", main)  # and forward on the first way
    assert "4711" in words(contexts[-1])
    assert "Anna" in words(contexts[-1])
    assert "1234" not in words(contexts[-1])

    say("And now?", branch)
    assert "1234" in words(contexts[-1])
    assert "4711" not in words(contexts[-1])
    encoded = engine_of(memory).encoded
    assert sum("Miso" in text for text in encoded) == 1, "a branch takes over what is common"


def test_what_is_edited_or_removed_in_the_state_is_not_in_memory_any_more() -> None:
    memory = agent_memory()
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1))
    agent = create_agent(
        ChatVIST2(model=memory.engine), [], middleware=[middleware], checkpointer=InMemorySaver()
    )
    for text in ("My PIN is 4711, keep it.", "I like bees.", "I like ferries."):
        agent.invoke({"messages": [HumanMessage(text + " You know that, my friend.")]}, THREAD)
    messages = agent.get_state(THREAD).values["messages"]
    redacted = HumanMessage("My PIN is [redacted], keep it.", id=messages[0].id)
    agent.update_state(THREAD, {"messages": [redacted]})
    agent.invoke({"messages": [HumanMessage("What do you know of me?")]}, THREAD)
    last = words(engine_of(memory).contexts[-1])
    assert "4711" not in last
    assert "[redacted]" in last
    assert "bees" in last


def test_a_copy_of_a_thread_has_a_memory_of_its_own() -> None:
    memory = agent_memory()
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1))
    agent = create_agent(
        ChatVIST2(model=memory.engine), [], middleware=[middleware], checkpointer=InMemorySaver()
    )
    for number in range(4):
        agent.invoke({"messages": [HumanMessage(f"I say the number {number}, loud.")]}, THREAD)
    copy: Any = {"configurable": {"thread_id": "copy"}}
    agent.update_state(copy, {"messages": agent.get_state(THREAD).values["messages"]})
    agent.invoke({"messages": [HumanMessage("My secret is 99.")]}, copy)
    agent.invoke({"messages": [HumanMessage("Well?")]}, copy)
    assert "number 0" in words(engine_of(memory).contexts[-1])
    agent.invoke({"messages": [HumanMessage("Well?")]}, THREAD)
    assert "secret" not in words(engine_of(memory).contexts[-1])
    assert sessions_of(memory, "t") == ["t"]
    assert sessions_of(memory, "copy") == ["copy"]


# Restarts


def test_memory_survives_a_restart(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path / 'memory.db'}", str(tmp_path / "states.db")
    read: list[str] = []
    encoded: list[str] = []
    for run in range(3):
        with (
            SqliteSaver.from_conn_string(file) as saver,
            agent_memory(store=url) as memory,
        ):
            middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1))
            agent = create_agent(
                ChatVIST2(model=memory.engine), [], middleware=[middleware], checkpointer=saver
            )
            for number in range(3):
                text = f"In run {run} I say the number {number}, and the ferry leaves at nine."
                agent.invoke({"messages": [HumanMessage(text)]}, THREAD)
            read.append(words(engine_of(memory).contexts[-1]))
            encoded += engine_of(memory).encoded
    for run in range(3):
        for number in range(3):
            assert f"In run {run} I say the number {number}" in read[-1]
    assert len(encoded) == len(set(encoded)), "what was encoded is read from the store"


PROCESS = """
import json, sys
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from tests.support.agents import agent_memory, engine_of, shown

url, file, text = sys.argv[1:]
with SqliteSaver.from_conn_string(file) as saver, agent_memory(store=url) as memory:
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1))
    agent = create_agent(
        ChatVIST2(model=memory.engine), [], middleware=[middleware], checkpointer=saver
    )
    thread = {"configurable": {"thread_id": "t"}}
    for number in range(2):
        agent.invoke({"messages": [HumanMessage(f"{text} {number}, so it is.")]}, thread)
    context = engine_of(memory).contexts[-1]
    print(json.dumps([shown(context) + context.tail, len(context.visual)]))
"""


@pytest.mark.timeout(120)
def test_another_process_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path / 'memory.db'}", str(tmp_path / "states.db")
    outputs = [
        json.loads(output_of(in_a_process(PROCESS, url, file, text)))
        for text in ("My cat is called Miso, number", "My dog is called Rex, number")
    ]
    said, visual = outputs[1]
    assert visual > outputs[0][1]
    for text in ("Miso, number 0", "Miso, number 1", "Rex, number 0", "Rex, number 1"):
        assert text in said


def test_a_store_that_was_emptied_is_filled_again_from_the_state() -> None:
    memory = agent_memory()
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1))
    agent = create_agent(
        ChatVIST2(model=memory.engine), [], middleware=[middleware], checkpointer=InMemorySaver()
    )
    for number in range(4):
        agent.invoke({"messages": [HumanMessage(f"I say the number {number}, loud.")]}, THREAD)
    memory.session("t").delete()
    agent.invoke({"messages": [HumanMessage("Well?")]}, THREAD)
    assert "number 0" in words(engine_of(memory).contexts[-1])


def test_an_open_memory_may_be_of_keys_and_of_another_namespace(tmp_path: Path) -> None:
    key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    engine = engine_of(agent_memory())
    with VisualMemory.open(url, model=engine, namespace="acme", key=key) as memory:
        middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1))
        agent = create_agent(
            ChatVIST2(model=engine), [], middleware=[middleware], checkpointer=InMemorySaver()
        )
        for number in range(3):
            state = agent.invoke({"messages": [HumanMessage(f"Number {number}.")]}, THREAD)
        assert isinstance(state["messages"][-1], AIMessage)
        assert [info.scope.namespace for info in memory.sessions()] == ["acme"]
