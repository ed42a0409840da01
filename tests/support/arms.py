"""Small random models of the other forms of memory, as folders."""

from __future__ import annotations

from pathlib import Path

from tests.support.checkpoints import small_model
from tests.support.tokenizers import small_tokenizer
from vist2_memory.model.config import Vist2Config
from vist2_memory.training.arms import save_arm
from vist2_memory.training.student import Student


def save_small_arm(folder: Path, memory: str, config: Vist2Config | None = None) -> Path:
    """An untrained arm that remembers by ``memory``, with the language model of ``small_model``."""
    student = Student(small_model(config), small_tokenizer(), spelled=False, memory=memory)
    save_arm(student, small_tokenizer(), folder)
    return folder
