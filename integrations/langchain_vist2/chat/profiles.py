"""What a model can do, as LangChain's ``ModelProfile``, told without loading it."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from langchain_core.language_models import ModelProfile

from vist2_memory.engine.base import Engine
from vist2_memory.engine.catalog import (
    DEFAULT_MODEL,
    VIST2,
    bundled_models,
    find_geometry,
    find_measures,
    find_model,
    read_config,
)
from vist2_memory.model.ratios import SAMPLE, ratio_of
from vist2_memory.model.tokenizer import Vist2Tokenizer

_ABILITIES = ModelProfile(
    text_inputs=True,
    image_inputs=False,
    image_url_inputs=False,
    pdf_inputs=False,
    audio_inputs=False,
    video_inputs=False,
    image_tool_message=False,
    pdf_tool_message=False,
    reasoning_output=False,
    text_outputs=True,
    image_outputs=False,
    audio_outputs=False,
    video_outputs=False,
    tool_calling=True,
    tool_choice=True,
    tool_call_streaming=True,
    structured_output=True,
    attachment=False,
    temperature=True,
)


def profile_of(model: str | Engine | None, ratio: float | None) -> ModelProfile | None:
    """The profile of ``model``; None where it is not on this machine, so that nothing is fetched.

    ``max_input_tokens`` is what the model can stand for: the text behind as many visual tokens as
    it reads, and the text beside them.
    """
    if isinstance(model, Engine):
        return _of_engine(model)
    name = model or os.environ.get("VIST2_MODEL") or DEFAULT_MODEL
    if name not in bundled_models() and not Path(name).is_dir():
        return None
    found = _of_folder(find_model(name), ratio)
    return None if found is None else ModelProfile(**found)


def _of_engine(engine: Engine) -> ModelProfile:
    """Its ratio is told by the first chunk of a sample of English, if that needs no encoding."""
    spec, per_visual = engine.spec, 1.0
    sample = engine.chunker.first(SAMPLE * spec.chunk_tokens)
    if sample is not None and type(engine).cost is not Engine.cost:
        per_visual = sample.tokens / engine.cost(sample)
    return _profile(spec.model, spec.max_visual_tokens * per_visual, spec.max_text_tokens)


@lru_cache(maxsize=16)
def _of_folder(folder: Path, ratio: float | None) -> ModelProfile | None:
    config = read_config(folder)
    if config.get("model_type") != VIST2:
        return None  # what a stock model's pages hold is known to its engine
    _, chunk_tokens = find_measures(folder)
    tokenizer = Vist2Tokenizer.load(folder)
    per_visual = ratio_of(find_geometry(folder, ratio), tokenizer, chunk_tokens)
    visual = int(config["max_visual_tokens"])
    text = int(config["text_config"]["max_position_embeddings"]) - visual
    return _profile(folder.name, visual * per_visual, text)


def _profile(name: str, folded: float, text: int) -> ModelProfile:
    return ModelProfile(
        name=name, max_input_tokens=int(folded) + text, max_output_tokens=text, **_ABILITIES
    )
