"""A long run of an agent with the middleware: tools that fail or wait, calls left dangling."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware.types import AgentMiddleware, ModelRequest
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from langchain_vist2.agents.following import sessions_of
from tests.support.agents import agent_memory, calls, engine_of
from tests.support.histories import orphans
from vist2_memory.types import Finished

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
