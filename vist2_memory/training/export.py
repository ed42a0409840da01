"""A finished model as a checkpoint folder, ready to be bundled or loaded."""

from __future__ import annotations

from pathlib import Path

from vist2_memory.model.checkpoint import write_checkpoint
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.tokenizer import Vist2Tokenizer


def save_checkpoint(
    model: Vist2ForConditionalGeneration, tokenizer: Vist2Tokenizer, folder: Path
) -> None:
    """Write weights (bfloat16 safetensors), config, tokenizer and chat template into ``folder``."""
    write_checkpoint(model.bfloat16(), tokenizer, folder)


def save_language_model(model: Vist2ForConditionalGeneration, folder: Path) -> None:
    """Write the language model alone, as an ordinary Qwen3 checkpoint that any engine loads."""
    model.language_model.save_pretrained(folder)
