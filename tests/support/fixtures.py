"""Fixtures that several test modules name in ``pytest_plugins``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.checkpoints import save_small, small_config
from tests.support.engines import CountingEngine, Script


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random checkpoint that keeps no recent chunks."""
    return save_small(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, of the same shape and other weights."""
    return save_small(tmp_path_factory.mktemp("other"), small_config(), seed=1)


@pytest.fixture
def engine(checkpoint: Path) -> CountingEngine:
    """An engine of its own for each test, since it counts."""
    return CountingEngine(checkpoint)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """What the in-process engine says in this test."""
    script = Script()
    monkeypatch.setattr("vist2_memory.engine.torch.Picker", script)
    return script
