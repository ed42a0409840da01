"""What is another tenant's, and requests for it as a server hands them to the application.

Paths, headers and bodies are raw: no client library has tidied them up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from tests.support.plain import PlainEngine
from tests.support.serving import Served
from vist2_memory.types import Context, Finished, GenerationParams

SECRET = "canary"
"""In every text that is guarded, and in nothing that trespassers send."""
KNOWN = ("payroll", "u/1", "böard", "a..b", "a b")
"""Sessions and collections of the owner whose names trespassers know."""
DOCUMENT = f"The {SECRET} code of the vault is 4711."

LIMIT = 20_000


class TellingEngine(PlainEngine):
    """Answers with all that it was given to read, so that what it knows comes out."""

    def generate(self, context: Context, params: GenerationParams) -> Any:
        read = "".join(chunk.text for chunk in context.sources)
        yield Finished(f"I read: {context.pinned} {read} {context.tail}", "stop")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it comes over the wire."""

    who: str
    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(self.target.partition(b"?")[0].decode("ascii"))


@dataclass(frozen=True, slots=True)
class Told:
    """What came back."""

    status: int
    text: bytes
    """Headers and body."""


async def ask(served: Served, asked: Asked) -> Told:
    """Hand a request to the application, as a server would."""
    raw, _, query = asked.target.partition(b"?")
    pieces = [asked.body[:7], asked.body[7:]]
    messages = [
        {"type": "http.request", "body": piece, "more_body": piece is not pieces[-1]}
        for piece in pieces
    ]
    told: list[Mapping[str, Any]] = []

    ended = asyncio.Event()

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        told.append(message)

    scope = {
        **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "scheme": "http"},
        **{"http_version": "1.1", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)},
        **{"method": asked.method, "path": asked.path, "raw_path": raw, "root_path": ""},
        **{"query_string": query, "headers": list(asked.headers)},
    }
    await served.app(scope, receive, send)
    ended.set()
    start, *rest = told
    headers = b"\n".join(b": ".join(pair) for pair in start["headers"])
    return Told(start["status"], headers + b"".join(part.get("body", b"") for part in rest))


async def plant(served: Served) -> None:
    """Give the owner sessions, documents and visual tokens to guard."""
    talk = [
        {"role": "system", "content": f"Keep the {SECRET}.", "id": f"{SECRET}-0"},
        {"role": "user", "content": f"The {SECRET} is in the vault. " * 9, "id": f"{SECRET}-1"},
    ]
    async with served.client() as client:
        for name in (*KNOWN, f"{SECRET}/session"):
            place = f"/v1/sessions/{quote(name, safe='')}"
            done = await client.post(f"{place}/messages", json={"messages": talk})
            assert done.status_code == 200
            body = {"documents": [{"text": DOCUMENT, "metadata": {"of": f"{SECRET} {name}"}}]}
            place = f"/v1/collections/{quote(name, safe='')}"
            assert (await client.post(f"{place}/documents", json=body)).status_code == 200
        asked = {"messages": [{"role": "user", "content": f"What is the {SECRET}?"}]}
        known = {"Idempotency-Key": "known"}
        done = await client.post(
            "/v1/chat/completions", json={**asked, "session_id": "payroll"}, headers=known
        )
        assert SECRET in done.json()["choices"][0]["message"]["content"]


async def snapshot(served: Served) -> list[Any]:
    """All that the owner has."""
    found = []
    async with served.client() as client:
        for kind, parts in (("sessions", ("messages", "export")), ("collections", ("documents",))):
            rows = (await client.get(f"/v1/{kind}")).json()["data"]
            for name in [row["id"] for row in rows]:
                place = f"/v1/{kind}/{quote(name, safe='')}"
                found += [name, *[(await client.get(f"{place}/{part}")).text for part in parts]]
    return found


def sent(asked: Asked) -> bytes:
    """All that a trespasser said, in plain bytes."""
    headers = b"\n".join(b": ".join(pair) for pair in asked.headers)
    return unquote_to_bytes(asked.target) + headers + asked.body
