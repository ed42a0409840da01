"""A stock vision-language family on a vLLM server elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.on_vllm import said
from tests.support.vlm_families import SAMPLES, save_family
from tests.vllm.servers import KEY, VLLMServer
from tests.vllm.stories import context_of, endless_pages
from vist2_memory import EngineUnavailableError
from vist2_memory.engine.vllm.pages import VLLMPagesEngine
from vist2_memory.engine.vllm.server_pages import NEEDS
from vist2_memory.engine.vlm.engine import VLMEngine
from vist2_memory.types import GenerationParams

pytestmark = pytest.mark.timeout(400)
SETTINGS: dict[str, Any] = {
    "page": SAMPLES["qwen2_5_vl"].page,
    "chunk_tokens": 24,
    "keep_recent": 16,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(tmp_path_factory.mktemp("qwen2_5_vl"), "qwen2_5_vl")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    reads = [*NEEDS.split(), "--limit-mm-per-prompt", '{"image": 0, "video": 0}']
    server = VLLMServer(folder, tmp_path_factory.mktemp("vllm") / "log", reads)
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def test_greedy_tokens_over_folds_and_logprobs(
    server: VLLMServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    served = VLLMPagesEngine(folder, where=f"vllm+{server.url}", **SETTINGS)
    here = VLMEngine(folder, device="cpu", **SETTINGS)
    endless_pages(served, here)
    for pages in (0, 3):
        context = context_of(here, pages, salt="tenant")
        params = GenerationParams(max_tokens=60, logprobs=2)
        ours, theirs = said(served, context, params), said(here, context, params)
        assert ours.text == theirs.text
        assert ours.folded == theirs.folded != ()
        for one, other in zip(ours.logprobs, theirs.logprobs, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
            assert [top.bytes for top in one.top] == [top.bytes for top in other.top]
    server.kill()
    with pytest.raises(EngineUnavailableError, match="cannot be reached or broke off"):
        said(served, context, params)
    served.close()
