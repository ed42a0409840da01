"""Named sizes of VIST2 models."""

from __future__ import annotations

from typing import Any

from vist2_memory.model.config import Vist2Config
from vist2_memory.text.transcript import END, PAD, RESERVED, VISUAL

_TINY: dict[str, Any] = {
    "text_config": {
        "vocab_size": 4096,
        "hidden_size": 256,
        "intermediate_size": 640,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 64,
        # Slow rotations: what is far back in memory is found by its content.
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "eos_token_id": RESERVED.index(END),
        "pad_token_id": RESERVED.index(PAD),
        "bos_token_id": None,
    },
    "vision_config": {
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_channels": 2,  # 2 x 12 x 12 values: a patch of 8 x 36 pixels
        "patch_size": 12,
        "num_patches": 64,
        "vision_use_head": False,
    },
    "geometry": {
        "cell_width": 4,
        "cell_height": 8,
        "columns": 72,
        "max_lines": 8,
        "cells_per_patch": 9,
        "patches_per_strip": 2,
    },
    "chunk_tokens": 64,
    "keep_recent_chunks": 1,
    "max_visual_tokens": 1024,
    "visual_token_id": RESERVED.index(VISUAL),
}

PRESETS: dict[str, dict[str, Any]] = {"tiny": _TINY}


def preset(name: str) -> Vist2Config:
    """The configuration called ``name``; raises ``ValueError`` for a name that is none."""
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
    return Vist2Config(**PRESETS[name])
