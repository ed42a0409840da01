"""A VIST2 checkpoint out of a Qwen3 checkpoint and a SigLIP or SigLIP2 checkpoint.

The language model and the vision tower come with their weights; the aligner between them is new
and has to be trained. Source of the idea: VIST2, arXiv 2601.10378, which starts from these two.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, Qwen3ForCausalLM
from transformers.utils.hub import cached_file

from vist2_memory.errors import InvalidInputError, ModelError, ModelNotFoundError
from vist2_memory.model.checkpoint import write_checkpoint
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.presets import WIDE_LINES
from vist2_memory.model.towers import (
    INK,
    grey_config,
    read_config,
    read_model,
    read_tower,
    vision_part,
)
from vist2_memory.model.vocabulary import MarkedVocabulary, mark_vocabulary
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.text.transcript import END, MARKS, PAD, RESERVED, VISUAL

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Drawing:
    """How text is drawn and cut for a composed model. None: what suits the sources."""

    geometry: SketchGeometry | None = None
    """Default: ``WIDE_LINES``, for patches of 16 x 16 pixels."""
    chunk_tokens: int = 64
    """Text tokens a chunk."""
    max_visual_tokens: int | None = None
    """Visual tokens to be read at once. Default: a quarter of the language model's positions."""


def compose(
    text: str | Path,
    vision: str | Path,
    out: Path,
    drawing: Drawing | None = None,
    *,
    dtype: str | None = None,
    seed: int = 0,
) -> Vist2Config:
    """Write a VIST2 checkpoint into the folder ``out``, which must be new or empty; its config.

    ``text`` and ``vision``: folders, or ids of the Hugging Face hub. ``dtype``: of all weights, the
    language model's own if None. ``seed``: of the aligner. Weights are read after all else was
    checked; ``out`` appears when it is whole. Raises ``InvalidInputError`` for arguments that do
    not fit, ``ModelNotFoundError`` and ``ModelError`` for sources that lack parts or are others.
    """
    drawing = drawing or Drawing()
    geometry = drawing.geometry or SketchGeometry(**WIDE_LINES)
    if dtype is not None and dtype not in DTYPES:
        raise InvalidInputError(f"dtype={dtype!r} is none of {', '.join(DTYPES)}")
    out = out.resolve()
    _check_free(out)
    language_config, whole_vision = read_config(text), read_config(vision)
    if language_config.model_type != "qwen3":
        raise ModelError(
            f"{text} is a model of type {language_config.model_type!r}: the language model must be "
            "Qwen3"
        )
    vision_config = vision_part(whole_vision, vision)
    vocabulary = mark_vocabulary(_read_tokenizer(text), str(text))
    config = composed_config(language_config, vision_config, vocabulary, drawing, geometry)
    language: Any = read_model(
        Qwen3ForCausalLM, text, language_config, DTYPES[dtype] if dtype else "auto"
    )
    if (
        config.tie_word_embeddings
        and language.lm_head.weight is not language.model.embed_tokens.weight
    ):
        raise ModelError(
            f"the config of {text} says that embeddings and head are one table, its weights hold "
            "two that differ: set tie_word_embeddings to false in its config.json"
        )
    tower = read_tower(vision, vision_config, geometry)
    model = _assemble(config, language, tower, vocabulary, seed)
    model.generation_config = _generation(language.generation_config, config, vocabulary)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as unfinished:
        folder = Path(unfinished) / "model"
        write_checkpoint(model, vocabulary.tokenizer, folder)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    return config


def composed_config(
    text: PreTrainedConfig,
    vision: PreTrainedConfig,
    vocabulary: MarkedVocabulary,
    drawing: Drawing,
    geometry: SketchGeometry,
) -> Vist2Config:
    """The config of the composed model; raises ``InvalidInputError`` where parts do not fit."""
    language: Any = copy.deepcopy(text)
    language.vocab_size = vocabulary.rows(language.vocab_size)
    language.eos_token_id, language.pad_token_id = vocabulary.id(END), vocabulary.id(PAD)
    try:
        SketchRenderer(geometry)
        return Vist2Config(
            text_config=language,
            vision_config=grey_config(vision, geometry),
            geometry=geometry.to_dict(),
            chunk_tokens=drawing.chunk_tokens,
            max_visual_tokens=drawing.max_visual_tokens or language.max_position_embeddings // 4,
            ink=INK,
            visual_token_id=vocabulary.id(VISUAL),
        )
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError(f"the parts do not fit together: {error}") from error


def count_parameters(config: Vist2Config) -> dict[str, int]:
    """The parameters of each part of a model, tied ones counted once; allocates none of them."""
    with torch.device("meta"):
        model = Vist2ForConditionalGeneration(config)
    parts = ("vision_tower", "aligner", "language_model")
    return {part: sum(p.numel() for p in getattr(model, part).parameters()) for part in parts}


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InvalidInputError(f"{out} is a file: give a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise InvalidInputError(f"the folder {out} is not empty: give a new one, or empty it")


def _read_tokenizer(name: str | Path) -> Tokenizer:
    try:
        path = cached_file(name, "tokenizer.json")
    except OSError as error:
        raise ModelNotFoundError(f"{name} has no tokenizer.json, which its text needs") from error
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the backend raises nothing more special
        raise ModelError(f"the tokenizer.json of {name} cannot be read: {error}") from error


def _assemble(
    config: Vist2Config,
    language: PreTrainedModel,
    tower: Mapping[str, Tensor],
    vocabulary: MarkedVocabulary,
    seed: int,
) -> Vist2ForConditionalGeneration:
    """The model to be saved: the sources' weights without a copy, and a new aligner."""
    state: dict[str, Tensor] = dict(language.state_dict())
    table = state["model.embed_tokens.weight"]
    state["model.embed_tokens.weight"] = vocabulary.extend(table)
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    else:
        state["lm_head.weight"] = vocabulary.extend(state["lm_head.weight"])
    with torch.device("meta"):
        model = Vist2ForConditionalGeneration(config)
    parts: dict[str, Mapping[str, Tensor]] = {
        "language_model": state,
        "vision_tower": tower,
        "aligner": _new_aligner(model.aligner, table[: vocabulary.first_mark], tower, seed),
    }
    weights = {
        f"{part}.{name}": tensor.to(table.dtype)
        for part, tensors in parts.items()
        for name, tensor in tensors.items()
    }
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    configs: Any = (config, config.text_config, config.vision_config)
    for part_config in configs:
        part_config.dtype = table.dtype
    return model


def _new_aligner(
    aligner: nn.Module, table: Tensor, tower: Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """Random weights under which visual tokens are about as large as token embeddings.

    With the usual constant deviation the sum over a wide strip would drive ``tanh`` to its ends.
    The tower's outputs are layer-normalized: their size is known from that layer's weights.
    """
    shape = aligner.get_parameter("projection.weight").shape  # (text hidden, joined patches)
    size = sum(float(tower[f"post_layernorm.{n}"].square().mean()) for n in ("weight", "bias"))
    wanted = float(table.float().square().mean())
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator) * (wanted / (size * shape[1])) ** 0.5
    return {"projection.weight": weight, "projection.bias": torch.zeros(shape[0])}


def _generation(
    source: GenerationConfig | None, config: Vist2Config, vocabulary: MarkedVocabulary
) -> GenerationConfig:
    """The source's, ending at marks, never writing what no text is read as."""
    stop = {vocabulary.id(mark) for mark in (END, *MARKS.values())}
    marks = {vocabulary.id(mark) for mark in RESERVED}
    unused = range(vocabulary.first_mark + len(RESERVED), config.get_text_config().vocab_size)
    generation: Any = copy.deepcopy(source) if source else GenerationConfig()
    generation.bos_token_id = None
    generation.eos_token_id = sorted(stop)
    generation.pad_token_id = vocabulary.id(PAD)
    generation.suppress_tokens = sorted({*vocabulary.retired, *unused, *marks} - stop)
    return generation  # type: ignore[no-any-return]
