"""The example of a chat server, asked over ASGI as a browser would ask it."""

from __future__ import annotations

import json
import runpy
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from langchain_vist2 import ChatVIST2
from tests.support.plain import FailingStore, PlainEngine
from vist2_memory.types import Context, GenerationEvent, GenerationParams

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi_app.py"
CREATE = runpy.run_path(str(EXAMPLE))["create_app"]


class Breaking(PlainEngine):
    """Fails in the middle of its answers, where it is told to."""

    broken = False

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        for event in super().generate(context, params):
            yield event
            if self.broken:
                raise RuntimeError("out of memory")


@asynccontextmanager
async def served(llm: ChatVIST2) -> AsyncIterator[AsyncClient]:
    app = CREATE(llm)
    async with app.router.lifespan_context(app):
        transport = ASGITransport(app)
        async with AsyncClient(transport=transport, base_url="http://chats") as client:
            yield client


def told(response: Any) -> list[tuple[str, Any]]:
    """The events of a stream."""
    found = []
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_a_chat_is_answered_in_pieces_remembered_and_forgotten() -> None:
    engine = PlainEngine(["A fine name for a cat.", "Miso."])
    async with served(ChatVIST2(model=engine, store="memory://")) as client:
        response = await client.post("/chats/anna", json={"text": "My cat is called Miso."})
        assert response.headers["content-type"].startswith("text/event-stream")
        *pieces, done = told(response)
        assert len(pieces) > 3
        assert {name for name, _ in pieces} == {"text"}
        assert "".join(data["text"] for _, data in pieces) == "A fine name for a cat."
        assert done[0] == "done"
        assert done[1]["usage"].keys() >= {"input_tokens", "output_tokens"}
        await client.post("/chats/anna", json={"text": "What is she called?"})
        assert (await client.get("/chats/anna")).json() == [
            {"role": "user", "text": "My cat is called Miso."},
            {"role": "assistant", "text": "A fine name for a cat."},
            {"role": "user", "text": "What is she called?"},
            {"role": "assistant", "text": "Miso."},
        ]
        assert (await client.get("/chats/ben")).json() == []
        assert (await client.delete("/chats/anna")).status_code == 204
        assert (await client.get("/chats/anna")).json() == []


async def test_what_cannot_be_answered_is_an_error() -> None:
    store = FailingStore()
    async with served(ChatVIST2(model=PlainEngine(), store=store)) as client:
        for text in ("", "x" * 20_001):
            assert (await client.post("/chats/anna", json={"text": text})).status_code == 422
        response = await client.post("/chats/anna", json={"text": "  "})
        assert response.status_code == 422
        assert "empty" in response.json()["detail"]
        store.broken.add("append")
        response = await client.post("/chats/anna", json={"text": "Hello."})
        assert response.status_code == 503
        assert "out of order" in response.json()["detail"]
        store.broken.clear()
        assert (await client.get("/chats/anna")).json() == []


async def test_an_answer_that_breaks_off_leaves_a_question_that_is_asked_once() -> None:
    engine = Breaking(["A fine name.", "A fine name."])
    async with served(ChatVIST2(model=engine, store="memory://")) as client:
        engine.broken = True
        with pytest.raises(RuntimeError):
            await client.post("/chats/anna", json={"text": "My cat is called Miso."})
        engine.broken = False
        await client.post("/chats/anna", json={"text": "My cat is called Miso."})
        said = (await client.get("/chats/anna")).json()
        assert [message["role"] for message in said] == ["user", "assistant"]
