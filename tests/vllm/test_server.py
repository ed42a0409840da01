"""A vLLM server elsewhere: the same answers, and what is said when it is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.on_vllm import context_of, endless, said
from tests.vllm.servers import KEY, VLLMServer
from vist2_memory import EngineUnavailableError, ModelError, VisualMemory
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.engine.vllm.engine import VLLMEngine
from vist2_memory.types import GenerationParams, TextDelta

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def server(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    server = VLLMServer(bundled, tmp_path_factory.mktemp("vllm") / "log")
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)


@pytest.fixture
def served(server: VLLMServer, bundled: Path) -> Iterator[VLLMEngine]:
    engine = VLLMEngine(bundled, where=f"vllm+{server.url}")
    yield engine
    engine.close()


def test_greedy_tokens_over_folds_and_logprobs(reference: TorchEngine, served: VLLMEngine) -> None:
    context = context_of(reference, full=True)
    params = GenerationParams(max_tokens=90, logprobs=2)
    with endless(reference, served):
        ours, theirs = said(served, context, params), said(reference, context, params)
    assert ours.text == theirs.text
    assert ours.folded == theirs.folded != ()
    for one, other in zip(ours.logprobs, theirs.logprobs, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
        assert [top.bytes for top in one.top] == [top.bytes for top in other.top]


def test_json_by_a_schema(reference: TorchEngine, served: VLLMEngine) -> None:
    schema = {"properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    params = GenerationParams(max_tokens=60, schema={"type": "object", **schema})
    answers = [said(engine, context_of(reference), params) for engine in (served, reference)]
    assert answers[0].text == answers[1].text


def test_an_answer_that_is_left_is_aborted(
    reference: TorchEngine, served: VLLMEngine, server: VLLMServer
) -> None:
    with endless(served):
        events = served.generate(context_of(reference), GenerationParams(max_tokens=100))
        assert any(isinstance(event, TextDelta) for event in events)
        events.close()  # type: ignore[attr-defined]
    for _ in range(60):
        lines = httpx.get(f"{server.url}/metrics", timeout=10).text.splitlines()
        running = [line for line in lines if line.startswith("vllm:num_requests_running")]
        if all(float(line.split()[-1]) == 0 for line in running):
            break
    assert running
    assert float(running[0].split()[-1]) == 0


def test_what_is_served_is_checked_before_embeddings_are_sent(
    server: VLLMServer, bundled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"vllm+{server.url}"
    with pytest.raises(ModelError, match=r"serves 'vist2-tiny', not 'other'"):
        VLLMEngine(bundled, where=where, options=EngineOptions(vllm={"model": "other"}))
    monkeypatch.setenv("VLLM_API_KEY", "wrong")
    with pytest.raises(EngineUnavailableError, match=r"refused with 401.*VLLM_API_KEY"):
        VLLMEngine(bundled, where=where)


def test_a_server_that_dies_in_the_middle_of_an_answer(
    bundled: Path, tmp_path: Path, redis_url: str
) -> None:
    server = VLLMServer(bundled, tmp_path / "log")
    try:
        server.wait()
        options = {"vllm": {"timeout": 20}}
        with VisualMemory.open(
            redis_url,
            model=bundled,
            namespace="dies",
            engine=f"vllm+{server.url}",
            engine_options=options,
        ) as memory:
            session = memory.session("user")
            session.add("user", "My cat is called Miso.")
            with endless(memory.engine):  # type: ignore[arg-type]
                stream = session.stream(
                    "What is my cat called?", params=GenerationParams(max_tokens=500)
                )
                next(event for event in stream if isinstance(event, TextDelta))
                server.kill()
                with pytest.raises(EngineUnavailableError, match=r"cannot be reached or broke off"):
                    list(stream)
            assert [message.role for message in session.messages()] == ["user", "user"]
            with pytest.raises(EngineUnavailableError, match=r"see whether it runs"):
                session.ask("Are you there?")
    finally:
        server.kill()
    with pytest.raises(EngineUnavailableError, match=r"cannot be reached"):
        VLLMEngine(bundled, where=f"vllm+{server.url}")
