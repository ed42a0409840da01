"""Replicas of the server with real Ray, one of which is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from ray_vist2 import ReplicaOptions
from tests.support.ray_cluster import RayCluster, client
from vist2_memory import GenerationParams, VisualMemory
from vist2_memory.serving.keys import new_key

pytest_plugins = ("tests.support.fixtures", "tests.support.ray_fixtures")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

APP = "shared"
QUESTIONS = [f"Question {number}: what is my cat called?" for number in range(6)]
TOKENS = 20
RIGHTS = ("read", "write", "admin")


@pytest.fixture(scope="module")
def keys() -> Iterator[tuple[str, str]]:
    """A key of the namespace ``acme`` and one of ``other``; whoever builds an app has them."""
    told, kept = zip(*[new_key(name, RIGHTS) for name in ("acme", "other")], strict=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIST2_API_KEYS", json.dumps({"keys": [asdict(key) for key in kept]}))
        yield told


@pytest.fixture(scope="module")
def http(
    ray_cluster: RayCluster, redis_url: str, checkpoint: Path, keys: tuple[str, str]
) -> Iterator[httpx.Client]:
    """A client of two replicas that share a Redis."""
    options = ReplicaOptions(store=redis_url, model=str(checkpoint), replicas=2)
    ray_cluster.deploy(APP, options)
    with client(ray_cluster, APP, keys[0]) as found:
        yield found


@pytest.fixture(autouse=True)
def _both_are_there(ray_cluster: RayCluster, http: httpx.Client) -> None:
    """Also after another test has killed one."""
    ray_cluster.wait_for(lambda: len(favourites(http, limit=40)) == 2)


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


def expected(checkpoint: Path, questions: list[str], **params: Any) -> list[tuple[str, str]]:
    """The log that one process without a server makes."""
    greedy = GenerationParams(max_tokens=TOKENS, temperature=0.0, **params)
    with VisualMemory.open("memory://", model=checkpoint) as memory:
        session = memory.session("s")
        for question in questions:
            session.ask(question, params=greedy)
        return logged(session)


def logged(session: Any) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in session.messages()]


def test_a_session_stays_with_one_replica_and_sessions_are_spread(http: httpx.Client) -> None:
    by_session = {}
    for session in (f"stays-{number}" for number in range(12)):
        replies = [ask(http, q, session, **{"X-Session-Id": session}) for q in QUESTIONS[:3]]
        [by_session[session]] = {reply.headers["x-replica"] for reply in replies}
    assert len(set(by_session.values())) == 2


def test_two_replicas_in_turn_answer_as_one_process_does(
    http: httpx.Client, redis_url: str, checkpoint: Path
) -> None:
    """The router reads the header in either spelling, the application one of them."""
    by_replica = favourites(http)
    used = []
    for number, question in enumerate(QUESTIONS):
        wanted = list(by_replica.values())[number % 2]
        reply = ask(http, question, "in-turn", X_Session_Id=wanted)
        used.append(reply.headers["x-replica"])
    assert used == list(by_replica) * 3
    with VisualMemory.open(redis_url, namespace="acme", model=checkpoint) as memory:
        assert logged(memory.session("in-turn")) == expected(checkpoint, QUESTIONS)


def test_keys_and_limits_are_the_servers(
    ray_cluster: RayCluster, http: httpx.Client, keys: tuple[str, str]
) -> None:
    ask(http, "Mine.", "own")
    assert "own" in http.get("/v1/sessions").text
    with client(ray_cluster, APP, keys[1]) as other:
        assert other.get("/v1/sessions/own/messages").json()["data"] == []
    with client(ray_cluster, APP, "vist2-none-none") as nobody:
        refused = nobody.get("/v1/sessions")
    assert (refused.status_code, len(refused.headers.get_list("x-request-id"))) == (401, 1)


def test_nothing_is_lost_when_a_replica_is_killed_in_the_middle_of_streams(
    ray_cluster: RayCluster, http: httpx.Client, redis_url: str, checkpoint: Path
) -> None:
    """One of two clients names its request, so that it can be sent again even once answered."""
    broken, other = favourites(http)
    sessions = sessions_of(http, broken, 2)
    named: list[dict[str, str]] = [{"Idempotency-Key": "turn-2"}, {}]
    for session in sessions:
        ask(http, QUESTIONS[0], session, **{"X-Session-Id": session})
    long = asking(QUESTIONS[1], max_tokens=1500, stream=True)
    with VisualMemory.open(redis_url, namespace="acme", model=checkpoint) as memory:
        with ExitStack() as streams:
            lines = []
            for session, name in zip(sessions, named, strict=True):
                headers = {"X-Session-Id": session, **name}
                reply = streams.enter_context(
                    http.stream("POST", "/v1/chat/completions", json=long, headers=headers)
                )
                assert reply.headers["x-replica"] == broken
                lines.append(reply.iter_lines())
                assert next(lines[-1]).startswith("data: {")
            ray_cluster.kill_replica(APP, broken)
            for rest in lines:
                assert "data: [DONE]" not in rest_of(rest)
        for session in sessions:
            *_, last = logged(memory.session(session))
            assert last == ("user", QUESTIONS[1])
        for session, name in zip(sessions, named, strict=True):
            headers = {"X-Session-Id": session, **name}
            again = ask(http, QUESTIONS[1], session, **headers)
            assert again.headers["x-replica"] == other
            if name:
                assert said(ask(http, QUESTIONS[1], session, **headers)) == said(again)
            ask(http, QUESTIONS[2], session, **{"X-Session-Id": session})
            assert logged(memory.session(session)) == expected(checkpoint, QUESTIONS[:3])


def rest_of(lines: Iterator[str]) -> list[str]:
    """What still comes of a stream, which may break off."""
    found = []
    try:
        for line in lines:
            found.append(line)
    except httpx.TransportError:
        pass
    return found
