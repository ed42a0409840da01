"""A small random VIST2 checkpoint: real towers, a real tokenizer, nothing learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.support.tokenizers import small_tokenizer
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.text.transcript import END, PAD, RESERVED, VISUAL
from vist2_memory.training.export import save_checkpoint


def small_config(**changes: Any) -> Vist2Config:
    """Hidden size 32, two layers a tower, chunks of 8 tokens, sketches of 12 x 32 cells.

    ``text`` and ``vision`` change parts of the towers' configurations.
    """
    text = {
        "vocab_size": len(small_tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,
        "eos_token_id": RESERVED.index(END),
        "pad_token_id": RESERVED.index(PAD),
        "bos_token_id": None,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_channels": 1,
        "patch_size": 8,  # 64 values: a patch of two cells
        "num_patches": 16,
        "vision_use_head": False,
    }
    values = {
        "geometry": {"columns": 32, "max_lines": 12, "cells_per_patch": 2, "patches_per_strip": 2},
        "chunk_tokens": 8,
        "keep_recent_chunks": 0,
        "max_visual_tokens": 1024,
        "visual_token_id": RESERVED.index(VISUAL),
    }
    values.update(changes)
    text.update(values.pop("text", {}))
    vision.update(values.pop("vision", {}))
    return Vist2Config(text_config=text, vision_config=vision, **values)


FURTHER = [
    {"columns": 32, "max_lines": 12, "cells_per_patch": 2, "patches_per_strip": 1},
    {"columns": 40, "max_lines": 10, "cells_per_patch": 2, "patches_per_strip": 4},
]
"""Beside the geometry of ``small_config`` (ratio 2.4 on English): ratios of 1.3 and 4.1."""


def small_model(config: Vist2Config | None = None, seed: int = 0) -> Vist2ForConditionalGeneration:
    """A model with random weights, large enough that its outputs differ visibly; float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Vist2ForConditionalGeneration(config or small_config())
        for parameter in model.vision_tower.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.2)
        model.aligner.projection.weight.data.mul_(0.5)
    return model.eval()


def save_small(folder: Path, config: Vist2Config | None = None, seed: int = 0) -> Path:
    """Save such a model as a checkpoint that an engine loads."""
    save_checkpoint(small_model(config, seed), small_tokenizer(), folder)
    return folder
