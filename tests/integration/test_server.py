"""A real server process with a real Redis, and the clients that people use."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from langchain_vist2 import ChatVIST2
from tests.support.redis_servers import RedisServer, started
from tests.support.server_processes import ServerProcess
from vist2_memory import GenerationParams, VisualMemory

pytest_plugins = ("tests.support.fixtures", "tests.support.server_fixtures")
pytestmark = pytest.mark.timeout(180)

QUESTION = "What is my cat called?"
ENDLESS = {"type": "array", "items": {"type": "integer"}, "minItems": 600}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def openais(server: ServerProcess, key: str | None = None) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key or server.key, max_retries=0)


def chat_openai(server: ServerProcess, **options: object) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{server.url}/v1",
        api_key=SecretStr(server.key),
        model="vist2-tiny",
        max_retries=0,
        **options,  # type: ignore[arg-type]
    )


def test_openais_client(server_process: ServerProcess) -> None:
    client = openais(server_process)
    assert [model.id for model in client.models.list()] == ["vist2-tiny"]
    session = {"session_id": "openai/1"}
    told = client.chat.completions.create(
        model="vist2-tiny",
        messages=[{"role": "user", "content": "My cat is called Miso."}],
        max_tokens=24,
        extra_body=session,
    )
    assert told.usage is not None
    assert told.usage.completion_tokens > 0
    stream = client.chat.completions.create(
        model="vist2-tiny",
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=24,
        logprobs=True,
        top_logprobs=2,
        stream=True,
        stream_options={"include_usage": True},
        extra_body=session,
    )
    *chunks, usage = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said
    first = chunks[0].choices[0].logprobs
    assert first is not None
    assert first.content is not None
    assert len(first.content[0].top_logprobs) == 2
    assert usage.usage is not None
    with server_process.client() as http:
        rows = http.get("/v1/sessions/openai%2F1/messages").json()["data"]
    assert [row["content"] for row in rows] == [
        "My cat is called Miso.",
        told.choices[0].message.content,
        QUESTION,
        said,
    ]


def test_openais_client_calls_tools_and_keeps_to_forms(server_process: ServerProcess) -> None:
    client = openais(server_process)
    asked = client.chat.completions.create(
        model="vist2-tiny",
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[WEATHER],  # type: ignore[list-item]
        tool_choice="required",
        max_tokens=100,
        extra_body={"session_id": "tools"},
    ).choices[0]
    assert asked.finish_reason == "tool_calls"
    assert asked.message.tool_calls is not None
    call = asked.message.tool_calls[0]
    assert call.type == "function"
    assert set(json.loads(call.function.arguments)) == {"city"}
    answered = client.chat.completions.create(
        model="vist2-tiny",
        messages=[{"role": "tool", "tool_call_id": call.id, "content": "Rain, 12 degrees"}],
        max_tokens=24,
        extra_body={"session_id": "tools"},
    )
    assert answered.choices[0].message.content

    class Cat(BaseModel):
        name: str

    parsed = client.chat.completions.parse(
        model="vist2-tiny",
        messages=[{"role": "user", "content": "My cat is called Miso."}],
        response_format=Cat,
        max_tokens=60,
    )
    assert isinstance(parsed.choices[0].message.parsed, Cat)


def test_openais_client_is_told_errors_as_its_own(server_process: ServerProcess) -> None:
    client = openais(server_process)
    ask = [{"role": "user", "content": "q"}]
    with pytest.raises(openai.NotFoundError, match="only 'vist2-tiny'"):
        client.chat.completions.create(model="gpt-4", messages=ask)  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="n: "):
        client.chat.completions.create(model="vist2-tiny", messages=ask, n=2)  # type: ignore[arg-type]
    with pytest.raises(openai.AuthenticationError):
        openais(server_process, "vist2-x-y").models.list()


async def test_langchain_openai(server_process: ServerProcess) -> None:
    llm = chat_openai(server_process, max_tokens=60)
    said = await llm.ainvoke([SystemMessage("Be kind."), HumanMessage("My cat is called Miso.")])
    assert isinstance(said, AIMessage)
    assert said.text
    assert said.usage_metadata is not None
    assert [chunk async for chunk in llm.astream(QUESTION)]
    bound = llm.bind_tools([WEATHER], tool_choice="weather")
    assert bound.invoke("What is the weather in Paris?").tool_calls[0]["name"] == "weather"
    remembering = llm.bind(extra_body={"session_id": "langchain"})
    remembering.invoke("My cat is called Miso.")
    remembering.invoke(QUESTION)
    with server_process.client() as http:
        assert http.get("/v1/sessions/langchain/messages").json()["total"] == 4


def test_our_own_chat_model(server_process: ServerProcess) -> None:
    with closing(
        ChatVIST2(base_url=server_process.url, api_key=server_process.key, max_tokens=24)
    ) as llm:
        bound = llm.bind(session_id="ours")
        bound.invoke("My cat is called Miso.")
        reply = bound.invoke(QUESTION)
        assert reply.response_metadata["model_name"] == "vist2-tiny"
        assert llm.get_num_tokens(QUESTION) > 3
        form = {"type": "object", "properties": {"a": {"type": "integer"}}}
        parsed = llm.with_structured_output(form)
        assert isinstance(parsed.invoke("How many?"), dict)
    with server_process.client() as http:
        assert http.get("/v1/sessions/ours/messages").json()["total"] == 4


def test_our_own_memory_with_the_servers_engine(server_process: ServerProcess, url: str) -> None:
    """The log is here, tensors too; the model is there, and says what it says here."""
    talk = "My cat is called Miso. " * 40
    params = GenerationParams(max_tokens=150)
    answers = []
    for engine in (
        {"engine": server_process.url, "engine_options": {"api_key": server_process.key}},
        {},
    ):
        with VisualMemory.open(url, **engine) as memory:  # type: ignore[arg-type]
            session = memory.session(f"there-{bool(engine)}")
            session.add("user", talk)
            answers.append(session.ask(QUESTION, params=params))
    assert answers[0].text == answers[1].text
    assert answers[0].usage.visual_tokens == answers[1].usage.visual_tokens > 0


def test_other_keys_see_nothing(server_process: ServerProcess) -> None:
    with server_process.client() as mine, server_process.client(server_process.other_key) as theirs:
        body = {"messages": [{"role": "user", "content": "The code is 1234."}], "session_id": "own"}
        mine.post("/v1/chat/completions", json={**body, "max_tokens": 8})
        assert "own" in mine.get("/v1/sessions").text
        assert theirs.get("/v1/sessions").json()["data"] == []
        assert theirs.get("/v1/sessions/own/messages").json()["data"] == []


def _running(http: httpx.Client) -> int:
    [line] = [row for row in http.get("/metrics").text.splitlines() if row[:14] == "vist2_running "]
    return int(float(line.split()[1]))


def _wait_until_idle(http: httpx.Client) -> None:
    deadline = time.monotonic() + 20
    while _running(http):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_answer_and_its_question_stays(
    server_process: ServerProcess, stream: bool
) -> None:
    session = f"left-{stream}"
    body = {
        "messages": [{"role": "user", "content": "Tell me a long story."}],
        "session_id": session,
        "max_tokens": 4000,
        "response_format": {"type": "json_schema", "json_schema": {"schema": ENDLESS}},
        "stream": stream,
    }
    with server_process.client() as http:
        if stream:
            with http.stream("POST", "/v1/chat/completions", json=body) as reply:
                next(reply.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                http.post("/v1/chat/completions", json=body, timeout=1.0)
        _wait_until_idle(http)
        rows = http.get(f"/v1/sessions/{session}/messages").json()["data"]
    assert [row["role"] for row in rows] == ["user"]


def test_a_server_that_is_told_to_end_finishes_what_it_began(
    tmp_path: Path, server_redis: RedisServer
) -> None:
    server = ServerProcess(tmp_path, server_redis.url, "--drain", "60")
    server.start()
    body = {
        "messages": [{"role": "user", "content": "Tell me a story."}],
        "session_id": "drained",
        "max_tokens": 150,
        "temperature": 5.0,
        "seed": 1,
        "stream": True,
    }
    lines: list[str] = []
    began = threading.Event()

    def read() -> None:
        with (
            server.client() as http,
            http.stream("POST", "/v1/chat/completions", json=body) as reply,
        ):
            for line in reply.iter_lines():
                lines.append(line)
                began.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert began.wait(30)
        server.tell_to_end()
        reader.join(60)
        assert server.process is not None
        assert server.process.wait(60) == 0
    finally:
        server.stop()
    assert lines[-2:] == ["data: [DONE]", ""] or lines[-1] == "data: [DONE]"
    server.start()
    try:
        with server.client() as http:
            rows = http.get("/v1/sessions/drained/messages").json()["data"]
    finally:
        server.stop()
    deltas = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    told = "".join(d["choices"][0]["delta"].get("content") or "" for d in deltas)
    assert [row["content"] for row in rows][1:] == [told]
    assert "Tell me a story" not in server.log


def test_a_redis_that_comes_back_is_used_again(tmp_path: Path) -> None:
    redis = started(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    (tmp_path / "server").mkdir()
    server = ServerProcess(tmp_path / "server", redis.url)
    server.start()
    body = {
        "messages": [{"role": "user", "content": "Hello."}],
        "session_id": "s",
        "max_tokens": 8,
    }
    try:
        with server.client() as http:
            assert http.post("/v1/chat/completions", json=body).status_code == 200
            redis.stop()
            down = http.post("/v1/chat/completions", json=body)
            ready = http.get("/readyz")
            redis.start()
            deadline = time.monotonic() + 30
            while http.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            again = http.post("/v1/chat/completions", json=body)
            total = http.get("/v1/sessions/s/messages").json()["total"]
    finally:
        server.stop()
        redis.stop()
    assert (down.status_code, down.json()["error"]["code"]) == (503, "store_unavailable")
    assert int(down.headers["retry-after"]) >= 1
    assert ready.status_code == 503
    assert again.status_code == 200
    assert total == 4
