"""What went wrong with LangChain's SummarizationMiddleware, and does not here.

Each test is the situation of an issue of langchain-ai/langchain. Where the installed version still
fails in it, that is shown first, so that the situation is the real one.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from tests.support.agents import StrictChat, agent_memory, engine_of, shown
from tests.support.histories import orphans

THREAD: Any = {"configurable": {"thread_id": "t"}}


def talk(turns: int) -> list[AnyMessage]:
    messages: list[AnyMessage] = []
    for number in range(turns):
        messages.append(HumanMessage(f"My number {number} is {number * 111}, please remember it."))
        messages.append(AIMessage(f"I keep your number {number}."))
    return messages


def steps(count: int) -> list[AnyMessage]:
    """One question, and an agent that has worked on it for long, without another word."""
    messages: list[AnyMessage] = [HumanMessage("Find the ticket of Anna; its code is 4711.")]
    for number in range(count):
        call = {"id": f"c{number}", "name": "look", "args": {"at": number}}
        messages.append(AIMessage("", tool_calls=[call]))
        text = f"At place {number} there is nothing. " * 4
        messages.append(ToolMessage(text, tool_call_id=f"c{number}", name="look"))
    return messages


def run(model: Any, middleware: Any, messages: list[AnyMessage], tools: Any = ()) -> Any:
    """An agent that is asked after ``messages``; it, and its state."""
    agent: Any = create_agent(model, tools, middleware=[middleware], checkpointer=InMemorySaver())
    agent.update_state(THREAD, {"messages": messages}, as_node="model")
    agent.invoke({"messages": [HumanMessage("And now?")]}, THREAD)
    return agent, agent.get_state(THREAD).values["messages"]


def test_38867_when_making_room_fails_nothing_is_lost() -> None:
    """The summary model failed, and its error took the place of the whole conversation.

    Since then the error ends the run. Here the encoder fails, and the agent goes on with text.
    """
    failing = StrictChat().say(*(RuntimeError("429: slow down") for _ in range(5)))
    summarizing = SummarizationMiddleware(failing, trigger=("messages", 4), keep=("messages", 2))
    with pytest.raises(RuntimeError, match="429"):
        run(StrictChat(), summarizing, talk(6))

    memory = agent_memory()

    def fail(chunks: Any) -> Any:
        raise RuntimeError("429: slow down")

    engine_of(memory).encode = fail  # type: ignore[method-assign]
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 2))
    before = talk(6)
    _, after = run(ChatVIST2(model=memory.engine), middleware, before)
    assert [m.text for m in after[:-2]] == [m.text for m in before]
    assert after[-1].text == "Yes."
    assert "429" in after[-1].response_metadata["degraded"][0]
    assert "My number 0 is 0" in engine_of(memory).contexts[-1].tail, "all of it fits as text"


def test_39261_a_long_run_of_tools_without_a_human_word_is_not_replaced_by_a_placeholder() -> None:
    summaries = StrictChat()
    summarizing = SummarizationMiddleware(
        summaries,
        trigger=("messages", 10),
        keep=("messages", 4),
        trim_tokens_to_summarize=200,
    )
    model = StrictChat()
    _, state = run(model, summarizing, steps(12))
    assert not summaries.heard, "nobody was asked for a summary"
    assert "too long to summarize" in state[0].text, "and the history is gone"
    assert "4711" not in " ".join(m.text for m in state)

    memory = agent_memory()
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 4))
    before = steps(12)
    agent: Any = create_agent(
        ChatVIST2(model=memory.engine), [], middleware=[middleware], checkpointer=InMemorySaver()
    )
    agent.update_state(THREAD, {"messages": before}, as_node="tools")
    agent.invoke(None, THREAD)  # it goes on working
    after = agent.get_state(THREAD).values["messages"]
    assert [m.id for m in after[:-1]] == [m.id for m in after][: len(before)]
    assert len(after) == len(before) + 1
    context = engine_of(memory).contexts[-1]
    assert "4711" in context.tail, "the question is text as long as the agent works on it"
    assert "At place 0 there is nothing" in shown(context)


def late_result() -> list[AnyMessage]:
    """A call was interrupted, and its result came after that of the next one."""
    calls = [{"id": id, "name": "look", "args": {}} for id in ("a", "b")]
    return [
        *talk(3),
        AIMessage("", tool_calls=calls[:1]),
        HumanMessage("Wait, look at b first."),
        AIMessage("", tool_calls=calls[1:]),
        ToolMessage("b is there", tool_call_id="b", name="look"),
        ToolMessage("a is there", tool_call_id="a", name="look"),
    ]


def test_34282_no_result_is_sent_without_its_call() -> None:
    """Providers answer such a request with 400: no tool call found."""
    model = StrictChat()
    summarizing = SummarizationMiddleware(
        StrictChat(), trigger=("messages", 4), keep=("messages", 3)
    )
    with pytest.raises(AssertionError, match="a result of 'a' without a call"):
        run(model, summarizing, late_result())

    for keep in range(1, 13):
        hosted = StrictChat()  # which refuses what providers refuse
        memory = agent_memory()
        middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", keep))
        run(hosted, middleware, late_result())
        run(ChatVIST2(model=memory.engine), middleware, late_result())
        assert not orphans(hosted.heard[-1])
        context = engine_of(memory).contexts[-1]
        assert "a is there" in shown(context) + context.tail


def tool_of(size: int) -> BaseTool:
    """A tool with a long description."""

    def act(what: str) -> str:
        return what

    return StructuredTool.from_function(act, description="It is used with care. " * size)


def sent_tokens(messages: list[BaseMessage], tools: list[BaseTool]) -> int:
    return count_tokens_approximately(messages, tools=tools)


def test_34664_tools_and_the_system_prompt_count() -> None:
    """The history alone was counted: with many tools the window was passed all the same."""
    window, tools = 1000, [tool_of(100)]
    assert sent_tokens([], tools) > window // 2
    model = StrictChat()
    summarizing = SummarizationMiddleware(
        StrictChat(), trigger=("tokens", window), keep=("tokens", window // 2)
    )
    run(model, summarizing, talk(24), tools)
    assert sent_tokens(model.heard[-1], tools) > window

    hosted, memory = StrictChat(), agent_memory(max_visual_tokens=4096)
    middleware = VisualMemoryMiddleware(memory, max_tokens=window, expand=False)
    run(hosted, middleware, talk(24), tools)
    assert sent_tokens(hosted.heard[-1], tools) <= window
    run(ChatVIST2(model=memory.engine), middleware, talk(24), [tool_of(30)])
    assert max(engine_of(memory).read) <= window
    with pytest.raises(ContextOverflowError, match="give fewer tools"):
        run(hosted, middleware, talk(1), [tool_of(300)])
