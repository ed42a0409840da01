"""ChatVIST2 on the real engine with random weights: whatever it says is held to what was asked."""

from __future__ import annotations

from functools import reduce
from operator import add as plus
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run
from pydantic import BaseModel, Field

from langchain_vist2 import ChatVIST2
from tests.support.engines import CountingEngine

pytest_plugins = ("tests.support.fixtures",)


class Hotel(BaseModel):
    """A hotel."""

    city: str = Field(max_length=12)
    stars: int = Field(ge=1, le=5)
    kind: Literal["inn", "palace"]


def book(city: Literal["Lisbon", "Porto"], nights: Literal[1, 2, 3]) -> str:
    """Books a hotel."""
    return f"{nights} nights in {city}"


class Tree(BaseTracer):
    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)


@pytest.fixture
def llm(engine: CountingEngine) -> ChatVIST2:
    return ChatVIST2(model=engine, max_tokens=80, store="memory://")


@pytest.fixture
def engine(checkpoint: Path) -> CountingEngine:
    return CountingEngine(checkpoint)


def talk(count: int) -> list[BaseMessage]:
    """A conversation that ends with a question."""
    kinds: Any = (HumanMessage, AIMessage)
    return [kinds[n % 2](f"Message {n} is about the harbour.") for n in range(count)]


def test_an_agent_s_loop_in_a_session(llm: ChatVIST2) -> None:
    agent = llm.bind_tools([book], tool_choice="any", parallel_tool_calls=False)
    state: list[BaseMessage] = [HumanMessage("Book it.")]
    for _ in range(2):
        asked = agent.invoke(state, session_id="s")
        [call] = asked.tool_calls
        assert call["args"]["city"] in ("Lisbon", "Porto")
        assert call["args"]["nights"] in (1, 2, 3)
        state += [asked, ToolMessage(book(**call["args"]), tool_call_id=call["id"])]
    last = llm.bind_tools([book], tool_choice="none").invoke(state, session_id="s", max_tokens=3)
    assert last.tool_calls == []
    roles = [message.role for message in llm.memory.session("s").messages()]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_answers_of_a_form_are_valid_whatever_the_weights_say(
    llm: ChatVIST2, method: Any
) -> None:
    asking = llm.with_structured_output(Hotel, method=method)
    for seed in range(3):
        found = await asking.ainvoke("Which?", temperature=1.5, seed=seed)
        assert isinstance(found, Hotel)


def test_calls_are_streamed_as_they_are_told_at_once(llm: ChatVIST2) -> None:
    agent = llm.bind_tools([book], tool_choice="book", parallel_tool_calls=False)
    at_once = agent.invoke("Book it.")
    streamed: Any = reduce(plus, list(agent.stream("Book it.")))
    assert [c["args"] for c in streamed.tool_calls] == [c["args"] for c in at_once.tool_calls]
    assert streamed.usage_metadata["output_tokens"] == at_once.usage_metadata["output_tokens"]  # type: ignore[index]


def test_stages_of_a_first_and_of_a_second_answer(llm: ChatVIST2) -> None:
    tree = Tree()
    for _ in range(2):
        llm.invoke(talk(5), max_tokens=2, config={"callbacks": [tree]})
    first, second = ([child.name for child in run.child_runs] for run in tree.roots)
    assert first[:6] == ["store", "draw", "encode", "store", "generate", "prefill"]
    assert second[:2] == ["generate", "prefill"]
    assert set(second[2:]) <= {"draw", "encode"}  # a fold


def test_a_growing_list_encodes_what_is_new(llm: ChatVIST2) -> None:
    usages: Any = [
        llm.invoke(talk(n), max_tokens=1).usage_metadata["input_token_details"]  # type: ignore[index]
        for n in (5, 9, 13, 13)
    ]
    cached = [usage["cache_read"] for usage in usages]
    assert cached[0] == 0
    assert cached == sorted(set(cached))
    assert all(usage["cache_creation"] > 0 for usage in usages[:-1])
    assert usages[-1]["cache_creation"] == 0


def test_logprobs_of_the_real_engine(llm: ChatVIST2) -> None:
    answer = llm.invoke("Hello", max_tokens=5, top_logprobs=2)
    content = answer.response_metadata["logprobs"]["content"]
    assert "".join(token["token"] for token in content).startswith(answer.text[:2])
    for token in content:
        likeliest = [other["logprob"] for other in token["top_logprobs"]]
        assert len(likeliest) == 2
        assert token["logprob"] == pytest.approx(likeliest[0])  # it is greedy
        assert likeliest == sorted(likeliest, reverse=True)
