"""The parts of a published model, from a folder in the format of the hub."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from vist2_memory.engine.loading import no_progress_bar
from vist2_memory.errors import ModelError


@dataclass(frozen=True, slots=True)
class Parts:
    """A model as transformers loads it. ``stop_ids`` end an answer."""

    model: Any
    image_processor: Any
    tokenizer: PreTrainedTokenizerBase
    stop_ids: frozenset[int]


def load_parts(folder: Path, device: torch.device, dtype: str) -> Parts:
    """Load everything in ``folder``; raises ``ModelError`` when a part is missing or unfit."""
    parts = _load(folder, dtype)
    if "mm_encoder_outputs" not in inspect.signature(parts.model.forward).parameters:
        raise ModelError(
            f"this release of transformers cannot feed {type(parts.model).__name__} with encoded "
            "images: upgrade it (5.23 can)"
        )
    parts.model.to(device=device)
    return parts


def load_eyes(folder: Path, device: torch.device, dtype: str) -> Parts:
    """Load what sees of the model in ``folder``, tower and projector, and its tokenizer.

    The language model's weights are neither kept nor, but for the table of embeddings, read; its
    configuration is there. Raises ``ModelError``.
    """
    try:
        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"the model in {folder} cannot be loaded: {error}") from error
    text = config.get_text_config()
    layers, kinds = text.num_hidden_layers, getattr(text, "layer_types", None)
    text.num_hidden_layers, text.layer_types = 0, []
    shown = logging.get_verbosity()
    logging.set_verbosity_error()  # it would tell at length of the weights that are left out
    try:
        parts = _load(folder, dtype, config)
    finally:
        logging.set_verbosity(shown)
    model: Any = parts.model
    model.model.language_model, model.lm_head = nn.Identity(), nn.Identity()
    loaded = model.config.get_text_config()
    loaded.num_hidden_layers, loaded.layer_types = layers, kinds
    model.to(device=device)
    return parts


def _load(folder: Path, dtype: str, config: Any = None) -> Parts:
    """``config``: in place of the folder's."""
    try:
        with no_progress_bar():
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, dtype),
                attn_implementation="sdpa",
                output_loading_info=True,
                local_files_only=True,
            )
        # One backend on every machine, so that equal pages give equal pixels everywhere.
        images: Any = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise ModelError(f"the model in {folder} cannot be loaded: {error}") from error
    model, report = loaded
    for problem in ("missing_keys", "mismatched_keys"):
        if report.get(problem):
            names = ", ".join(map(str, sorted(report[problem])[:3]))
            raise ModelError(f"the weights in {folder} do not fit its config: {problem} {names}")
    model.train(False)
    return Parts(model, images, tokenizer, _stop_ids(model, tokenizer))


def _stop_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """What ends an answer, by the generation config and by the tokenizer: where a config names only
    the end of a text, the tokenizer names the end of a turn."""
    named = model.generation_config.eos_token_id
    ids = [*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id]
    return frozenset(int(i) for i in ids if i is not None)


def model_name(folder: Path) -> str:
    """The name of a model for people: the hub's, where the folder lies in its cache."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    return folder.name
