"""Named sizes of VIST2 models."""

from __future__ import annotations

from typing import Any

from vist2_memory.errors import InvalidInputError
from vist2_memory.model.config import Vist2Config
from vist2_memory.text.transcript import END, PAD, RESERVED, VISUAL

_TINY: dict[str, Any] = {
    "text_config": {
        "vocab_size": 4096,
        "hidden_size": 384,
        "intermediate_size": 896,
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
    "max_visual_tokens": 4096,
    "visual_token_id": RESERVED.index(VISUAL),
}

_NANO: dict[str, Any] = {
    "text_config": {
        **_TINY["text_config"],
        "vocab_size": 16_384,
        "hidden_size": 384,
        "intermediate_size": 960,
        "num_hidden_layers": 8,
        "max_position_embeddings": 16_384,
    },
    "vision_config": {
        **_TINY["vision_config"],
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 3,
        "num_patches": 81,
    },
    # Patches of nine characters; 9, 18, 27, 36 and 45 of them are about 2, 4, 6, 8 and 10 tokens.
    "geometry": {**_TINY["geometry"], "max_lines": 9},
    "geometries": [
        {**_TINY["geometry"], "patches_per_strip": 1, "columns": 72, "max_lines": 9},
        {**_TINY["geometry"], "patches_per_strip": 3, "columns": 81, "max_lines": 8},
        {**_TINY["geometry"], "patches_per_strip": 4, "columns": 72, "max_lines": 9},
        {**_TINY["geometry"], "patches_per_strip": 5, "columns": 90, "max_lines": 8},
    ],
    "chunk_tokens": 64,
    "keep_recent_chunks": 1,
    "max_visual_tokens": 8192,
    "visual_token_id": RESERVED.index(VISUAL),
}

_MICRO: dict[str, Any] = _TINY | {
    "text_config": _TINY["text_config"]
    | {
        "vocab_size": 2048,
        "hidden_size": 192,
        "intermediate_size": 480,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 48,
    },
    "vision_config": _TINY["vision_config"] | {"hidden_size": 192, "intermediate_size": 384},
}
"""Sketches as of ``tiny``, and a quarter of its parameters: for comparisons on a CPU."""

WIDE_LINES = {
    "cell_width": 4,
    "cell_height": 8,
    "columns": 80,
    "max_lines": 8,
    "cells_per_patch": 2,  # 8 x 8 pixels, drawn twice as large for towers of 16 x 16
    "patches_per_strip": 10,
}
"""The geometry of composed models: twenty characters a visual token, four of them a line."""

SCRATCH = ("tiny", "micro", "nano")
"""Presets that are trained from random weights, with a tokenizer of their own."""

QWEN3_TOKENS = 151_669
"""Ids that the tokenizer of Qwen3 uses; the marks take the next of the table's other rows."""


def _composed(hidden: int, layers: int, heads: int, mlp: int, tied: bool) -> dict[str, Any]:
    """A Qwen3 of this size that reads through SigLIP2 ViT-L/16, trained at 256 x 256 pixels."""
    return {
        "text_config": {
            "vocab_size": 151_936,
            "hidden_size": hidden,
            "intermediate_size": mlp,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "max_position_embeddings": 40_960,
            "tie_word_embeddings": tied,
            "eos_token_id": QWEN3_TOKENS + RESERVED.index(END),
            "pad_token_id": QWEN3_TOKENS + RESERVED.index(PAD),
            "bos_token_id": None,
        },
        "vision_config": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "num_channels": 1,
            "patch_size": 8,
            "num_patches": 256,
            "vision_use_head": False,
        },
        "geometry": WIDE_LINES,
        "chunk_tokens": 64,
        "max_visual_tokens": 10_240,
        "ink": (1.0, -1.0),
        "visual_token_id": QWEN3_TOKENS + RESERVED.index(VISUAL),
    }


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": _TINY,
    "nano": _NANO,
    "micro": _MICRO,
    "0.6B": _composed(hidden=1024, layers=28, heads=16, mlp=3072, tied=True),
    "1.7B": _composed(hidden=2048, layers=28, heads=16, mlp=6144, tied=True),
    "4B": _composed(hidden=2560, layers=36, heads=32, mlp=9728, tied=True),
    "8B": _composed(hidden=4096, layers=36, heads=32, mlp=12_288, tied=False),
}

SOURCES: dict[str, tuple[str, str]] = {
    size: (f"Qwen/Qwen3-{size}", "google/siglip2-large-patch16-256")
    for size in PRESETS
    if size not in SCRATCH
}
"""The hub's checkpoints, language model and vision tower, that a preset is composed of."""


def preset(name: str) -> Vist2Config:
    """The configuration called ``name``; raises ``ValueError`` for a name that is none."""
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
    return Vist2Config(**PRESETS[name])


def sources(name: str) -> tuple[str, str]:
    """The hub ids of the language model and the vision tower that a preset is composed of.

    Raises ``InvalidInputError`` for a name that is none, or of a model trained from scratch.
    """
    if name not in SOURCES:
        raise InvalidInputError(
            f"no preset {name!r} of pretrained towers; there are: {', '.join(SOURCES)}"
        )
    return SOURCES[name]
