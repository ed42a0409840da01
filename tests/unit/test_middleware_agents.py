"""Long runs of agents with the middleware, time travel, and a restart in between."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware.types import AgentMiddleware, ModelRequest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command, interrupt

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from langchain_vist2.following import sessions_of
from tests.support.agents import agent_memory, calls, engine_of, shown
from tests.support.histories import orphans
from tests.support.memories import in_a_process, output_of
from vist2_memory import VisualMemory
from vist2_memory.types import Context, Finished

THREAD: Any = {"configurable": {"thread_id": "t"}}


class Watching(AgentMiddleware[Any, Any, Any]):
    """Keeps what is sent, behind the middleware."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[list[BaseMessage]] = []

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]
    ) -> Any:
        self.sent.append(list(request.messages))
        return handler(request)


@tool
def look(at: int) -> str:
    """Look at a place."""
    return f"At place {at} there is a lamp, a door and a chair."


@tool
def read_book(pages: int) -> str:
    """Read a book."""
    return " ".join(f"Line {number} says {number * 7}." for number in range(pages * 30))


@tool
def fail(why: str) -> str:
    """Fail."""
    raise ToolException(f"It failed: {why}")


@tool
def ask_human(question: str) -> str:
    """Ask a human."""
    return f"They say: {interrupt(question)}"


fail.handle_tool_error = True


class Mind:
    """What a model of moods does: answers, calls, several at once, calls that fail or wait."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.calls = 0

    def __call__(self, number: int) -> str | Finished:
        if self.random.random() < 0.6:
            return f"Answer {number}. " + "And so on. " * self.random.randrange(6)
        return calls(*(self._call() for _ in range(self.random.choice([1, 1, 2, 3]))))

    def _call(self) -> tuple[str, str, dict[str, Any]]:
        self.calls += 1
        id = self.random.choice([f"{self.calls % 7}", f"c{self.calls}"])  # some are used again
        if self.random.random() < 0.06:
            return f"c{self.calls}", "ask_human", {"question": "May I?"}
        kind = self.random.choice(["look", "look", "look", "fail", "read_book"])
        arguments: dict[str, Any] = {"at": self.calls}
        if kind == "fail":
            arguments = {"why": f"reason {self.calls}"}
        elif kind == "read_book":
            arguments = {"pages": self.random.choice([1, 1, 1, 40])}
        return id, kind, arguments


@pytest.mark.timeout(240)
def test_two_hundred_turns_with_tools_within_two_thousand_tokens() -> None:
    mind = Mind(7)
    memory = agent_memory(mind, max_visual_tokens=4096)
    engine = engine_of(memory)
    engine.spec = type(engine.spec)(
        **{name: getattr(engine.spec, name) for name in engine.spec.__slots__}
        | {"max_text_tokens": 8192}
    )
    watching = Watching()
    agent = create_agent(
        ChatVIST2(model=engine),
        [look, read_book, fail, ask_human],
        system_prompt="You are a patient assistant.",
        middleware=[VisualMemoryMiddleware(memory, max_tokens=2000), watching],
        checkpointer=InMemorySaver(),
    )
    asked: list[str] = []
    interrupts = 0
    for turn in range(200):
        asked.append(f"Question {turn}: what do you see at place {turn}?")
        state = agent.invoke({"messages": [HumanMessage(asked[-1])]}, THREAD)
        while "__interrupt__" in state:
            interrupts += 1
            if mind.random.random() < 0.5:
                break  # the human says something else: the call is left dangling
            state = agent.invoke(Command(resume="Yes."), THREAD)
    messages = agent.get_state(THREAD).values["messages"]

    assert [m.text for m in messages if isinstance(m, HumanMessage)] == asked
    results = [m for m in messages if isinstance(m, ToolMessage)]
    assert max(len(m.text) for m in results) > 20_000, "the state has all of what was read"
    assert len(messages) > 500
    assert interrupts > 3
    assert orphans(messages), "the state itself has calls that were never answered"
    assert len(watching.sent) == len(engine.read) > 250
    assert max(engine.read) <= 2000
    assert [problem for sent in watching.sent for problem in orphans(sent)] == []
    for turn in (50, 150, 199):
        at = next(n for n, sent in enumerate(watching.sent) if sent[-1].text == asked[turn])
        assert len(engine.contexts[at].visual) > 10
    assert sessions_of(memory, "t") == ["t"]


# Time travel and forks


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
