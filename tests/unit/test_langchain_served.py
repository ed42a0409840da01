"""``ChatVIST2(base_url=...)``: the chat model whose memory and model are on a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_vist2 import ChatVIST2
from langchain_vist2 import errors as theirs
from tests.support.engines import CountingEngine
from tests.support.plain import PlainEngine, calling
from tests.support.serving import Served, ServerThread, serve
from tests.support.tokenizers import token_ids
from vist2_memory import InvalidInputError, ModelError, VisualMemory
from vist2_memory.types import Finished

pytest_plugins = ("tests.support.fixtures",)

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
def llm(served: Served) -> Iterator[ChatVIST2]:
    server = ServerThread(served.app)
    made = ChatVIST2(base_url=f"{server.url}/v1", api_key=served.told["acme"])
    yield made
    made.close()
    server.stop()


def say(served: Served, *answers: str | Finished) -> None:
    served.engine.answers.extend(answers)


def test_a_list_alone(llm: ChatVIST2, served: Served) -> None:
    say(served, "It is Miso.")
    reply = llm.invoke([SystemMessage("Be kind."), HumanMessage("What is my cat called?")])
    assert reply.text == "It is Miso."
    assert reply.response_metadata["model_name"] == "plain"
    assert reply.response_metadata["finish_reason"] == "stop"
    assert "session_id" not in reply.response_metadata


def test_a_session_is_on_the_server(llm: ChatVIST2, served: Served) -> None:
    say(served, "Noted.", "Miso.")
    bound = llm.bind(session_id="user/42")
    bound.invoke("My cat is called Miso.")
    reply = bound.invoke("What is she called?")
    assert reply.response_metadata["session_id"] == "user/42"
    assert reply.response_metadata["turn"]
    held = served.tenants.tenant("acme").memory.session("user/42").messages()
    assert [message.text for message in held] == [
        "My cat is called Miso.",
        "Noted.",
        "What is she called?",
        "Miso.",
    ]


async def test_streams_come_word_by_word_and_stop_when_cancelled(
    llm: ChatVIST2, served: Served
) -> None:
    say(served, "One two three.", "word " * 200)
    pieces = [chunk.text async for chunk in llm.astream("q") if chunk.text]
    assert pieces == ["One ", "two ", "three."]
    served.engine.step_s = 0.02
    async for _ in llm.astream("q"):
        break
    for _ in range(200):
        if not served.engine.open_generations:
            break
        await asyncio.sleep(0.02)
    assert served.engine.open_generations == 0


def test_tools_go_there_and_come_back(llm: ChatVIST2, served: Served) -> None:
    say(served, calling("weather", city="Paris"), "It rains.")
    bound = llm.bind_tools([WEATHER], tool_choice="any").bind(session_id="s")
    asked = bound.invoke("Weather?")
    assert isinstance(asked, AIMessage)
    assert asked.tool_calls == [
        {"name": "weather", "args": {"city": "Paris"}, "id": "call_1", "type": "tool_call"}
    ]
    history = [HumanMessage("Weather?"), asked, ToolMessage("Rain", tool_call_id="call_1")]
    assert bound.invoke(history).text == "It rains."
    assert len(served.tenants.tenant("acme").memory.session("s").messages()) == 4


def test_a_branch_is_told(llm: ChatVIST2, served: Served) -> None:
    forking = llm.bind(session_id="s", on_conflict="fork")
    forking.invoke("First.")
    reply = forking.invoke([AIMessage("No."), HumanMessage("Why?")])
    assert reply.response_metadata["session_id"].startswith("s~")
    with pytest.raises(theirs.ConflictError):
        llm.bind(session_id="s").invoke([AIMessage("No."), HumanMessage("Why?")])


def test_documents_are_named(llm: ChatVIST2, served: Served) -> None:
    served.tenants.tenant("acme").memory.collection("book").add_documents(["The valve is blue."])
    llm.invoke("Which colour?", include=["book"])
    read = "".join(chunk.text for chunk in served.engine.contexts[-1].sources)
    assert "The valve is blue." in read


def test_tokens_are_counted_here(llm: ChatVIST2, checkpoint: Path) -> None:
    with pytest.raises(ModelError, match="plain is no VIST2 model"):
        llm.get_num_tokens("Hello.")
    server = serve(CountingEngine(checkpoint))
    with closing(ChatVIST2(base_url=server.url)) as of_a_model:
        assert of_a_model.get_num_tokens("Hello.") == len(token_ids("Hello."))
    server.stop()


def test_errors_of_the_server_are_langchains_too(llm: ChatVIST2, served: Served) -> None:
    def ask(**options: Any) -> None:
        with closing(ChatVIST2(**options)) as model:
            model.invoke("q")

    with pytest.raises(theirs.InvalidInputError, match="does not let in"):
        ask(base_url=llm.base_url, api_key="vist2-x-y")
    with pytest.raises(theirs.ModelNotFoundError, match="no model 'gpt'"):
        ask(base_url=llm.base_url, api_key=served.told["acme"], model="gpt")
    with pytest.raises(theirs.EngineUnavailableError, match="cannot be reached"):
        ask(base_url="http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    "given",
    [
        {"store": "memory://"},
        {"device": "cpu"},
        {"engine": "torch"},
        {"model": PlainEngine()},
        {"key": "x"},
    ],
)
def test_what_the_server_chooses_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is chosen where the server at http://host"):
        ChatVIST2(base_url="http://host", **given)


def test_the_memory_is_not_here(llm: ChatVIST2) -> None:
    with pytest.raises(
        theirs.InvalidInputError, match="sessions and collections are on the server"
    ):
        _ = llm.memory


def test_a_key_is_in_no_text(llm: ChatVIST2, served: Served) -> None:
    assert served.told["acme"] not in f"{llm!r} {llm._identifying_params}"


@pytest.mark.parametrize(
    "choice", [{"model": "vist2-tiny"}, {"ratio": 4.0}, {"tensors_dtype": "int8"}]
)
def test_a_memory_with_a_served_engine_takes_no_choices_of_the_server(choice: Any) -> None:
    with pytest.raises(InvalidInputError, match="is chosen by the server at http://host"):
        VisualMemory.open("memory://", engine="http://host", **choice)
