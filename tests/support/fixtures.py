"""Fixtures that several test modules name in ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkpoints import save_small, small_config
from tests.support.engines import CountingEngine, Script
from tests.support.pretrained import save_qwen3, save_siglip
from vist2_memory import VisualMemory


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random checkpoint that keeps no recent chunks."""
    return save_small(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, of the same shape and other weights."""
    return save_small(tmp_path_factory.mktemp("other"), small_config(), seed=1)


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Qwen3 checkpoint with tied embeddings."""
    return save_qwen3(tmp_path_factory.mktemp("sources") / "qwen3")


@pytest.fixture(scope="session")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random SigLIP checkpoint of fixed resolution, text tower included."""
    return save_siglip(tmp_path_factory.mktemp("sources") / "siglip", "fixed with text")


@pytest.fixture
def engine(checkpoint: Path) -> CountingEngine:
    """An engine of its own for each test, since it counts."""
    return CountingEngine(checkpoint)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """What the in-process engine says in this test."""
    script = Script()
    monkeypatch.setattr("vist2_memory.engine.torch.Picker", script)
    monkeypatch.setattr("vist2_memory.engine.steering.Steering.look_ahead", lambda *_: None)
    return script


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store in a file of this test."""
    return f"sqlite:///{tmp_path / 'memory.db'}"


@pytest.fixture
def memory(engine: CountingEngine) -> Iterator[VisualMemory]:
    """An empty memory, in process, with the small random model."""
    with VisualMemory.open("memory://", model=engine) as memory:
        yield memory
