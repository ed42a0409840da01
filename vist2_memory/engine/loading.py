"""Finding and loading checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, Qwen3ForCausalLM
from transformers.utils import logging

from vist2_memory.errors import InvalidInputError, ModelError, ModelNotFoundError
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.sketch.geometry import SketchGeometry

_Model = TypeVar("_Model", bound=PreTrainedModel)


class _Eyes(Vist2ForConditionalGeneration):
    """A checkpoint without the layers of its language model."""

    _keys_to_ignore_on_load_unexpected = [r"language_model\.model\.layers\."]  # noqa: RUF012


def find_device(name: str | None) -> torch.device:
    """The device called ``name``, or a GPU if there is one; raises ``InvalidInputError``."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            f"device {name!r} cannot be used: {reason}; leave it out, or say 'cpu'"
        ) from error
    return device


def load_model(
    folder: Path, device: torch.device, dtype: torch.dtype
) -> Vist2ForConditionalGeneration:
    """The checkpoint in ``folder``, ready to run; raises ``ModelError`` if it is not whole."""
    return _load(Vist2ForConditionalGeneration, folder, device, dtype)


def load_eyes(
    folder: Path, device: torch.device, dtype: torch.dtype
) -> Vist2ForConditionalGeneration:
    """The parts of the checkpoint in ``folder`` that see: tower, aligner, table of embeddings.

    The language model's layers are neither read nor there; its configuration is.
    Raises ``ModelError``.
    """
    try:
        config: Any = Vist2Config.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"the model in {folder} cannot be loaded: {error}") from error
    text = config.text_config
    layers, kinds = text.num_hidden_layers, text.layer_types
    text.num_hidden_layers, text.layer_types = 0, []
    model = _load(_Eyes, folder, device, dtype, config)
    loaded: Any = model.config.text_config
    loaded.num_hidden_layers, loaded.layer_types = layers, kinds
    return model


def load_language_model(folder: Path, device: torch.device, dtype: torch.dtype) -> Qwen3ForCausalLM:
    """The ordinary Qwen3 checkpoint in ``folder``; raises ``ModelError`` if it is none."""
    config = folder / "config.json"
    if not config.is_file():
        raise ModelNotFoundError(f"{folder} is no folder of a Qwen3 checkpoint: no config.json")
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{config} is no configuration: {error}") from error
    if kind != "qwen3":
        raise ModelError(f"the checkpoint in {folder} is of type {kind!r}: a Qwen3 is needed")
    return _load(Qwen3ForCausalLM, folder, device, dtype)


def _load(
    kind: type[_Model],
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    config: PreTrainedConfig | None = None,
) -> _Model:
    """``config``: in place of the folder's."""
    try:
        with no_progress_bar():
            loaded: Any = kind.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                attn_implementation="sdpa",
                output_loading_info=True,
                local_files_only=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(f"the model in {folder} cannot be loaded: {error}") from error
    model: Any
    model, report = loaded
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(problem):
            names = ", ".join(map(str, sorted(report[problem])[:3]))
            raise ModelError(f"the weights in {folder} do not fit its config: {problem} {names}")
    model.to(device=device)
    model.train(False)
    loaded_model: _Model = model
    return loaded_model


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Loading a small model is no occasion for a progress bar on the user's terminal."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def encoder_digest(
    model: Vist2ForConditionalGeneration, config: Vist2Config, geometry: SketchGeometry
) -> str:
    """A digest of all that decides what a checkpoint makes of a sketch in ``geometry``: the weights
    that see it, and the parts of its config that the tower is built from."""
    vision: Any = config.vision_config
    parts = {"vision": vision.to_diff_dict(), "geometry": geometry.to_dict(), "ink": config.ink}
    parts["vision"].pop("transformers_version", None)
    seeing = {
        "vision_tower": model.vision_tower,
        "aligner": model.aligner,
        "embeddings": model.get_input_embeddings(),  # of chunks that are dearer drawn than written
    }
    digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8)
    digest.update(weights_digest(seeing).encode())
    return digest.hexdigest()


def weights_digest(modules: Mapping[str, nn.Module]) -> str:
    """A digest of the weights of ``modules`` as they were loaded: names, shapes, dtypes, values.

    Taken from memory, not from files: only what sees an image is read, however large the language
    model is, and no file can change unnoticed.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, module in sorted(modules.items()):
        for part, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name}.{part} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()
