"""Answers of a given form: pydantic, TypedDict and JSON schemas, streamed and not."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from langchain_vist2 import ChatVIST2
from tests.support.scripted import Scripted
from vist2_memory import InvalidInputError
from vist2_memory.types import ToolCall

pytest_plugins = ("tests.support.scripted_fixtures",)


class Joke(BaseModel):
    """A joke."""

    setup: str = Field(description="the question")
    punchline: str


class OldJoke(BaseModelV1):
    """A joke of pydantic 1."""

    setup: str
    punchline: str


class JokeDict(TypedDict):
    """A joke as a dict."""

    setup: Annotated[str, ..., "the question"]
    punchline: str


UNNAMED = {"type": "object", "properties": {"setup": {"type": "string"}}, "required": ["setup"]}
SAID = {"setup": "Why?", "punchline": "Because."}
JSON = '{"setup": "Why?", "punchline": "Because."}'
METHODS = ["json_schema", "json_mode", "function_calling"]


def answering(method: str, name: str) -> Any:
    """What a model says that was asked for `SAID` in this way."""
    return (ToolCall.of("c1", name, SAID),) if method == "function_calling" else JSON


@pytest.fixture
def alone(scripted: Scripted) -> ChatVIST2:
    return ChatVIST2(model=scripted)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [Joke, OldJoke, JokeDict, Joke.model_json_schema()])
async def test_answers_are_of_the_form(
    scripted: Scripted, alone: ChatVIST2, method: Any, schema: Any
) -> None:
    name = schema["title"] if isinstance(schema, dict) else schema.__name__
    scripted.answers = [answering(method, name)] * 4
    asking = alone.with_structured_output(schema, method=method)
    found = [asking.invoke("q"), await asking.ainvoke("q"), list(asking.stream("q"))[-1]]
    found.append([piece async for piece in asking.astream("q")][-1])
    for answer in found:
        if schema in (Joke, OldJoke):
            assert isinstance(answer, schema)
            assert (answer.setup, answer.punchline) == ("Why?", "Because.")
        else:
            assert answer == SAID
    for params in scripted.params:
        if method == "function_calling":
            assert params.tool_choice == name
            assert not params.parallel_tool_calls
            assert params.schema is None
        else:
            assert params.tools == ()
            assert params.schema is not None
            assert params.schema["required"] == ["setup", "punchline"]


@pytest.mark.parametrize("method", METHODS)
def test_dicts_grow_as_they_are_streamed(scripted: Scripted, alone: ChatVIST2, method: Any) -> None:
    scripted.answers = [answering(method, "JokeDict")]
    pieces = list(alone.with_structured_output(JokeDict, method=method).stream("q"))
    assert len(pieces) > 2
    assert pieces[-1] == SAID
    for earlier, later in pairwise(pieces):
        assert earlier.keys() <= later.keys()


def test_a_schema_without_a_name_and_json_without_a_schema(
    scripted: Scripted, alone: ChatVIST2
) -> None:
    scripted.answers = ['{"setup": "Why?"}', (ToolCall.of("c", "answer", {"setup": "W"}),), "{}"]
    assert alone.with_structured_output(UNNAMED).invoke("q") == {"setup": "Why?"}
    by_function = alone.with_structured_output(UNNAMED, method="function_calling")
    assert by_function.invoke("q") == {"setup": "W"}
    assert alone.with_structured_output(method="json_mode").invoke("q") == {}
    assert scripted.params[2].schema == {"type": "object"}


def test_raw_answers_beside_parsed_ones(scripted: Scripted, alone: ChatVIST2) -> None:
    scripted.answers = [JSON, "no JSON"]
    asking = alone.with_structured_output(Joke, include_raw=True)
    found = asking.invoke("q")
    assert found["raw"].content == JSON
    assert (found["parsed"], found["parsing_error"]) == (Joke(**SAID), None)
    failed = asking.invoke("q")
    assert failed["parsed"] is None
    assert isinstance(failed["parsing_error"], OutputParserException)


def test_tools_beside_a_form(scripted: Scripted, alone: ChatVIST2) -> None:
    def look_up(what: str) -> str:
        """Looks it up."""
        return what

    scripted.answers = [(ToolCall.of("c1", "look_up", {"what": "cats"}),)]
    asking = alone.with_structured_output(Joke, tools=[look_up], include_raw=True, strict=True)
    assert asking.invoke("q")["raw"].tool_calls[0]["name"] == "look_up"
    assert scripted.params[0].schema is not None


class Options(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_chat_model_start(self, *args: Any, options: Any = None, **kwargs: Any) -> None:
        self.seen.append(options)


@pytest.mark.parametrize("method", METHODS)
def test_tracing_is_told_the_form(scripted: Scripted, alone: ChatVIST2, method: Any) -> None:
    scripted.answers = [answering(method, "Joke")] * 2
    handler = Options()
    asking = alone.with_structured_output(Joke, method=method)
    asking.invoke("q", config={"callbacks": [handler]})
    list(asking.stream("q", config={"callbacks": [handler]}))
    for options in handler.seen:
        told = options["ls_structured_output_format"]
        assert told["kwargs"]["method"] == method
        assert told["schema"] == convert_to_json_schema(Joke)


def test_an_answer_that_was_cut_off_is_an_error(scripted: Scripted, alone: ChatVIST2) -> None:
    """Parsers of LangChain would complete it."""
    cut = (ToolCall("c1", '{"name": "JokeDict", "arguments": {"setup": "Why'),)
    asking = alone.with_structured_output(JokeDict, method="function_calling")
    scripted.answers = [cut, cut]
    with pytest.raises(OutputParserException, match="cut off"):
        asking.invoke("q")
    with pytest.raises(OutputParserException, match="cut off"):
        list(asking.stream("q"))


@pytest.mark.parametrize(
    ("schema", "method", "said"),
    [
        (Joke, "telepathy", "method='telepathy' is not allowed"),
        (None, "json_schema", "needs a schema"),
        (3, "json_schema", "is no schema"),
    ],
)
def test_wrong_forms_are_refused(alone: ChatVIST2, schema: Any, method: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        alone.with_structured_output(schema, method=method)


def test_an_agent_uses_the_model_s_own_form(scripted: Scripted, alone: ChatVIST2) -> None:
    """`create_agent` takes its ProviderStrategy, since the profile says that the model can."""

    def look_up(what: str) -> str:
        """Looks it up."""
        return f"{what}: none"

    scripted.answers = [(ToolCall.of("c1", "look_up", {"what": "jokes"}),), JSON]
    agent = create_agent(alone, [look_up], response_format=Joke)
    found = agent.invoke({"messages": [HumanMessage("Tell me a joke.")]})
    assert found["structured_response"] == Joke(**SAID)
    assert [type(message).__name__ for message in found["messages"]] == [
        "HumanMessage",
        "AIMessage",
        "ToolMessage",
        "AIMessage",
    ]
    assert all(params.schema is not None for params in scripted.params)
    assert all(len(params.tools) == 1 for params in scripted.params)


def test_response_format_in_openai_s_forms(scripted: Scripted, alone: ChatVIST2) -> None:
    forms: list[Any] = [
        {"type": "json_schema", "json_schema": {"name": "x", "schema": UNNAMED, "strict": True}},
        {"type": "json_object"},
        {"type": "text"},
        UNNAMED,
        Joke,
    ]
    for form in forms:
        alone.invoke("q", response_format=form)
    schemas = [params.schema for params in scripted.params]
    assert schemas[:4] == [UNNAMED, {"type": "object"}, None, UNNAMED]
    assert schemas[4] == Joke.model_json_schema()
    with pytest.raises(InvalidInputError, match="response_format"):
        alone.invoke("q", response_format={"type": "json_schema"})
