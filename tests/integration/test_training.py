"""Training that takes a while: a model that learns to read, and one that is compiled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.trainers import small_trainer
from vist2_memory.training.devices import Execution
from vist2_memory.training.stages import Stage

READ = Stage("read", {"read": 1}, 40, (1, 1), 3e-3, warmup=5, tokens=300)


@pytest.mark.timeout(300)
def test_reading_is_learned(tmp_path: Path) -> None:
    losses = [metrics["loss"] for metrics in small_trainer(tmp_path).steps(READ)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler warns of its own parts
def test_a_compiled_model_computes_the_same(tmp_path: Path) -> None:
    stage = replace(READ, steps=2, warmup=1, tokens=60)
    exact = Execution(True, precision="no")  # in bfloat16 their attentions round otherwise
    plain = small_trainer(tmp_path / "plain", execution=exact)
    compiled = small_trainer(tmp_path / "compiled", execution=replace(exact, compile="eager"))
    losses = []
    for trainer in (plain, compiled):
        torch.manual_seed(0)  # which glyphs are named is drawn
        losses.append([metrics["loss"] for metrics in trainer.steps(stage)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert set(compiled.student.state_dict()) == set(plain.student.state_dict())
