"""A wider model that computes what a narrower one does, to go on training from.

The idea is Net2Net's (arXiv 1511.05641), in the form that suits a residual stream: what is new in
it starts at zero, where it is written, and at random, where it is read.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from vist2_memory.errors import InvalidInputError
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.modeling import Vist2ForConditionalGeneration

GROWS = ("hidden_size", "intermediate_size")
"""What may be larger in the wide model."""
_WRITERS = ("embed_tokens.", "lm_head.", "o_proj.", "down_proj.", "aligner.projection.")
"""Matrices that write into the residual stream of the language model."""


def widen(
    narrow: Vist2ForConditionalGeneration, config: Vist2Config
) -> Vist2ForConditionalGeneration:
    """``narrow`` in the sizes of ``config``, whose language model is wider and the same otherwise.

    Hidden and intermediate size may grow; the logits stay the same, up to rounding. Raises
    ``InvalidInputError`` where another measure differs, or one of these shrinks.
    """
    check_grown(narrow.config, config)
    wide = Vist2ForConditionalGeneration(config)
    own = narrow.state_dict()
    old: Any = narrow.config.text_config
    new: Any = config.text_config
    # A norm divides by the mean over more values, of which the new ones are zero.
    norm = math.sqrt(old.hidden_size / new.hidden_size)
    with torch.no_grad():
        for name, target in wide.state_dict().items():
            source = own[name]
            if source.shape == target.shape:
                target.copy_(source)
                continue
            if any(part in name for part in _WRITERS):
                target.zero_()
            place = tuple(slice(0, size) for size in source.shape)
            target[place] = source * norm if "norm" in name else source
    return wide


def check_grown(narrow: Vist2Config, wide: Vist2Config) -> None:
    """Raise ``InvalidInputError`` unless ``wide`` is ``narrow`` but for the sizes that may grow."""
    olds, news = _measures(narrow), _measures(wide)
    for name in sorted(olds.keys() | news.keys()):
        old, new = olds.get(name), news.get(name)
        if old == new or (name in GROWS and old is not None and new is not None and old < new):
            continue
        raise InvalidInputError(
            f"cannot widen a model with {name}={old} to {new}: only {' and '.join(GROWS)} of its "
            "language model may differ, and only grow"
        )


def _measures(config: Vist2Config) -> dict[str, Any]:
    """What decides the weights of a model, by name."""
    text: Any = config.text_config
    vision: Any = config.vision_config
    names = (*GROWS, "vocab_size", "num_hidden_layers", "num_attention_heads", "head_dim",
             "num_key_value_heads", "tie_word_embeddings")  # fmt: skip
    measures = {name: getattr(text, name) for name in names}
    measures |= {f"vision {name}": value for name, value in vision.to_diff_dict().items()}
    measures.pop("vision transformers_version", None)
    return measures | {"geometry": config.geometry}
