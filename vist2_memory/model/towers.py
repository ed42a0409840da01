"""Pretrained checkpoints of others, read as the towers of a VIST2 model.

Knows no text and no tokenizer. A sketch is grey and small; a SigLIP tower reads patches of, say,
16 x 16 pixels in three colours. Drawing each pixel of a sketch as a block of equal pixels in equal
colours is linear, and so is the patch embedding: the two are multiplied once, and the tower takes
the sketch's own patches. Its outputs are those of the source on the enlarged grey image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipVisionModel,
)
from transformers.utils import logging

from vist2_memory.errors import InvalidInputError, ModelError, ModelNotFoundError
from vist2_memory.sketch.geometry import SketchGeometry

TOWERS: dict[str, Any] = {
    "siglip_vision_model": SiglipVisionModel,  # fixed resolution: convolution weights
    "siglip2_vision_model": Siglip2VisionModel,  # NaFlex: linear weights
}
"""The vision towers that can be read, by the model type of their config."""

INK = (1.0, -1.0)
"""Paper and ink as SigLIP's image processors scale white and black."""

_UNUSED = ("head.", "text_model.", "logit_scale", "logit_bias", "embeddings.position_ids")


def read_config(name: str | Path) -> PreTrainedConfig:
    """The config of a checkpoint in a folder or on the hub.

    Raises ``ModelNotFoundError`` where there is none, ``ModelError`` for one that is broken, of a
    type that transformers does not know, or quantized.
    """
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise ModelNotFoundError(f"the model folder {name} has no config.json")
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(name)
    except OSError as error:
        raise ModelNotFoundError(
            f"no model {str(name)!r}: neither a folder with a config that can be read, nor to be "
            f"had from the Hugging Face hub: {_first_line(error)}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the config of {name} cannot be read: {_first_line(error)}") from error
    if getattr(config, "quantization_config", None):
        raise ModelError(f"{name} is quantized: take the checkpoint in bfloat16 or float32")
    return config


def read_model(
    model_class: Any, name: str | Path, config: PreTrainedConfig, dtype: torch.dtype | str
) -> PreTrainedModel:
    """The weights of a checkpoint, safetensors in one file or in shards.

    Raises ``ModelNotFoundError`` where there are none and ``ModelError`` where they are damaged or
    are not those of ``config``.
    """
    try:
        with _quiet():
            loaded: Any = model_class.from_pretrained(
                name, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
            )
    except OSError as error:
        raise ModelNotFoundError(
            f"{name} has no weights that can be read (*.safetensors): {_first_line(error)}"
        ) from error
    except (ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(f"the weights of {name} cannot be read: {_first_line(error)}") from error
    model: PreTrainedModel
    model, report = loaded
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        wrong = [str(key) for key in report.get(problem) or () if not _is_unused(str(key))]
        if wrong:
            names = ", ".join(sorted(wrong)[:3])
            raise ModelError(f"the weights of {name} do not fit its config: {problem} {names}")
    return model


def _is_unused(key: str) -> bool:
    return key.removeprefix("vision_model.").startswith(_UNUSED)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """The text tower and the pooling head are left out on purpose: nothing to report."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def vision_part(config: PreTrainedConfig, name: str | Path) -> PreTrainedConfig:
    """The vision config of a SigLIP or SigLIP2 checkpoint, a whole one or a tower alone.

    Its pooling head is off. Raises ``ModelError`` for a model of another type.
    """
    part: Any = config
    if config.model_type in ("siglip", "siglip2"):
        part = config.vision_config
    if part.model_type not in TOWERS:
        raise ModelError(
            f"{name} is a model of type {config.model_type!r}: the vision tower must be SigLIP or "
            "SigLIP2 (siglip, siglip2, siglip_vision_model, siglip2_vision_model)"
        )
    for field in ("patch_size", "image_size"):
        if not isinstance(getattr(part, field, 1), int):
            raise ModelError(
                f"{name} has {field}={getattr(part, field)!r}: only squares can be used"
            )
    part.vision_use_head = False
    return part  # type: ignore[no-any-return]


def grey_config(vision: PreTrainedConfig, geometry: SketchGeometry) -> Siglip2VisionConfig:
    """The config of the tower ``vision`` when it reads the patches of ``geometry``.

    Raises ``InvalidInputError`` when a patch cannot be enlarged to the tower's.
    """
    source: Any = vision
    size, height, width = source.patch_size, geometry.cell_height, _patch_width(geometry)
    if size % height or size % width:
        raise InvalidInputError(
            f"the vision tower reads patches of {size} x {size} pixels; the geometry's patches of "
            f"{width} x {height} (cells_per_patch={geometry.cells_per_patch}) cannot be enlarged "
            f"to that by whole numbers: {_advice(size, geometry)}"
        )
    pixels = geometry.patch_size
    side = next(s for s in range(math.isqrt(pixels), 0, -1) if pixels % s**2 == 0)
    positions = getattr(source, "num_patches", None) or (source.image_size // size) ** 2
    return Siglip2VisionConfig(
        hidden_size=source.hidden_size,
        intermediate_size=source.intermediate_size,
        num_hidden_layers=source.num_hidden_layers,
        num_attention_heads=source.num_attention_heads,
        hidden_act=source.hidden_act,
        layer_norm_eps=source.layer_norm_eps,
        attention_dropout=source.attention_dropout,
        num_channels=pixels // side**2,
        patch_size=side,
        num_patches=positions,
        vision_use_head=False,
    )


def _patch_width(geometry: SketchGeometry) -> int:
    return geometry.cell_width * geometry.cells_per_patch


def _advice(size: int, geometry: SketchGeometry) -> str:
    fitting = [
        str(cells)
        for cells in range(1, size // geometry.cell_width + 1)
        if size % (cells * geometry.cell_width) == 0
    ]
    if size % geometry.cell_height or not fitting:
        return (
            f"take a tower whose patches are a multiple of {geometry.cell_height} pixels high "
            "(16 or 32)"
        )
    return f"take cells_per_patch={' or '.join(fitting)}"


def read_tower(
    name: str | Path, vision: PreTrainedConfig, geometry: SketchGeometry
) -> dict[str, Tensor]:
    """The weights of a vision tower, float32, by their names in ``Siglip2VisionModel``.

    The patch embedding takes the patches of ``geometry``, flattened row by row.
    """
    source = read_model(TOWERS[vision.model_type], name, vision, torch.float32)
    state: dict[str, Tensor] = dict(source.state_dict())
    patches = "embeddings.patch_embedding.weight"
    state[patches] = fold_patches(state[patches], vision, geometry)
    return state


def fold_patches(weight: Tensor, vision: PreTrainedConfig, geometry: SketchGeometry) -> Tensor:
    """A patch embedding for the patches of a sketch: enlarging and colouring are folded in.

    ``weight``: (hidden size, channels, height, width) of a convolution, or (hidden size, height *
    width * channels), flattened as ``transformers`` cuts patches. Returns (hidden size, pixels of
    the geometry's patch).
    """
    shape: Any = vision
    size, hidden = shape.patch_size, weight.shape[0]
    if weight.ndim == 4:
        grey = weight.double().sum(dim=1)  # (hidden, height, width)
    else:
        grey = weight.double().reshape(hidden, size, size, -1).sum(dim=-1)
    height, width = geometry.cell_height, _patch_width(geometry)
    blocks = grey.reshape(hidden, height, size // height, width, size // width)
    return blocks.sum(dim=(2, 4)).reshape(hidden, height * width).to(weight.dtype)
