"""A chat server: conversations that remember, answers streamed as server-sent events.

Run it with ``pip install fastapi uvicorn`` and ``uvicorn --factory fastapi_app:create_app`` here,
then::

    curl -N localhost:8000/chats/anna -H 'content-type: application/json' \\
        -d '{"text": "My cat is called Miso."}'

``VIST2_STORE`` and ``VIST2_MODEL`` say where conversations are kept and who answers. Put your own
check of who may read which chat before it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from langchain_core.messages import AIMessageChunk, HumanMessage
from pydantic import BaseModel, Field

from langchain_vist2 import ChatVIST2
from vist2_memory.errors import InvalidInputError, StoreError, Vist2Error


class Said(BaseModel):
    """What a user says."""

    text: str = Field(min_length=1, max_length=20_000)


def create_app(llm: ChatVIST2 | None = None) -> FastAPI:
    """The server, which answers with ``llm`` and closes it when it ends."""
    model = llm or ChatVIST2(max_tokens=200)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        await model.aclose()

    app = FastAPI(title="Chats that remember", lifespan=life)

    @app.post("/chats/{chat}")
    async def say(chat: str, said: Said) -> StreamingResponse:
        """The answer, piece by piece. A client that goes away stops it; asking again goes on."""
        chunks: Any = model.astream([HumanMessage(said.text)], session_id=chat)
        try:
            first = await anext(chunks)  # what cannot be answered is an error, not an empty stream
        except InvalidInputError as error:
            raise HTTPException(422, str(error)) from error
        except StoreError as error:
            raise HTTPException(503, str(error)) from error
        return StreamingResponse(events(first, chunks), media_type="text/event-stream")

    @app.get("/chats/{chat}")
    async def history(chat: str) -> list[dict[str, str]]:
        """What was said, word for word."""
        messages = await model.memory.session(chat).amessages()
        return [{"role": message.role, "text": message.text} for message in messages]

    @app.delete("/chats/{chat}", status_code=204)
    async def forget(chat: str) -> None:
        """Nothing is left of it: no text, no visual tokens."""
        await model.memory.session(chat).adelete()

    return app


async def events(
    first: AIMessageChunk, rest: AsyncGenerator[AIMessageChunk, None]
) -> AsyncIterator[str]:
    """The chunks of an answer as server-sent events: ``text``, and then ``done`` or ``error``."""
    async with aclosing(rest):  # a client that went away closes this, and with it the generation
        chunk, usage = first, first.usage_metadata
        yield event("text", {"text": chunk.text})
        try:
            async for chunk in rest:
                usage = chunk.usage_metadata or usage
                if chunk.text:
                    yield event("text", {"text": chunk.text})
        except Vist2Error as error:
            yield event("error", {"detail": str(error)})
            return
        yield event("done", {"usage": usage})


def event(name: str, data: Any) -> str:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
