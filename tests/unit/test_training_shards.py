"""Training in shards: what cannot be is refused before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.trainers import small_trainer
from vist2_memory.errors import InvalidInputError
from vist2_memory.training.devices import Execution
from vist2_memory.training.shards import check
from vist2_memory.training.stages import RECIPES, Stage


def stage(name: str, **fields: Any) -> Stage:
    return Stage(name, {"read": 1}, 1, (1, 1), 1e-3, optimizer="adamw", **fields)


def test_what_cannot_be_trained_in_shards_is_refused_before_it_begins(tmp_path: Path) -> None:
    check(RECIPES["paper"])
    with pytest.raises(InvalidInputError, match="stage read is trained by muon"):
        check(RECIPES["smoke"])
    with pytest.raises(InvalidInputError, match="stage b merges the adapters"):
        check([stage("a", trainable="adapters"), stage("b")])
    with pytest.raises(InvalidInputError, match=r"stage a has find_weight=0\.3"):
        check([stage("a", find_weight=0.3)])
    with pytest.raises(InvalidInputError, match="this run has one"):
        small_trainer(tmp_path, execution=Execution(cpu=True, shard=True))
    with pytest.raises(InvalidInputError, match="take shard or compile"):
        Execution(shard=True, compile="eager")
