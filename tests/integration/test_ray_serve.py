"""Replicas of the server with real Ray, one of which is killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
from ray import serve

from ray_vist2 import ReplicaOptions
from tests.support.ray_clients import (
    ask,
    asking,
    expected,
    favourites,
    logged,
    said,
    sessions_of,
    text_of,
)
from tests.support.ray_cluster import RayCluster, client
from vist2_memory import VisualMemory
from vist2_memory.serving.keys import new_key
from vist2_memory.store import InMemoryStore

pytest_plugins = ("tests.support.fixtures", "tests.support.ray_fixtures")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

APP = "shared"
QUESTIONS = [f"Question {number}: what is my cat called?" for number in range(6)]
RIGHTS = ("read", "write", "admin")


@pytest.fixture(scope="module")
def keys() -> Iterator[tuple[str, str]]:
    """A key of the namespace ``acme`` and one of ``other``; whoever builds an app has them."""
    told, kept = zip(*[new_key(name, RIGHTS) for name in ("acme", "other")], strict=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "VIST2_API_KEYS",
            json.dumps({"keys": [{**asdict(key), "rate": "100000/minute"} for key in kept]}),
        )
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


@pytest.fixture
def both(ray_cluster: RayCluster, http: httpx.Client) -> httpx.Client:
    """The client, when both replicas are there, also after another test has killed one."""
    ray_cluster.wait_for(lambda: len(favourites(http, limit=40)) == 2)
    return http


def test_a_session_stays_with_one_replica_and_sessions_are_spread(both: httpx.Client) -> None:
    by_session = {}
    for session in (f"stays-{number}" for number in range(12)):
        replies = [ask(both, q, session, **{"X-Session-Id": session}) for q in QUESTIONS[:3]]
        [by_session[session]] = {reply.headers["x-replica"] for reply in replies}
    assert len(set(by_session.values())) == 2


def test_two_replicas_in_turn_answer_as_one_process_does(
    both: httpx.Client, redis_url: str, checkpoint: Path
) -> None:
    """The router reads the header in either spelling, the application one of them."""
    by_replica = favourites(both)
    used = []
    for number, question in enumerate(QUESTIONS):
        wanted = list(by_replica.values())[number % 2]
        reply = ask(both, question, "in-turn", X_Session_Id=wanted)
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


def test_logs_have_requests_and_name_no_session(
    ray_cluster: RayCluster, http: httpx.Client
) -> None:
    id = ask(http, "Do you like plums?", "hidden-name").headers["x-request-id"]
    headers = {"X-Session-Id": "hidden-name"}
    http.get("/v1/sessions/hidden-name/messages", headers=headers).raise_for_status()
    ray_cluster.wait_for(lambda: f'"request_id": "{id}"' in ray_cluster.written())
    written = ray_cluster.written()
    assert '"route": "/v1/chat/completions"' in written
    assert "hidden-name" not in written
    assert "plums" not in written


def test_a_client_that_leaves_ends_its_answer(
    ray_cluster: RayCluster, both: httpx.Client, redis_url: str, checkpoint: Path
) -> None:
    headers = {"X-Session-Id": "left"}
    long = asking(QUESTIONS[0], max_tokens=1500, stream=True)
    with both.stream("POST", "/v1/chat/completions", json=long, headers=headers) as reply:
        next(reply.iter_lines())
        at = reply.headers["x-replica"]

    def idle() -> bool:
        figures = both.get("/metrics", headers=headers)
        assert figures.headers["x-replica"] == at
        return "\nvist2_running 0" in figures.text

    ray_cluster.wait_for(idle)
    with VisualMemory.open(redis_url, namespace="acme", model=checkpoint) as memory:
        assert logged(memory.session("left")) == [("user", QUESTIONS[0])]


def test_nothing_is_lost_when_a_replica_is_killed_in_the_middle_of_streams(
    ray_cluster: RayCluster, both: httpx.Client, redis_url: str, checkpoint: Path
) -> None:
    """One of two clients names its request, so that it can be sent again even once answered."""
    broken, other = favourites(both)
    sessions = sessions_of(both, broken, 2)
    named: list[dict[str, str]] = [{"Idempotency-Key": "turn-2"}, {}]
    for session in sessions:
        ask(both, QUESTIONS[0], session, **{"X-Session-Id": session})
    long = asking(QUESTIONS[1], max_tokens=1500, stream=True)
    with VisualMemory.open(redis_url, namespace="acme", model=checkpoint) as memory:
        with ExitStack() as streams:
            lines = []
            for session, name in zip(sessions, named, strict=True):
                headers = {"X-Session-Id": session, **name}
                reply = streams.enter_context(
                    both.stream("POST", "/v1/chat/completions", json=long, headers=headers)
                )
                assert reply.headers["x-replica"] == broken
                lines.append(reply.iter_lines())
                assert next(lines[-1]).startswith("data: {")
            ray_cluster.kill_replica(APP, broken)
            for rest in lines:
                with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
                    list(rest)
        for session in sessions:
            *_, last = logged(memory.session(session))
            assert last == ("user", QUESTIONS[1])
        for session, name in zip(sessions, named, strict=True):
            headers = {"X-Session-Id": session, **name}
            again = ask(both, QUESTIONS[1], session, **headers)
            assert again.headers["x-replica"] == other
            if name:
                assert said(ask(both, QUESTIONS[1], session, **headers)) == said(again)
            ask(both, QUESTIONS[2], session, **{"X-Session-Id": session})
            assert logged(memory.session(session)) == expected(checkpoint, QUESTIONS[:3])


def test_a_new_model_takes_over_and_encodes_sessions_again(
    ray_cluster: RayCluster,
    keys: tuple[str, str],
    redis_url: str,
    checkpoint: Path,
    other_checkpoint: Path,
) -> None:
    """The old replica ends its stream first; who asks meanwhile waits for the new one."""
    app, log = "upgrade", InMemoryStore()
    options = ReplicaOptions(store=redis_url, model=str(checkpoint), drain=60)
    ray_cluster.deploy(app, options)
    with client(ray_cluster, app, keys[0]) as http:
        old = ask(http, QUESTIONS[0], "upgraded")
        long = asking(QUESTIONS[1], session_id="upgraded", max_tokens=1500, stream=True)
        with http.stream("POST", "/v1/chat/completions", json=long) as reply:
            lines = reply.iter_lines()
            begun = [next(lines)]
            newer = options.model_copy(update={"model": str(other_checkpoint)})
            ray_cluster.deploy(app, newer, wait=False)
            whole = begun + list(lines)
        assert "data: [DONE]" in whole
        new = [ask(http, question, "upgraded") for question in QUESTIONS[2:4]]
    serve.delete(app)
    assert {reply.headers["x-replica"] for reply in new} == {new[0].headers["x-replica"]}
    assert new[0].headers["x-replica"] != old.headers["x-replica"]
    read = [reply.json()["vist2"]["usage"] for reply in new]
    again = [usage["visual_tokens"] - usage["cached_visual_tokens"] for usage in read]
    assert again[0] > read[0]["visual_tokens"] * 0.9  # all but the question, which came with it
    assert again[1] == 0
    expected(checkpoint, QUESTIONS[:1], log)
    expected(checkpoint, QUESTIONS[1:2], log, max_tokens=1500)
    with VisualMemory.open(redis_url, namespace="acme", model=checkpoint) as memory:
        found = logged(memory.session("upgraded"))
    assert found == expected(other_checkpoint, QUESTIONS[2:4], log)
    assert text_of(whole) == found[3][1]


def test_a_replica_is_added_while_requests_wait(
    ray_cluster: RayCluster, keys: tuple[str, str], redis_url: str, checkpoint: Path
) -> None:
    app, enough = "scaled", threading.Event()
    options = ReplicaOptions(
        store=redis_url, model=str(checkpoint), max_replicas=2, target=1, up_after=0.5
    )
    ray_cluster.deploy(app, options)
    assert ray_cluster.running(app) == 1

    def keep_asking(session: str) -> None:
        with client(ray_cluster, app, keys[0]) as http:
            while not enough.is_set():
                ask(http, QUESTIONS[0], session)

    asking_them = [threading.Thread(target=keep_asking, args=(f"busy-{n}",)) for n in range(2)]
    for thread in asking_them:
        thread.start()
    try:
        ray_cluster.wait_for(lambda: ray_cluster.running(app) == 2, seconds=120)
    finally:
        enough.set()
        for thread in asking_them:
            thread.join()
        serve.delete(app)
