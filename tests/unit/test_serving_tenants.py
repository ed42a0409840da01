"""No request brings out, or changes, what is another tenant's; and none makes the server fail."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import Any

import pytest

from tests.support.guarded import (
    DOCUMENT,
    LIMIT,
    SECRET,
    Asked,
    TellingEngine,
    Told,
    ask,
    plant,
    sent,
    snapshot,
)
from tests.support.serving import Served
from tests.support.trespass import Trespassers
from vist2_memory.text.chunking import chunk_id

OPEN = ("/healthz", "/readyz")


def check(asked: Asked, told: Told) -> None:
    """Raise for an answer that should not be."""
    assert SECRET.encode() not in sent(asked)
    assert SECRET.encode() not in told.text, asked
    assert told.status < 500 or told.status == 501, (asked, told)
    if asked.who == "nobody":
        refused = told.status in (400, 401, 413)
        page = asked.path == "/" or asked.path.startswith("/page/")  # it tells who does not know
        assert refused or page or asked.path in OPEN, (asked, told)
    if asked.path == "/v1/engine/missing" and told.status == 200:
        named = chunk_id(DOCUMENT).encode()
        assert (named in asked.body) == (named in told.text), asked


async def trespass(requests: int, seed: int) -> Counter[int]:
    """Send so many requests, and check each answer and what the owner has afterwards."""
    served = Served(TellingEngine(), rate="1000000/minute", max_body_bytes=LIMIT, queue=0)
    await plant(served)
    before = await snapshot(served)
    assert SECRET in str(before)
    keys = {name: served.told[name] for name in ("other", "other:read")}
    trespassers = Trespassers(seed, keys, served.told["acme"])
    seen: Counter[int] = Counter()
    for _ in range(requests):
        asked = trespassers.next()
        told = await ask(served, asked)
        check(asked, told)
        seen[told.status] += 1
    assert await snapshot(served) == before
    gate = served.app.state.vist2.gate
    assert (gate.running, gate.waiting) == (0, 0)
    return seen


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


async def test_trespassers_see_nothing_change_nothing_and_break_nothing() -> None:
    seen = await trespass(500, seed=1)
    assert {200, 400, 401, 403, 404, 405, 413} <= set(seen)


@pytest.mark.parametrize(
    ("length", "status"),
    [(b"-1", 400), (b"x", 400), (b"\xb2", 400), (b"9" * 30, 400), (b"9" * 12, 413)],
)
async def test_a_length_that_is_none_is_told(length: bytes, status: int) -> None:
    asked = Asked("nobody", "POST", b"/v1/sessions", ((b"content-length", length),), b"")
    assert (await ask(Served(), asked)).status == status


@pytest.mark.parametrize("host", [b"x/healthz?", b"x/healthz#", b"user@/healthz?", b""])
async def test_what_needs_no_key_is_known_by_the_path_alone(host: bytes) -> None:
    asked = Asked("nobody", "GET", b"/v1/sessions", ((b"host", host),), b"")
    assert (await ask(Served(), asked)).status == 401


@pytest.mark.parametrize("path", [b"/v1/sessions", b"/", b"/page/sessions"])
async def test_an_address_that_is_no_text_is_told(path: bytes) -> None:
    asked = Asked("nobody", "GET", path + b"?a=\xff", (), b"")
    assert (await ask(Served(), asked)).status == 400


BAD_TOOLS = [
    {"name": "\ud800"},
    {"name": "f", "description": 1},
    {"name": "f", "parameters": [1]},
    {"name": "f", "parameters": {"type": "object", "properties": {"\ud800": {}}}},
]


@pytest.mark.parametrize("function", BAD_TOOLS)
async def test_tools_that_are_none_are_told(function: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": "q"}]}
    body |= {"tools": [{"type": "function", "function": function}]}
    served = Served()
    async with served.client(**{"Content-Type": "application/json"}) as client:
        reply = await client.post("/v1/chat/completions", content=json.dumps(body))
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_input"
    assert served.engine.contexts == []


@pytest.mark.parametrize("time", ["1e400", "NaN", "1" + "0" * 400])
async def test_a_time_that_is_none_is_now(time: str) -> None:
    line = f'{{"role": "user", "content": "x", "time": {time}}}'
    async with Served().client(**{"Content-Type": "application/json"}) as client:
        added = await client.post("/v1/sessions/s/messages", content=f'{{"messages": [{line}]}}')
        imported = await client.post("/v1/sessions/t/import", content=line)
        rows = (await client.get("/v1/sessions/s/messages")).json()["data"]
    assert (added.status_code, imported.status_code) == (200, 200)
    assert rows[0]["time"] > 1e9


@pytest.mark.parametrize("data", [b"", b"\x00" * 40, b"[" * 5000, b'{"context": {}}'])
async def test_what_is_no_packet_is_told(data: bytes) -> None:
    async with Served().client() as client:
        reply = await client.post("/v1/engine/generate", content=data)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_input")


async def test_visual_tokens_that_another_tenant_sent_are_not_known() -> None:
    served = Served()
    ids = {"ids": [chunk_id(DOCUMENT)]}
    async with served.client("acme") as owner, served.client("other") as other:
        text = {"chunks": [{"text": DOCUMENT, "tokens": 8}]}
        assert (await owner.post("/v1/engine/encode", json=text)).status_code == 200
        missing = [(await c.post("/v1/engine/missing", json=ids)).json() for c in (owner, other)]
    assert [one["missing"] for one in missing] == [[], ids["ids"]]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_trespassers() -> None:
    await trespass(10_000, seed=2)
