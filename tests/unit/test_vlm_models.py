"""Finding, loading and refusing stock models, and tensors that are not theirs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support.vlm import SmallVLM
from tests.support.vlm_families import PAGE, SAMPLES, changed, save_family
from vist2_memory import VisualMemory
from vist2_memory.cli import app
from vist2_memory.engine.loading import weights_digest
from vist2_memory.engine.vlm.engine import VLMEngine
from vist2_memory.errors import (
    ContextOverflowError,
    InvalidInputError,
    ModelError,
)
from vist2_memory.sketch.page import PageGeometry
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import Chunk, Context, GenerationParams

pytest_plugins = ("tests.support.vlm_fixtures",)

FAMILIES = sorted(SAMPLES)
TEXT = "My cat is called Miso. They don't like rain."
KIND = "qwen2_5_vl"


def chunks_of(*texts: str) -> list[Chunk]:
    return [Chunk(chunk_id(text), text, 1) for text in texts]


# Encoding


@pytest.mark.parametrize("kind", [KIND, "qwen3_vl"])
def test_int8_has_a_scale_for_each_layer_that_takes_features(
    vlm_folder: Callable[[str], Path], kind: str
) -> None:
    engine = SmallVLM(vlm_folder(kind), kind, tensors_dtype="int8")
    plain = SmallVLM(vlm_folder(kind), kind, tensors_dtype="float32")
    [tokens], [exact] = (model.encode(chunks_of(TEXT)) for model in (engine, plain))
    layers = engine.spec.tensors.layers
    assert layers == (3 if kind == "qwen3_vl" else 1)
    assert tokens.values.shape[1] == layers * engine.family.hidden
    stored = engine.spec.tensors.narrowed(tokens.values)
    assert stored["scales"].shape == (len(tokens), layers)
    parts = exact.values.reshape(len(exact), layers, -1)
    steps = np.abs(parts).max(axis=2, keepdims=True) / 127
    wrong = np.abs(tokens.values.reshape(parts.shape) - parts)
    assert (wrong <= 0.501 * steps + 1e-6).all()


@pytest.mark.parametrize("kind", FAMILIES)
def test_pages_cost_what_encoding_them_takes_and_are_rounded_as_stored(
    vlm: Callable[[str], SmallVLM], kind: str
) -> None:
    engine = vlm(kind)
    chunks = chunks_of("x", TEXT, "A line.\n" * 5)
    together = engine.encode(chunks)
    for chunk, tokens in zip(chunks, together, strict=True):
        [alone] = engine.encode([chunk])
        assert len(tokens) == engine.cost(chunk)
        assert tokens.fingerprint == engine.spec.fingerprint
        assert not (tokens.values.view(np.uint32) & 0xFFFF).any()
        np.testing.assert_allclose(tokens.values, alone.values, atol=0.02)
    assert not np.array_equal(together[0].values[:4], together[1].values[:4])


# Finding


def test_a_memory_opens_with_the_folder_of_a_stock_model(
    vlm_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    small = vlm_folder(KIND)
    with pytest.raises(InvalidInputError, match=r"reads 4096 positions.*too few"):
        VLMEngine(small, device="cpu")
    text = json.loads((small / "config.json").read_text())["text_config"]
    text |= {"max_position_embeddings": 16_384}
    folder = changed(small, tmp_path / "m", "config.json", text_config=text)
    with VisualMemory.open("memory://", model=folder) as memory:
        assert isinstance(memory.engine, VLMEngine)
        assert (memory.engine.renderer.geometry.width, memory.engine.spec.keep_recent) == (
            616,
            1024,
        )
        answer = memory.session("a").ask("Who?", params=GenerationParams(max_tokens=2))
        assert answer.usage.prompt_text_tokens > 0


def test_a_model_of_another_kind_is_answered_with_the_families(
    vlm_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = changed(vlm_folder(KIND), tmp_path / "m", "config.json", model_type="llava")
    with pytest.raises(ModelError, match=r"'llava'.*Qwen2.5-VL.*Glyph.*Gemma 3"):
        VisualMemory.open("memory://", model=folder)


# Refusing


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (replace(PAGE, multiple=32, width=224), "multiples of 28"),
        (PageGeometry(width=1400, height=1400), "at most"),
    ],
)
def test_a_page_that_the_image_processor_would_rescale_is_refused(
    vlm_folder: Callable[[str], Path], page: PageGeometry, reason: str
) -> None:
    with pytest.raises(ModelError, match=f"would be rescaled.*{reason}"):
        SmallVLM(vlm_folder(KIND), KIND, page=page)


def test_a_square_page_of_another_size_is_refused(vlm_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="takes 112 x 112"):
        SmallVLM(vlm_folder("gemma3"), "gemma3", page=PAGE)


@pytest.mark.parametrize("template", ["{{ messages[-1].content }}", "{{ raise_exception('No.') }}"])
def test_a_template_that_drops_images_or_refuses_the_chat_is_an_error(
    vlm_folder: Callable[[str], Path], tmp_path: Path, template: str
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(vlm_folder(KIND), folder)
    (folder / "chat_template.jinja").write_text(template)
    engine = SmallVLM(folder, KIND)
    chunks = chunks_of(TEXT)
    context = Context("", tuple(engine.encode(chunks)), f"{MARKS['user']}Who?", tuple(chunks))
    with pytest.raises(ModelError, match="chat template"):
        engine.items(context)


def test_a_model_without_a_chat_template_is_refused(
    vlm_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(vlm_folder(KIND), folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        SmallVLM(folder, KIND)


def test_weights_that_do_not_fit_the_config_are_refused(
    vlm_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    vision = json.loads((vlm_folder(KIND) / "config.json").read_text())["vision_config"]
    folder = changed(
        vlm_folder(KIND), tmp_path / "m", "config.json", vision_config=vision | {"depth": 3}
    )
    with pytest.raises(ModelError, match="missing_keys"):
        SmallVLM(folder, KIND)


def test_a_question_that_is_too_long_is_refused(vlm: Callable[[str], SmallVLM]) -> None:
    engine = vlm(KIND)
    with pytest.raises(ContextOverflowError, match="shorten"):
        list(engine.generate(Context("", (), f"{MARKS['user']}{'x' * 5000}"), GenerationParams()))


@pytest.mark.parametrize(
    "options",
    [{"dtype": "bf16"}, {"keep_recent": -1}, {"verbatim_tokens": -1}, {"chunk_tokens": 0}],
)
def test_options_of_no_sense_are_refused_by_name(
    vlm_folder: Callable[[str], Path], options: dict[str, Any]
) -> None:
    [(name, value)] = options.items()
    with pytest.raises(InvalidInputError, match=re.escape(f"{name}={value!r}")):
        SmallVLM(vlm_folder(KIND), KIND, **options)


def test_the_tokenizers_end_of_a_turn_ends_an_answer_too(
    vlm: Callable[[str], SmallVLM], vlm_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    [start] = vlm(KIND).tokenizer.encode_template("<|endoftext|>")
    folder = changed(vlm_folder(KIND), tmp_path / "m", "generation_config.json", eos_token_id=start)
    assert SmallVLM(folder, KIND)._stop_ids == {start, *vlm(KIND)._stop_ids}


# Tensors of others


def test_tensors_of_other_weights_pages_or_numbers_are_misses(
    vlm: Callable[[str], SmallVLM], vlm_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    first = vlm(KIND)
    with VisualMemory.open(url, model=first) as memory:
        memory.session("a").add("user", f"{TEXT} {TEXT}")
        chunk = memory.session("a").chunks()[0]
    others = [
        SmallVLM(save_family(tmp_path / "other", KIND, seed=1), KIND),
        SmallVLM(vlm_folder(KIND), KIND, page=replace(PAGE, margin=6)),
        SmallVLM(vlm_folder(KIND), KIND, dtype="bfloat16"),
        SmallVLM(
            changed(
                vlm_folder(KIND), tmp_path / "m", "preprocessor_config.json", image_mean=[0.5] * 3
            ),
            KIND,
        ),
    ]
    assert len({engine.spec.fingerprint for engine in (first, *others)}) == 5
    for engine in others:
        with VisualMemory.open(url, model=engine) as memory:
            memory.session("a").ask("Who?", params=GenerationParams(max_tokens=1))
        assert chunk.text in engine.encoded
        context = engine.contexts[0]
        assert np.array_equal(context.visual[0].values, engine.encode([chunk])[0].values)
        with pytest.raises(ModelError, match="were made by"):
            engine.items(replace(context, visual=tuple(first.encode([chunk]))))


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("gemma3", {"mm_tokens_per_image": 4}),
        ("internvl", {"vision_feature_layer": -2}),
        ("internvl", {"projector_hidden_act": "relu"}),
    ],
)
def test_settings_beside_the_towers_own_are_of_the_fingerprint(
    vlm: Callable[[str], SmallVLM],
    vlm_folder: Callable[[str], Path],
    tmp_path: Path,
    kind: str,
    setting: dict[str, Any],
) -> None:
    other = SmallVLM(changed(vlm_folder(kind), tmp_path / "m", "config.json", **setting), kind)
    assert other.spec.fingerprint != vlm(kind).spec.fingerprint


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_same_model_in_another_folder_has_the_same_fingerprint(
    vlm: Callable[[str], SmallVLM], vlm_folder: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    other = SmallVLM(changed(vlm_folder(kind), tmp_path / "m", "config.json"), kind)
    assert other.spec.fingerprint == vlm(kind).spec.fingerprint


def test_a_page_of_another_width_is_refused(vlm: Callable[[str], SmallVLM]) -> None:
    engine = vlm(KIND)
    chunks = chunks_of(TEXT)
    [page] = engine.encode(chunks)
    short = replace(page, values=page.values[:-1])
    with pytest.raises(ModelError, match="7 visual tokens are no page of 8 columns"):
        engine.logits(Context("", (short,), f"{MARKS['user']}Who?", tuple(chunks)))


def test_a_digest_of_weights_tells_one_number_from_another() -> None:
    layer = torch.nn.Linear(2, 2)
    before = weights_digest({"tower": layer})
    assert before == weights_digest({"tower": layer}) != weights_digest({"other": layer})
    with torch.no_grad():
        layer.weight[1, 1] += 1
    assert weights_digest({"tower": layer}) != before


# The command line


def test_render_shows_the_pages_of_a_stock_model(
    vlm_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(TEXT * 400)
    arguments = [tmp_path / "text.txt", "-o", tmp_path / "out.png", "--model", vlm_folder(KIND)]
    result = CliRunner().invoke(app, ["render", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert " pages" in result.output
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
