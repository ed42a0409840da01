"""``/v1/chat/completions``: what it answers, logs and refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.plain import FailingStore, PlainEngine, calling
from tests.support.serving import Served, chat, events
from vist2_memory.types import Finished, TextDelta

URL = "/v1/chat/completions"
ASK = [{"role": "user", "content": "q"}]
LONG = {"role": "system", "content": "be kind " * 3000}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


async def test_an_answer_in_openais_form() -> None:
    served = Served(PlainEngine(["It is Miso."]))
    async with served.client() as client:
        reply = await client.post(URL, json=chat("What is my cat called?"))
    assert reply.status_code == 200
    body = reply.json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "plain"
    assert body["choices"][0]["message"]["content"] == "It is Miso."
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["vist2"]["session_id"] is None
    assert await served.tenants.tenant("acme").memory.asessions() == []


async def test_a_stream_has_the_same_words_as_the_whole() -> None:
    served = Served(PlainEngine(["Two words here.", "Two words here."]))
    options = {"stream": True, "stream_options": {"include_usage": True}}
    async with served.client() as client:
        whole = (await client.post(URL, json=chat("q"))).json()
        reply = await client.post(URL, json=chat("q", **options))
    assert reply.headers["content-type"].startswith("text/event-stream")
    *told, usage, done = events(reply.text)
    assert done == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in told]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == "Two words here."
    assert [chunk["choices"][0]["finish_reason"] for chunk in told][-1] == "stop"
    assert usage["choices"] == []
    assert usage["usage"] == whole["usage"]


async def test_a_session_needs_only_what_is_new_and_takes_the_whole_list_too() -> None:
    served = Served(PlainEngine(["Hello.", "Miso.", "Seven."]))
    async with served.client() as client:
        await client.post(URL, json=chat("My cat is called Miso.", "u/1"))
        second = await client.post(
            URL, json=chat("What is she called?"), headers={"X-Session-Id": "u/1"}
        )
        whole = [
            {"role": "user", "content": "My cat is called Miso."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "What is she called?"},
            {"role": "assistant", "content": "Miso."},
            {"role": "user", "content": "How old is she?"},
        ]
        await client.post(URL, json={"messages": whole, "session_id": "u/1"})
        logged = (await client.get("/v1/sessions/u%2F1/messages")).json()
    assert second.json()["vist2"]["session_id"] == "u/1"
    assert [row["content"] for row in logged["data"]] == [
        *(message["content"] for message in whole),
        "Seven.",
    ]


async def test_a_list_that_contradicts_its_session_is_refused_or_a_branch() -> None:
    served = Served()
    other = [{"role": "assistant", "content": "No."}, {"role": "user", "content": "Why?"}]
    async with served.client() as client:
        await client.post(URL, json=chat("My cat is called Miso.", "s"))
        refused = await client.post(URL, json={"messages": other, "session_id": "s"})
        forked = await client.post(
            URL, json={"messages": other, "session_id": "s", "on_conflict": "fork"}
        )
        rows = (await client.get("/v1/sessions/s/messages")).json()
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "conflict"
    assert forked.status_code == 200
    assert forked.json()["vist2"]["session_id"].startswith("s~")
    assert rows["total"] == 2


async def test_a_request_that_is_sent_again_under_its_key_is_answered_once() -> None:
    served = Served(PlainEngine(["First.", "Second."]))
    again = {"Idempotency-Key": "request-1"}
    async with served.client() as client:
        answers = [
            (await client.post(URL, json=chat("Hi.", "s"), headers=again)).json() for _ in range(2)
        ]
        rows = (await client.get("/v1/sessions/s/messages")).json()
    assert [a["choices"][0]["message"]["content"] for a in answers] == ["First.", "First."]
    assert answers[1]["vist2"]["degraded"] == ["answered from the log"]
    assert rows["total"] == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls(stream: bool) -> None:
    served = Served(PlainEngine([calling("weather", city="Paris")]))
    body = chat("Weather?", tools=[WEATHER], tool_choice="required", stream=stream)
    async with served.client() as client:
        reply = await client.post(URL, json=body)
    if stream:
        deltas = [e["choices"][0]["delta"] for e in events(reply.text) if e != "[DONE]"]
        pieces = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert (pieces[0]["id"], pieces[0]["function"]["name"]) == ("call_1", "weather")
        arguments = "".join(piece["function"]["arguments"] for piece in pieces)
    else:
        choice = reply.json()["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        [call] = choice["message"]["tool_calls"]
        assert (call["id"], call["function"]["name"]) == ("call_1", "weather")
        arguments = call["function"]["arguments"]
    assert arguments == '{"city": "Paris"}'
    assert served.engine.contexts  # it was the engine that answered


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (chat("q", n=2), 400, "n: "),
        (chat("q", frequency_penalty=1), 400, "frequency_penalty: "),
        (chat("q", unheard_of=1), 400, "unheard_of: "),
        (chat("q", model="gpt-4"), 404, "there is no model 'gpt-4' here, only 'plain'"),
        (chat("q", tool_choice="walk"), 400, "tool_choice='walk' is not allowed"),
        (chat("q", response_format={"type": "xml"}), 400, "response_format="),
        (chat("q", selection="best"), 400, "selection"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, 400, "ends with"),
        ({"messages": [{"role": "robot", "content": "a"}]}, 400, "messages[0]: unknown role"),
        ({"messages": [{"content": "a"}]}, 400, "messages[0]: it has no 'role'"),
        ({"messages": []}, 400, "messages: "),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            400,
            "which is no text",
        ),
        ({"messages": [LONG, *ASK], "session_id": "s"}, 400, "the system prompt of session 's'"),
    ],
)
async def test_what_is_asked_for_wrongly_is_told_and_nothing_logged(
    body: dict[str, Any], status: int, said: str
) -> None:
    served = Served()
    async with served.client() as client:
        reply = await client.post(URL, json=body)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"
    assert served.engine.contexts == []
    assert await served.tenants.tenant("acme").memory.asessions() == []


async def test_two_different_sessions_in_one_request_are_refused() -> None:
    async with Served().client() as client:
        reply = await client.post(URL, json=chat("q", "a"), headers={"X-Session-Id": "b"})
    assert reply.status_code == 400
    assert "session_id is 'a' and the header X-Session-Id 'b'" in reply.json()["error"]["message"]


async def test_a_store_that_is_down_is_told_before_anything_is_generated() -> None:
    served = Served(store=FailingStore("append"))
    async with served.client() as client:
        reply = await client.post(URL, json=chat("Hi.", "s"))
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) >= 1
    assert served.engine.contexts == []


class _Breaks(PlainEngine):
    def generate(self, context: Any, params: Any) -> Any:
        yield TextDelta("Half of ")
        raise RuntimeError("secret words of a user")


async def test_what_fails_in_a_stream_is_its_last_event_and_tells_no_words() -> None:
    served = Served(_Breaks())
    async with served.client() as client:
        reply = await client.post(URL, json=chat("q", stream=True))
    first, last = events(reply.text)
    assert first["choices"][0]["delta"]["content"] == "Half of "
    assert last["error"]["code"] == "internal_error"
    assert "secret" not in reply.text


async def test_a_full_queue_is_told_and_those_in_it_are_served() -> None:
    engine = PlainEngine([Finished("Slow.", "stop")] * 3, step_s=0.3)
    served = Served(engine, concurrency=1, queue=1)
    async with served.client() as client:
        asked = [asyncio.create_task(client.post(URL, json=chat("q"))) for _ in range(3)]
        replies = await asyncio.gather(*asked)
    codes = sorted(reply.status_code for reply in replies)
    assert codes == [200, 200, 429]
    [busy] = [reply for reply in replies if reply.status_code == 429]
    assert int(busy.headers["retry-after"]) >= 1
    assert busy.json()["error"]["type"] == "rate_limit_error"
    state = served.app.state.vist2
    assert (state.gate.running, state.gate.waiting) == (0, 0)


async def test_who_leaves_the_queue_is_not_asked_for_and_logs_nothing() -> None:
    served = Served(PlainEngine(["One word after the other."], step_s=0.1), concurrency=1)
    gate, left = served.app.state.vist2.gate, asyncio.Event()
    async with served.client() as client:
        first = asyncio.create_task(client.post(URL, json=chat("q", "first")))
        while not gate.running:
            await asyncio.sleep(0.01)
        waits = asyncio.create_task(served.post_and_leave(URL, chat("Not now.", "s"), left))
        while not gate.waiting:
            await asyncio.sleep(0.01)
        left.set()
        await waits
        assert (gate.running, gate.waiting) == (1, 0)
        assert (await first).status_code == 200
        rows = (await client.get("/v1/sessions/s/messages")).json()
    assert rows["total"] == 0
    assert len(served.engine.contexts) == 1


async def test_documents_are_read_before_the_conversation() -> None:
    served = Served()
    async with served.client() as client:
        text = {"documents": [{"text": "The blue valve is behind the boiler."}]}
        await client.post("/v1/collections/handbook/documents", json=text)
        reply = await client.post(URL, json=chat("Where is it?", include=["handbook"]))
    assert reply.status_code == 200
    read = "".join(chunk.text for chunk in served.engine.contexts[-1].sources)
    assert read.startswith("\ue004The blue valve is behind the boiler.")
