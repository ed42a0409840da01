"""Training in shards: the same curve and weights as whole models, resume, export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.support.processes import start
from tests.support.trainers import small_trainer
from vist2_memory.engine.loading import load_model
from vist2_memory.training.checkpoints import CheckpointError


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("precision", "near"), [("no", 1e-4), ("bf16", 2e-2)])
def test_two_processes_in_shards_train_as_two_with_whole_models(
    tmp_path: Path, precision: str, near: float
) -> None:
    start("sharded", tmp_path, precision)
    found = json.loads((tmp_path / "found.json").read_text())
    for name in ("all", "vision"):  # all parts of the model; frozen ones, then adapters
        run = found[name]
        assert run["losses"][1] == pytest.approx(run["losses"][0], rel=near)
        assert run["apart"] < near, "the finished weights"
        assert run["resumed"], "bit by bit those of an unbroken run"
        assert run["rows"] == [24, 48], "of a matrix, in each process and in all"
        load_model(tmp_path / f"model {name}", torch.device("cpu"), torch.float32)
    assert "trained by muon" in found["refused"]
    with pytest.raises(CheckpointError, match="written by 2 processes"):
        small_trainer(tmp_path / "broken all").resume()
