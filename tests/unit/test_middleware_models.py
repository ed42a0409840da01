"""The middleware with chat models of others: pages, or as much text as fits, never invalid."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from langchain_vist2.reference import OPTION
from tests.support.agents import StrictChat, agent_memory, calls, engine_of
from tests.support.histories import orphans, random_history
from tests.support.hosted import SMALL, opened
from vist2_memory import VisualMemory
from vist2_memory.engine.pages import PageEngine

MORE = " And the ferry, and the bees, and the blue valve behind the boiler?" * 3
THREAD: Any = {"configurable": {"thread_id": "t"}}


@tool
def long_result(size: int) -> str:
    """Give a long result."""
    return " ".join(f"Line {number} says {number * 7}." for number in range(size))


class Weather(BaseModel):
    """The weather at a place."""

    place: str
    degrees: int


def pages() -> VisualMemory:
    """A memory of small pages, most of whose text is drawn."""
    return VisualMemory.open("memory://", model=PageEngine(SMALL, keep_recent=30))


def agent_of(model: StrictChat, memory: VisualMemory, tools: Any = (), **options: Any) -> Any:
    middleware = VisualMemoryMiddleware(memory, **options)
    saver = InMemorySaver()
    return create_agent(
        model, tools, system_prompt="Be kind.", middleware=[middleware], checkpointer=saver
    )


def talked(agent: Any, turns: int, more: str = "") -> list[BaseMessage]:
    for number in range(turns):
        text = f"Question {number}: what of the old harbour on the day numbered {number}?" + more
        messages: list[BaseMessage] = agent.invoke({"messages": [HumanMessage(text)]}, THREAD)[
            "messages"
        ]
    return messages


def images(messages: list[BaseMessage]) -> list[Any]:
    blocks = [b for m in messages if isinstance(m.content, list) for b in m.content]
    return [b for b in blocks if isinstance(b, dict) and b["type"] == "image"]


def said(messages: list[BaseMessage]) -> str:
    return "\n".join(message.text for message in messages)


# Pages


def test_older_messages_are_pages_for_a_model_that_sees() -> None:
    model = StrictChat()
    agent = agent_of(model, pages(), keep_recent=("messages", 3))
    messages = talked(agent, 20, MORE)
    heard = model.heard[-1]
    assert isinstance(heard[0], SystemMessage)
    assert len(images(heard)) > 3
    assert heard[-3:] == messages[-4:-1]
    assert "Question 0" not in said(heard)
    assert len(messages) == 40
    before = model.heard[-2]
    assert images(heard)[: len(images(before))] == images(before), "a prompt cache can keep them"


def test_pages_and_text_keep_to_the_budget() -> None:
    model = StrictChat()
    memory = pages()
    agent = agent_of(model, memory, max_tokens=2000, keep_recent=("messages", 3), expand=False)
    talked(agent, 40, MORE)
    provider = memory.engine.provider  # type: ignore[attr-defined]
    for heard in model.heard:
        drawn = [opened(base64.b64decode(block["base64"])) for block in images(heard)]
        tokens = sum(provider.tokens(*image.size) for image in drawn)
        assert tokens + count_tokens_approximately(heard, tokens_per_image=0) <= 2000
    assert "older pages" in said(model.heard[-1])
    assert len(images(model.heard[-1])) > 2


def test_a_result_that_is_too_large_is_drawn() -> None:
    model = StrictChat()
    call = {"id": "1", "name": "long_result", "args": {"size": 300}}
    model.say(AIMessage("", tool_calls=[call]))
    agent = agent_of(model, pages(), [long_result], max_tokens=4000, tool_result_tokens=300)
    messages = talked(agent, 1)
    assert len(messages) == 4
    assert "characters of this result are in visual memory" in said(model.heard[-1])
    assert "Line 200" not in said(model.heard[-1])
    assert len(images(model.heard[-1])) > 3


def test_a_model_that_does_not_see_is_sent_text() -> None:
    model = StrictChat(images=False)
    agent = agent_of(model, pages(), keep_recent=("messages", 1))
    messages = talked(agent, 5)
    assert model.heard[-1][1:] == messages[:-1]


# Text


def test_without_a_budget_a_text_model_is_sent_all() -> None:
    model = StrictChat()
    memory = agent_memory()
    messages = talked(agent_of(model, memory, keep_recent=("messages", 1)), 5)
    assert model.heard[-1][1:] == messages[:-1]
    assert memory.sessions() == [], "what nobody reads is not written"


@pytest.mark.parametrize("by", ["settings", "profile"])
def test_a_text_model_is_sent_the_newest_groups_that_fit_and_told_of_the_rest(by: str) -> None:
    model = StrictChat(max_input=None if by == "settings" else 300)
    options = {"max_tokens": 300} if by == "settings" else {}
    messages = talked(agent_of(model, agent_memory(), **options), 20)
    heard = model.heard[-1]
    note = heard[1]
    assert isinstance(note, HumanMessage)
    left_out = len(messages) - 1 - (len(heard) - 2)
    assert note.text.startswith(f"[The first {left_out} messages of this conversation are not")
    assert "expand_memory(search=...)" in note.text
    assert heard[2:] == messages[left_out:-1]
    assert all(count_tokens_approximately(sent) <= 300 for sent in model.heard)


def test_where_a_text_model_cannot_have_a_result_it_has_a_stub() -> None:
    model = StrictChat()
    call = {"id": "1", "name": "long_result", "args": {"size": 300}}
    model.say(AIMessage("", tool_calls=[call]))
    agent = agent_of(model, agent_memory(), [long_result], max_tokens=400)
    talked(agent, 1)
    assert "characters of this result are left out here; expand_memory(" in said(model.heard[-1])


@pytest.mark.parametrize("memory", [pages(), None])
def test_a_provider_that_says_it_was_too_much_is_sent_less(memory: VisualMemory | None) -> None:
    """Our count is an estimate: the provider knows."""
    model = StrictChat()
    agent = agent_of(model, memory or agent_memory(), keep_recent=("messages", 40))
    talked(agent, 12)
    model.say(ContextOverflowError("too long"), ContextOverflowError("still"), AIMessage("Good."))
    messages = talked(agent, 1)
    assert messages[-1].text == "Good."
    full, less, least = (len(said(heard)) for heard in model.heard[-3:])
    assert full > less > least
    assert not images(model.heard[-1]), "so little room that no page fits"
    assert messages[-2] in model.heard[-1]
    model.say(*(ContextOverflowError("too long") for _ in range(9)))
    with pytest.raises(ContextOverflowError, match="too long"):
        talked(agent, 1)


def test_errors_that_are_not_the_memorys_are_raised_at_once() -> None:
    model = StrictChat()
    model.say(RuntimeError("the provider is down"))
    with pytest.raises(RuntimeError, match="provider is down"):
        talked(agent_of(model, pages()), 1)
    assert len(model.heard) == 1


def test_where_a_memory_takes_more_than_there_is_its_newest_text_is_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is not drawn yet, nearly a page, is text in any case."""
    model = StrictChat()
    agent = agent_of(model, pages(), max_tokens=250, keep_recent=("messages", 1))
    messages = talked(agent, 12)
    assert not images(model.heard[-1])
    assert count_tokens_approximately(model.heard[-1]) <= 250
    assert "sent text only: what must be sent as text does not fit into 250 tokens" in caplog.text
    assert "sent text only" in messages[-1].response_metadata["degraded"][0]


def test_system_messages_of_the_state_are_sent_though_they_are_old() -> None:
    model = StrictChat()
    agent = agent_of(model, agent_memory(), max_tokens=250)
    agent.update_state(THREAD, {"messages": [SystemMessage("Speak French.")]})
    messages = talked(agent, 12)
    heard = model.heard[-1]
    assert [m.text for m in heard[:2]] == ["Be kind.", "Speak French."]
    assert heard[2].text.startswith(f"[The first {len(messages) - 1 - len(heard) + 2} messages")


# Forms of answers


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy, None])
def test_the_form_of_an_answer_counts_too(strategy: Any) -> None:
    answer = calls(("1", "Weather", {"place": "x", "degrees": 3}))
    text = json.dumps({"place": "x", "degrees": 3})
    memory = agent_memory(lambda number: answer if strategy is ToolStrategy else text)
    agent = create_agent(
        ChatVIST2(model=memory.engine),
        [],
        middleware=[VisualMemoryMiddleware(memory, max_tokens=300, expand=False)],
        checkpointer=InMemorySaver(),
        response_format=strategy(Weather) if strategy else Weather,
    )
    for number in range(12):
        question = HumanMessage(f"How is the weather, number {number}, at the old harbour?")
        state = agent.invoke({"messages": [question]}, THREAD)
    assert state["structured_response"] == Weather(place="x", degrees=3)
    assert max(engine_of(memory).read) <= 300
    assert engine_of(memory).contexts[-1].visual


# Whatever the history


def sent_of(
    middleware: VisualMemoryMiddleware, model: Any, history: list[BaseMessage]
) -> ModelRequest[Any]:
    """The request that the middleware makes of a state."""
    heard: list[ModelRequest[Any]] = []

    def handler(request: ModelRequest[Any]) -> ModelResponse[Any]:
        heard.append(request)
        return ModelResponse([AIMessage("Yes.")])

    request: ModelRequest[Any] = ModelRequest(model=model, messages=list(history), tools=[])
    middleware.wrap_model_call(request, handler)
    return heard[-1]


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.sampled_from([None, 120, 200, 400]),
    st.sampled_from([("messages", 1), ("messages", 5), ("tokens", 60)]),
    st.sampled_from(["tensors", "pages", "text"]),
)
def test_no_orphan_is_ever_sent(seed: int, budget: int | None, keep: Any, how: str) -> None:
    history = random_history(seed, length=20)
    memory = pages() if how == "pages" else agent_memory()
    model = ChatVIST2(model=memory.engine) if how == "tensors" else StrictChat()
    limit = budget and budget * 5 if how == "pages" else budget
    middleware = VisualMemoryMiddleware(memory, keep_recent=keep, max_tokens=limit, expand=False)
    try:
        request = sent_of(middleware, model, history)
    except ContextOverflowError:
        assert budget is not None
        return
    assert not orphans(request.messages)
    assert request.messages
    if budget is not None and how == "tensors":
        context = request.model_settings[OPTION]
        list(
            context.session.complete(
                [], upto=context.upto, include=context.include, budget=context.budget
            )
        )
    newest = [m.text for m in history if isinstance(m, HumanMessage)]
    if newest and how != "pages":
        assert newest[-1][:50].strip() in said(request.messages)
