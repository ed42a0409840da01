"""Training in several processes, and in processes that are killed."""

from __future__ import annotations

import gzip
import json
import lzma
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.checkpoints import save_small
from tests.support.processes import start
from tests.support.tokenizers import PROSE
from tests.support.trainers import small_trainer
from vist2_memory.training.checkpoints import CheckpointError, load_state


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("memory", ["visual", "convolution"])
def test_a_run_killed_in_every_stage_ends_with_the_weights_and_log_of_an_unbroken_one(
    tmp_path: Path, memory: str
) -> None:
    save_small(tmp_path / "start")
    (tmp_path / "data" / "prose").mkdir(parents=True)
    (tmp_path / "data" / "dialogues").mkdir()
    with gzip.open(tmp_path / "data" / "prose" / "train-0.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"text": PROSE * 3 + str(i)}) + "\n" for i in range(9))
    with lzma.open(tmp_path / "data" / "dialogues" / "a-train.jsonl.xz", "wt") as file:
        turns = [["user", "Shall we meet at noon?"], ["system", "Yes, at the station."]]
        file.write(json.dumps({"turns": turns * 9}) + "\n")
    start("killed", tmp_path, memory)
    whole, broken = (load_state(tmp_path / run / "checkpoint.pt") for run in ("whole", "broken"))
    for name, value in whole["student"].items():
        assert torch.equal(value, broken["student"][name]), name
    for weights in sorted((tmp_path / "whole" / "model").glob("*.safetensors")):
        broken_weights = tmp_path / "broken" / "model" / weights.name
        assert weights.read_bytes() == broken_weights.read_bytes(), weights.name
    assert _rows(tmp_path / "whole") == _rows(tmp_path / "broken")
    assert len(_rows(tmp_path / "whole")) == 5, "a line for each task at the end of a stage"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """Also those that wait for room to hand over a step, which nobody takes any more."""
    start("orphaned", tmp_path)  # ends when no worker holds its output open
    workers = json.loads((tmp_path / "workers.json").read_text())
    assert len(workers) == 2
    for worker in workers:
        status = Path(f"/proc/{worker}/status")
        assert not status.exists() or "\tZ" in status.read_text()


def _rows(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("time", "seconds")} for row in rows]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_processes_train_one_model_on_samples_of_their_own(tmp_path: Path) -> None:
    start("ranks", tmp_path)
    one, two = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert one["weights"] == two["weights"]
    assert one["losses"] == two["losses"], "metrics are of all processes"
    assert one["batches"] != two["batches"], "each process has its own samples"
    assert one["resumed"]
    assert two["resumed"]
    assert one["average"] == two["average"] == [[[0.5] * 2] * 3, [1.0] * 2]
    assert "the loss is nan" in one["stopped"], "a number lost in one process stops them all"
    assert one["stopped"] == two["stopped"]
    assert (tmp_path / "broken" / "metrics.jsonl").read_text().count("\n") == 2, "one log"
    with pytest.raises(CheckpointError, match="written by 2 processes, this run has 1"):
        small_trainer(tmp_path / "broken").resume()
