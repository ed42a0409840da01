"""Engines of small random models, one of each family for the whole run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.vlm import SmallVLM
from tests.support.vlm_families import save_family


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's small model."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_family(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def _engines() -> dict[str, SmallVLM]:
    return {}


@pytest.fixture
def vlm(
    vlm_folder: Callable[[str], Path], _engines: dict[str, SmallVLM]
) -> Callable[[str], SmallVLM]:
    """A family's engine, which remembers nothing of earlier tests."""

    def engine(kind: str) -> SmallVLM:
        if kind not in _engines:
            _engines[kind] = SmallVLM(vlm_folder(kind), kind)
        found = _engines[kind]
        found.encoded.clear()
        found.contexts.clear()
        return found

    return engine
