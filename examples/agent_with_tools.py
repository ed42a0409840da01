"""An agent with a tool, a checkpointer, and visual memory for all but its newest messages.

Run it with ``python examples/agent_with_tools.py``. It is built twice over the same files, as
after a restart: the thread goes on. The bundled model is very small: watch what is sent, not what
it says.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from vist2_memory import VisualMemory

BUDGET = 500
"""Tokens that one model call may read: text, tools and visual tokens together."""


@tool
def get_opening_hours(place: str) -> str:
    """When a place is open."""
    return f"The {place} is open from 9 to 17, on Sundays from 11."


def talk(folder: Path, questions: list[str]) -> list[Any]:
    """Ask ``questions`` in one thread, whatever was said in it before; its messages then."""
    with (
        VisualMemory.open(f"sqlite:///{folder / 'memory.db'}") as memory,
        SqliteSaver.from_conn_string(str(folder / "threads.db")) as checkpointer,
    ):
        agent = create_agent(
            ChatVIST2(model=memory.engine, max_tokens=60),
            tools=[get_opening_hours],
            middleware=[
                VisualMemoryMiddleware(memory, keep_recent=("messages", 4), max_tokens=BUDGET),
                ModelCallLimitMiddleware(run_limit=2),  # the bundled model likes to call again
            ],
            checkpointer=checkpointer,
        )
        thread = {"configurable": {"thread_id": "visit"}}
        for question in questions:
            state = agent.invoke({"messages": [HumanMessage(question)]}, thread)
        return list(state["messages"])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        talk(Path(folder), ["We visit the museum on Sunday. " * 20, "Bo has the tickets. " * 20])
        messages = talk(Path(folder), ["What are the opening hours of the museum?"])
    for message in messages:
        calls = getattr(message, "tool_calls", None)
        print(f"{message.type:>6}: {calls or message.text[:70]}")
        if isinstance(message, AIMessage) and message.usage_metadata:
            read = message.usage_metadata["input_tokens"]
            print(f"        read {read} tokens of {BUDGET}")


if __name__ == "__main__":
    main()
