"""No request brings out, or changes, what is another tenant's; and none makes the server fail."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from tests.support.serving import Served
from tests.support.trespass import (
    DOCUMENT,
    LIMIT,
    SECRET,
    Asked,
    TellingEngine,
    Told,
    Trespassers,
    ask,
    plant,
    sent,
    snapshot,
)
from vist2_memory.text.chunking import chunk_id

OPEN = ("/healthz", "/readyz")


def check(asked: Asked, told: Told) -> None:
    """Raise for an answer that should not be."""
    assert SECRET.encode() not in sent(asked)
    assert SECRET.encode() not in told.text, asked
    assert told.status < 500 or told.status == 501, (asked, told)
    if asked.who == "nobody":
        refused = told.status in (400, 401, 413)
        assert refused or asked.path in OPEN, (asked, told)
    if asked.path == "/v1/engine/missing" and told.status == 200:
        named = chunk_id(DOCUMENT).encode()
        assert (named in asked.body) == (named in told.text), asked


async def trespass(requests: int, seed: int) -> Counter[int]:
    """Send so many requests, and check each answer and what the owner has afterwards."""
    served = Served(TellingEngine(), rate="1000000/minute", max_body_bytes=LIMIT, concurrency=2, queue=0)
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


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_trespassers() -> None:
    await trespass(10_000, seed=2)
