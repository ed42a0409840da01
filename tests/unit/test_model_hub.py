"""Models by their id on the hub, which is never asked here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from tests.support.vlm_families import changed
from vist2_memory.engine.catalog import find_model, open_engine
from vist2_memory.engine.vlm.engine import VLMEngine
from vist2_memory.errors import InvalidInputError, ModelNotFoundError

pytest_plugins = ("tests.support.vlm_fixtures",)


def _refusal(kind: type[HfHubHTTPError]) -> HfHubHTTPError:
    return kind("401 Client Error.", response=MagicMock())


def test_a_hub_id_is_fetched_and_keeps_its_name(
    vlm_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models--Qwen--Qwen9-VL" / "snapshots" / "abc"
    fast = {"image_processor_type": "Qwen2VLImageProcessorFast"}  # as published models have it
    changed(vlm_folder("qwen2_5_vl"), folder, "preprocessor_config.json", **fast)
    asked: list[tuple[str, str | None]] = []

    def fetch(name: str, *args: Any, **options: Any) -> str:
        asked.append((name, options["revision"]))
        return str(folder / args[0] if args else folder)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    found = find_model("Qwen/Qwen9-VL")
    find_model("Qwen/Qwen9-VL@v1.0")
    assert asked == [("Qwen/Qwen9-VL", None)] * 2 + [("Qwen/Qwen9-VL", "v1.0")] * 2
    engine = VLMEngine(found, device="cpu", chunk_tokens=256)
    assert engine.spec.model == "Qwen/Qwen9-VL"
    with pytest.raises(InvalidInputError, match=r"reads 4096 positions.*keep_recent=1024"):
        open_engine(found, device="cpu")


def test_a_hub_id_that_cannot_be_had_is_answered_with_what_is_offered() -> None:
    """Tests run with the hub switched off."""
    with pytest.raises(ModelNotFoundError, match=r"the hub did not give it.*vist2-tiny"):
        find_model("nobody/nothing")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("connection reset"), r"connection reset\); give"),
        (TimeoutError(), r"TimeoutError\); give"),
        (_refusal(GatedRepoError), r"gated, accept its terms on the hub and log in"),
        (_refusal(RepositoryNotFoundError), r"private or gated"),
    ],
)
def test_whatever_the_hub_says_the_answer_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail(*args: Any, **options: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ModelNotFoundError, match=told):
        find_model("nobody/nothing")
