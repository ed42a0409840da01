"""Trainers of small random models."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.support.checkpoints import small_config, small_model
from tests.support.tokenizers import PROSE, small_tokenizer
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.training.data import Passages
from vist2_memory.training.devices import Execution
from vist2_memory.training.materials import Materials
from vist2_memory.training.student import Student
from vist2_memory.training.trainer import Trainer


def small_materials(prose: Passages | None = None) -> Materials:
    """What tasks of a small model draw on."""
    processor = Vist2Processor(small_config(), small_tokenizer())
    talk = Passages(["Shall we meet at noon?\nYes, at the station.\nBring the map, please.\n" * 9])
    return Materials(
        prose or Passages([PROSE * 6]),
        talk,
        processor.tokenizer,
        processor.chunker,
        processor.renderer.atlas,
    )


def small_trainer(
    folder: Path,
    seed: int = 3,
    execution: Execution | None = None,
    memory: str = "visual",
) -> Trainer:
    """A trainer of a small random model on the CPU."""
    torch.manual_seed(seed)
    student = Student(small_model(), small_tokenizer(), memory=memory)
    execution = execution or Execution(cpu=True)
    return Trainer(student, [small_materials()], folder, seed, execution)
