"""What clients of replicas do in tests, and what one process would have answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from vist2_memory import GenerationParams, VisualMemory
from vist2_memory.store import Store

TOKENS = 20


def favourites(http: httpx.Client, limit: int = 400) -> dict[str, str]:
    """By replica, what in the header has it chosen; of the living ones."""
    found: dict[str, str] = {}
    for number in range(limit):
        reply = http.get("/healthz", headers={"X-Session-Id": f"s{number}"})
        found.setdefault(reply.headers["x-replica"], f"s{number}")
        if len(found) == 2:
            break
    return found


def sessions_of(http: httpx.Client, replica: str, how_many: int) -> list[str]:
    """Names of new sessions that have this replica chosen."""
    found: list[str] = []
    for number in count():
        name = f"f{number}"
        reply = http.get("/healthz", headers={"X-Session-Id": name})
        if reply.headers["x-replica"] == replica:
            found.append(name)
        if len(found) == how_many:
            return found


def ask(http: httpx.Client, question: str, session: str, **headers: str) -> httpx.Response:
    reply = http.post(
        "/v1/chat/completions", json=asking(question, session_id=session), headers=headers
    )
    assert reply.status_code == 200, reply.text
    return reply


def asking(question: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "max_tokens": TOKENS, **more}


def said(reply: httpx.Response) -> str:
    content: str = reply.json()["choices"][0]["message"]["content"]
    return content


def expected(
    checkpoint: Path,
    questions: Sequence[str],
    store: str | Store = "memory://",
    max_tokens: int = TOKENS,
) -> list[tuple[str, str]]:
    """The log that one process without a server makes in ``store``, greedily."""
    greedy = GenerationParams(max_tokens=max_tokens, temperature=0.0)
    with VisualMemory.open(store, model=checkpoint) as memory:
        session = memory.session("s")
        for question in questions:
            session.ask(question, params=greedy)
        return logged(session)


def logged(session: Any) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in session.messages()]


def text_of(lines: list[str]) -> str:
    """What a stream said."""
    parts = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return "".join(part["choices"][0]["delta"].get("content") or "" for part in parts)
