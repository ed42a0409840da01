"""What is deleted here is forgotten by the engine on a server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import CountingEngine
from tests.support.plain import PlainEngine
from tests.support.serving import Served, ServerThread
from vist2_memory import GenerationParams, VisualMemory
from vist2_memory.engine.remote.engine import RemoteEngine
from vist2_memory.serving.app import create_app
from vist2_memory.serving.settings import ServerSettings
from vist2_memory.serving.tenants import Tenants
from vist2_memory.store import InMemoryStore, Scope
from vist2_memory.types import VisualTokens

pytest_plugins = ("tests.support.fixtures",)


class Forgetting(PlainEngine):
    """Remembers what it was told to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[str] = []

    def forget(self, owner: str) -> None:
        self.forgotten.append(owner)


class ForgettingModel(CountingEngine):
    """The same, with a model."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.forgotten: list[str] = []

    def forget(self, owner: str) -> None:
        self.forgotten.append(owner)
        super().forget(owner)


@pytest.fixture
def model(checkpoint: Path) -> ForgettingModel:
    return ForgettingModel(checkpoint)


@pytest.fixture
def tenants(model: ForgettingModel) -> Tenants:
    return Tenants(InMemoryStore(), model)


@pytest.fixture
def server(tenants: Tenants) -> Iterator[ServerThread]:
    thread = ServerThread(create_app(tenants, ServerSettings()))
    yield thread
    thread.stop()


async def test_a_key_forgets_what_is_its_namespaces_alone() -> None:
    engine = Forgetting()
    served = Served(engine)
    path, body = "/v1/engine/forget", {"owner": "mine/session/a"}
    for key, status in (("acme:read", 403), ("acme:write", 200), ("other", 200)):
        async with served.client(key) as client:
            assert (await client.post(path, json=body)).status_code == status
    assert engine.forgotten == ["acme//mine/session/a", "other//mine/session/a"]


def test_a_session_that_is_deleted(
    model: ForgettingModel, tenants: Tenants, server: ServerThread
) -> None:
    engine = RemoteEngine(server.url)
    with VisualMemory.open("memory://", model=engine) as memory:
        session = memory.session("a")
        session.add("user", "My cat is called Miso, she sleeps on the piano. " * 20)
        session.ask("What is my cat called?", params=GenerationParams(max_tokens=2))
        owner = model.contexts[-1].owner
        assert owner
        assert model.forgotten == []
        ids = list({tokens.chunk_id for tokens in model.contexts[-1].visual})
        assert len(kept(tenants, model, ids)) == len(ids) > 0
        session.delete()
    engine.close()
    assert model.forgotten == [owner]
    assert not kept(tenants, model, ids)


def test_visual_tokens_that_are_dropped_after_they_were_asked_for_are_sent(
    model: ForgettingModel,
    tenants: Tenants,
    server: ServerThread,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = RemoteEngine(server.url)
    real = engine._client.json

    def json(method: str, path: str, **options: Any) -> Any:
        told = real(method, path, **options)
        if path.endswith("/missing"):
            engine._tell_to_forget("another session")
        return told

    with VisualMemory.open("memory://", model=engine) as memory:
        session = memory.session("a")
        session.add("user", "My cat is called Miso, she sleeps on the piano. " * 20)
        params = GenerationParams(max_tokens=2)
        session.ask("What is my cat called?", params=params)
        monkeypatch.setattr(engine._client, "json", json)
        answer = session.ask("And where does she sleep?", params=params)
        assert answer.usage.visual_tokens > 0
    assert model.forgotten
    engine.close()


def kept(tenants: Tenants, model: ForgettingModel, ids: list[str]) -> dict[str, VisualTokens]:
    """Those of the visual tokens that were sent which the server has."""
    scope = Scope("default", "session", "(sent)")
    return tenants.tenant("default").sent.get(scope, model.spec.fingerprint, ids)


def test_a_server_that_is_away_is_told_in_the_log(
    server: ServerThread, caplog: pytest.LogCaptureFixture
) -> None:
    engine = RemoteEngine(server.url)
    server.stop()
    with caplog.at_level(logging.WARNING):
        engine.forget("a")
        engine.close()
    assert "may be kept on the server for a while" in caplog.text
