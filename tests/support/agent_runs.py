"""Agents with the middleware, their tools, and what is said to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from vist2_memory import VisualMemory


@tool
def look(at: str) -> str:
    """Look at a place."""
    return f"At {at} there is a lamp."


@tool
def read_all() -> str:
    """Read everything."""
    return " ".join(f"Line {number} says {number * 7}." for number in range(300))


def thread(name: str = "t") -> Any:
    return {"configurable": {"thread_id": name}}


def agent_of(
    memory: VisualMemory,
    *,
    model: Any = None,
    tools: Sequence[Any] = (),
    prompt: str | None = None,
    saver: Any = None,
    response_format: Any = None,
    **options: Any,
) -> Any:
    """An agent with the middleware, on the engine of ``memory`` unless a model is given."""
    return create_agent(
        model or ChatVIST2(model=memory.engine),
        tools,
        system_prompt=prompt,
        middleware=[VisualMemoryMiddleware(memory, **options)],
        checkpointer=saver or InMemorySaver(),
        response_format=response_format,
    )


def say(agent: Any, text: str, config: Any = None) -> list[BaseMessage]:
    """Say ``text`` to the agent; all messages of its state."""
    result = agent.invoke({"messages": [HumanMessage(text)]}, config or thread())
    messages: list[BaseMessage] = result["messages"]
    return messages


def talked(agent: Any, turns: int, config: Any = None) -> list[BaseMessage]:
    """So many turns of talk."""
    for number in range(turns):
        text = f"Question {number}: what of the harbour on the day numbered {number}, my friend?"
        messages = say(agent, text, config)
    return messages
