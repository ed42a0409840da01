"""Tools bound to ChatVIST2, and the pieces that calls are told in."""

from __future__ import annotations

import json
from functools import reduce
from itertools import pairwise
from operator import add as plus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_vist2 import ChatVIST2
from langchain_vist2.chat.replies import tool_call_chunks_of
from tests.support.scripted import Scripted
from vist2_memory import InvalidInputError
from vist2_memory.text.call_pieces import CallPieces
from vist2_memory.types import ToolCall

pytest_plugins = ("tests.support.scripted_fixtures",)


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


class Find(BaseModel):
    """Finds a hotel."""

    city: str = Field(description="where")


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return "sunny " + city


SEARCH = {"title": "search", "description": "Looks it up.", "type": "object", "properties": {}}


@pytest.fixture
def alone(scripted: Scripted) -> ChatVIST2:
    return ChatVIST2(model=scripted)


# Binding


def test_all_kinds_of_tools_reach_the_engine(scripted: Scripted, alone: ChatVIST2) -> None:
    alone.bind_tools([add, Find, weather, SEARCH]).invoke("q")
    tools = {known.name: known for known in scripted.params[0].tools}
    assert list(tools) == ["add", "Find", "weather", "search"]
    assert tools["add"].description == "Adds two numbers."
    assert tools["add"].parameters["required"] == ["a", "b"]
    assert tools["Find"].parameters["properties"]["city"]["description"] == "where"
    assert tools["search"].parameters == {"type": "object", "properties": {}}
    assert scripted.params[0].tool_choice == "auto"
    assert scripted.params[0].parallel_tool_calls


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (None, "auto"),
        ("auto", "auto"),
        (False, "auto"),
        ("any", "any"),
        ("required", "any"),
        (True, "any"),
        ("none", "none"),
        ("add", "add"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
        ({"type": "tool", "name": "add"}, "add"),
        ({"type": "any"}, "any"),
    ],
)
def test_tool_choice(scripted: Scripted, alone: ChatVIST2, choice: Any, chosen: str) -> None:
    alone.bind_tools([add, weather], tool_choice=choice).invoke("q")
    alone.invoke("q", tools=[add], tool_choice=choice)  # without bind_tools too
    assert [params.tool_choice for params in scripted.params] == [chosen] * 2


@pytest.mark.parametrize("choice", ["subtract", {"type": "function", "function": {"name": "x"}}, 3])
def test_a_choice_of_no_tool_is_refused(alone: ChatVIST2, choice: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"tool_choice=.* is not allowed.*\(add\)"):
        alone.bind_tools([add], tool_choice=choice)


@pytest.mark.parametrize("kind", [{"type": "web_search"}, {"no": "name"}])
def test_what_is_no_function_is_refused(alone: ChatVIST2, kind: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="tool"):
        alone.bind_tools([kind])


def test_parallel_calls_can_be_forbidden_and_strict_is_taken(
    scripted: Scripted, alone: ChatVIST2
) -> None:
    alone.bind_tools([add], parallel_tool_calls=False, strict=True).invoke("q")
    assert not scripted.params[0].parallel_tool_calls


# Telling


def test_calls_are_streamed_name_first_and_arguments_in_pieces(
    scripted: Scripted, alone: ChatVIST2
) -> None:
    calls = (
        ToolCall("c1", '{"name": "add", "arguments": {"a": 1, "b": [2, {"}": "\\"{"}]}}'),
        ToolCall.of("c2", "weather", {"city": "Łódź"}),
    )
    scripted.answers = [calls]
    chunks = list(alone.bind_tools([add, weather]).stream("q"))
    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
    of_first = [piece for piece in pieces if piece["index"] == 0]
    assert (of_first[0]["name"], of_first[0]["id"]) == ("add", "c1")
    assert all((piece["name"], piece["id"]) == (None, None) for piece in of_first[1:])
    assert "".join(piece["args"] or "" for piece in of_first) == '{"a": 1, "b": [2, {"}": "\\"{"}]}'
    assert len(of_first) > 3
    whole: AIMessageChunk = reduce(plus, chunks)
    assert whole.content == ""
    assert [(c["name"], c["args"], c["id"]) for c in whole.tool_calls] == [
        ("add", {"a": 1, "b": [2, {"}": '"{'}]}, "c1"),
        ("weather", {"city": "Łódź"}, "c2"),
    ]
    assert whole.response_metadata["finish_reason"] == "tool_calls"
    assert chunks[-1].chunk_position == "last"


@pytest.mark.parametrize("version", ["v0", "v1"])
async def test_calls_are_told_alike_in_all_ways(scripted: Scripted, version: str) -> None:
    llm = ChatVIST2(model=scripted, output_version=version).bind_tools([add])
    scripted.answers = [(ToolCall.of("c1", "add", {"a": 1}),)] * 4
    told = [llm.invoke("q"), await llm.ainvoke("q"), reduce(plus, list(llm.stream("q")))]
    told.append(reduce(plus, [chunk async for chunk in llm.astream("q")]))
    for message in told:
        assert [(c["name"], c["args"], c["id"]) for c in message.tool_calls] == [
            ("add", {"a": 1}, "c1")
        ]
        assert [block["type"] for block in message.content_blocks] == ["tool_call"]


WRITTEN = '{"name": "a\\"b", "arguments": {"x": "}\\\\\\"", "y": [1, {"z": null}], "w": -1.5e3}}'


@given(st.lists(st.integers(0, len(WRITTEN)), max_size=8), st.integers(0, len(WRITTEN)))
def test_a_call_is_whole_or_invalid_wherever_it_is_cut(cuts: list[int], end: int) -> None:
    """Nothing half is ever given to a tool: LangChain would complete it."""
    text = WRITTEN[:end]
    places = [0, *sorted(cut for cut in cuts if cut < end), end]
    pieces = CallPieces(0, "c1")
    told = [pieces.push(text[a:b]) for a, b in pairwise(places)]
    told.append(pieces.push("", last=True))
    chunks = [
        AIMessageChunk(content="", tool_call_chunks=[chunk]) for chunk in tool_call_chunks_of(told)
    ]
    whole = reduce(plus, chunks)
    if end >= len(WRITTEN) - 1:  # all but the last bracket
        assert [(c["name"], c["args"]) for c in whole.tool_calls] == [
            ('a"b', json.loads(WRITTEN)["arguments"])
        ]
        assert whole.invalid_tool_calls == []
    else:
        assert whole.tool_calls == []
        assert [call["id"] for call in whole.invalid_tool_calls] == ["c1"]


@pytest.mark.parametrize(
    ("text", "name", "args"),
    [
        ('{"arguments": {"a": 1}, "name": "add"}', "add", {"a": 1}),
        ('{ "name" :"add","arguments" : {} }', "add", {}),
        ('{"name": "add", "arguments": 3}', None, None),
        ("no call", None, None),
    ],
)
def test_calls_in_another_form(text: str, name: str | None, args: Any) -> None:
    piece = CallPieces(0, "c1").push(text, last=True)
    assert piece is not None
    message = AIMessageChunk(content="", tool_call_chunks=tool_call_chunks_of([piece]))
    found = [(call["name"], call["args"]) for call in message.tool_calls]
    assert found == ([] if name is None else [(name, args)])
    assert len(message.invalid_tool_calls) == (name is None)


def test_a_call_that_is_cut_off_is_invalid_in_invoke_too(
    scripted: Scripted, alone: ChatVIST2
) -> None:
    scripted.answers = [(ToolCall("c1", '{"name": "add", "arguments": {"a": 1'),)]
    message = alone.bind_tools([add]).invoke([HumanMessage("q")])
    assert message.tool_calls == []
    assert message.invalid_tool_calls[0]["name"] == "add"
    assert message.response_metadata["finish_reason"] == "length"
