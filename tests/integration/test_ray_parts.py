"""Parts of replicas and workers, without a cluster."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from ray import serve
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from starlette.types import Receive, Scope, Send

import ray_vist2
from ray_vist2.deployment import build_app
from ray_vist2.encoding import Encoder, Target
from ray_vist2.options import ReplicaOptions
from ray_vist2.replica import Marked, Replica
from tests.support.redis_servers import RedisServer
from vist2_memory.errors import EncodingError, InvalidInputError
from vist2_memory.serving import logs
from vist2_memory.types import Chunk, VisualTokens

pytest_plugins = ("tests.support.fixtures",)


@pytest.fixture(autouse=True)
def _as_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(replica_id=SimpleNamespace(unique_id="abc"))
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)
    monkeypatch.delenv("VIST2_API_KEYS", raising=False)
    monkeypatch.setattr(logs, "set_up", lambda level: None)  # else pytest's own handlers are gone


@pytest.fixture
def replica(redis_server: RedisServer, checkpoint: Path) -> Iterator[Replica]:
    options = ReplicaOptions(store=redis_server.url, model=str(checkpoint))
    made = Replica(options, None)
    yield made
    made.__del__()


async def test_a_replica_is_broken_when_its_store_was_away_for_too_long(
    replica: Replica, redis_server: RedisServer
) -> None:
    replica.__serve_build_asgi_app__()
    await replica.check_health()
    redis_server.stop()
    await replica.check_health()  # away, but not for long
    replica._options = replica._options.model_copy(update={"patience": 0.001})
    with pytest.raises(RuntimeError, match="has not answered for"):
        await replica.check_health()
    redis_server.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:  # the store is not asked at once after it was away
        with suppress(RuntimeError):
            await replica.check_health()
            break
        await asyncio.sleep(0.2)
    await replica.check_health()


async def _answers(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"x-request-id", b"own")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize(
    ("peer", "open_door", "status"),
    [
        ("127.0.0.1", True, 200),
        ("10.0.0.7", True, 403),
        ("10.0.0.7", False, 200),
        ("", True, 403),
    ],
)
async def test_without_keys_only_this_machine_is_answered(
    peer: str, open_door: bool, status: int
) -> None:
    marked = Marked(_answers, "abc", open_door)
    transport = httpx.ASGITransport(marked, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        reply = await client.get("/v1/sessions")
    assert (reply.status_code, reply.headers["x-replica"]) == (status, "abc")
    assert "x-request-id" not in reply.headers


def test_without_keys_no_proxy_may_hide_who_asks(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path, url: str
) -> None:
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    with pytest.raises(InvalidInputError, match="behind HAProxy"):
        Replica(ReplicaOptions(store=url, model=str(checkpoint)), None)


def test_the_application_is_set_up_as_asked(caplog: pytest.LogCaptureFixture) -> None:
    options = ReplicaOptions(
        store="redis://h", replicas=2, max_replicas=5, concurrency=4, queue=3, surge=50, gpus=1
    )
    with caplog.at_level(logging.WARNING):
        found = build_app(options)._bound_deployment
    assert "no keys" in caplog.text
    config = found._deployment_config
    scaling = config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 5)
    assert scaling.target_ongoing_requests == 4
    assert (config.max_ongoing_requests, config.max_surge_percent) == (7, 50)
    assert found.ray_actor_options["num_gpus"] == 1
    fixed = build_app(options.model_copy(update={"max_replicas": None}))._bound_deployment
    assert fixed._deployment_config.autoscaling_config is None
    assert fixed.num_replicas == 2


def test_serve_run_gives_the_application_its_arguments() -> None:
    """As ``serve run ray_vist2:build_app store=... replicas=3`` does."""
    told = {"store": "redis://h", "replicas": "3"}
    made = call_user_app_builder_with_args_if_necessary(ray_vist2.build_app, told)
    assert made._bound_deployment.num_replicas == 3


def test_a_document_that_cannot_be_encoded_is_told_and_its_neighbours_are_not(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path, url: str
) -> None:
    encoder = Encoder(Target(url, "n", "c", {"model": str(checkpoint)}), "text")
    really = encoder._engine.encode

    def encode(chunks: list[Chunk]) -> list[VisualTokens]:
        if any("poison" in chunk.text for chunk in chunks):
            raise EncodingError("cannot draw this")
        return really(chunks)

    monkeypatch.setattr(encoder._engine, "encode", encode)
    texts = ["All is well.", "A poison pill.", "\ud800", "All is well again."]
    batch: dict[str, Any] = {
        "text": np.array(texts, dtype=object),
        "page": np.array([1, 2, 3, 4]),
        "source": np.array(["a", "b", "c", "d"]),
    }
    done = encoder(batch)
    failures = dict(zip(done["source"], done["failure"], strict=True))
    assert [bool(failures[name]) for name in "abcd"] == [False, True, True, False]
    assert "cannot draw this" in failures["b"]
    assert "InvalidMessageError" in failures["c"]
    assert json.loads(done["metadata"][3]) == {"page": 4, "source": "d"}
    assert done["chunks"][0] > 0
