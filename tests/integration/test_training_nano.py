"""Every stage of the recipe of vist2-nano, at small scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.checkpoints import save_small, small_config
from tests.support.tokenizers import PROSE
from vist2_memory.cli import app
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.model.config import Vist2Config
from vist2_memory.training.stages import RECIPES
from vist2_memory.types import Chunk


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_stage_runs_for_a_few_steps(tmp_path: Path) -> None:
    further = [
        {"columns": columns, "max_lines": 12, "cells_per_patch": 2, "patches_per_strip": joined}
        for joined, columns in ((1, 32), (3, 36), (4, 32), (5, 40))
    ]
    start = save_small(tmp_path / "start", small_config(geometries=further))
    for folder, row in (
        ("prose", {"text": PROSE * 9}),
        ("dialogues", {"turns": [["user", "At 7:45?"], ["system", "Yes."]] * 9,
                       "slots": {"time": [[0, "7:45"]]}}),
    ):  # fmt: skip
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "a-train.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "data" / "prose" / "a-train.jsonl").rename(
        tmp_path / "data" / "prose" / "train-a.jsonl"
    )
    arguments = ["train", "--recipe", "nano", "--dry-run", "--cpu", "--start", start]
    arguments += ["--data", tmp_path / "data", "--out", tmp_path / "run"]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    model = tmp_path / "run" / "dry-run" / "model"
    assert result.stdout.strip() == str(model)
    rows = [json.loads(line) for line in (model.parent / "metrics.jsonl").read_text().splitlines()]
    assert [*dict.fromkeys(row["stage"] for row in rows)] == [s.name for s in RECIPES["nano"]]
    assert Vist2Config.from_pretrained(model).finding is not None, "it learned where to look"
    assert ['You said: "', '."'] in Vist2Config.from_pretrained(model).quotes, "it learned to quote"
    counts = {
        len(TorchEngine(model, ratio=ratio, device="cpu").encode([Chunk("a", "a" * 60, 60)])[0])
        for ratio in (1.3, 2.4, 3.3, 4.1)
    }
    assert len(counts) == 4
