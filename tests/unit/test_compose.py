"""Composing: the parts go on as they were in their sources, and the whole is a model like others.

The sources are small and random, of the classes and in the file formats of the real ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Qwen3ForCausalLM,
    Siglip2VisionModel,
    SiglipVisionModel,
)
from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

from tests.support.engines import Script
from tests.support.memories import HOSTILE
from tests.support.pretrained import KINDS, SPECIAL, qwen_tokenizer, save_qwen3, save_siglip
from tests.support.tokenizers import PROSE
from vist2_memory import ModelError, VisualMemory
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.model.compose import Drawing, compose, count_parameters
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.presets import SOURCES, preset
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.text.transcript import END, MARKS, PAD, RESERVED, VISUAL, write_message
from vist2_memory.training.export import save_language_model
from vist2_memory.types import Chunk, ChunkFolded, Finished, GenerationParams

pytest_plugins = ("tests.support.fixtures",)

SQUARE = SketchGeometry(columns=8, max_lines=4, cells_per_patch=2, patches_per_strip=2)
"""Four by four patches, as many as the small towers have positions: none is interpolated."""
NARROW = SketchGeometry(columns=16, max_lines=4, cells_per_patch=4, patches_per_strip=2)
"""The same with letters of 4 x 16 pixels."""
WIDE = SketchGeometry(columns=32, max_lines=8, cells_per_patch=2, patches_per_strip=4)
MESSAGES = [{"role": "user", "content": "What is my cat called?"}]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory, qwen3: Path, siglip: Path) -> Path:
    out = tmp_path_factory.mktemp("composed") / "model"
    compose(qwen3, siglip, out, Drawing(WIDE, chunk_tokens=8))
    return out


def load(folder: Path) -> tuple[Vist2ForConditionalGeneration, Vist2Processor]:
    model, report = Vist2ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval(), Vist2Processor.from_pretrained(folder)


# The language model


@pytest.mark.parametrize("rows", [384, 348, 360], ids=["room", "no room", "too little room"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_text_only_logits_are_those_of_the_source(
    tmp_path: Path, siglip: Path, tied: bool, rows: int
) -> None:
    source = save_qwen3(tmp_path / "qwen3", tied=tied, rows=rows)
    assert len(list(source.glob("*.safetensors"))) > 1, "the source is not sharded"
    compose(source, siglip, tmp_path / "out", Drawing(SQUARE))
    model, processor = load(tmp_path / "out")
    stock = Qwen3ForCausalLM.from_pretrained(source).eval()
    tokenizer = AutoTokenizer.from_pretrained(source)
    prompt = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, tokenize=False)
    ids = torch.tensor([tokenizer.encode(prompt), tokenizer.encode(prompt)[::-1]])
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") in ids
    with torch.no_grad():
        ours, theirs = model(input_ids=ids).logits, stock(input_ids=ids).logits
    known = len(qwen_tokenizer().get_vocab())
    assert torch.equal(ours[..., :known], theirs[..., :known])
    untouched = slice(known + len(RESERVED), rows)
    assert torch.equal(ours[..., untouched], theirs[..., untouched])
    assert ours.shape[-1] == max(384, rows) >= len(processor.tokenizer)
    end, im_end = processor.tokenizer.id(END), tokenizer.convert_tokens_to_ids("<|im_end|>")
    torch.testing.assert_close(ours[..., end], ours[..., im_end])  # ends where the source would
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert (head.weight is embeddings.weight) is tied


@pytest.mark.parametrize("same", [True, False], ids=["same", "different"])
@pytest.mark.filterwarnings("ignore")
def test_a_head_that_is_stored_beside_the_tied_table(
    tmp_path: Path, siglip: Path, same: bool
) -> None:
    """A tied table may be stored twice; a head that differs is not thrown away."""
    source = save_qwen3(tmp_path / "qwen3", tied=False)
    shards = {path: load_file(path) for path in source.glob("*.safetensors")}
    tensors = {name: tensor for shard in shards.values() for name, tensor in shard.items()}
    for path, shard in shards.items():
        if same and "lm_head.weight" in shard:
            shard["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
            save_file(shard, path, metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text()) | {"tie_word_embeddings": True}
    (source / "config.json").write_text(json.dumps(config))
    if same:
        compose(source, siglip, tmp_path / "out", Drawing(SQUARE))
        model, _ = load(tmp_path / "out")
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    else:
        with pytest.raises(ModelError, match="tie_word_embeddings to false"):
            compose(source, siglip, tmp_path / "out", Drawing(SQUARE))


def test_the_language_model_alone_is_an_ordinary_qwen3(
    composed: Path, qwen3: Path, tmp_path: Path
) -> None:
    model, _ = load(composed)
    save_language_model(model, tmp_path)
    alone = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(alone) is Qwen3ForCausalLM
    ids = torch.tensor([qwen_tokenizer().encode(PROSE).ids])
    with torch.no_grad():
        expected = Qwen3ForCausalLM.from_pretrained(qwen3).eval()(input_ids=ids).logits
        assert torch.equal(alone(input_ids=ids).logits[..., :348], expected[..., :348])


# The tower


def enlarged(pixels: np.ndarray, geometry: SketchGeometry) -> Tensor:
    """The image that a sketch stands for: black on white, (3, height, width), from -1 to 1."""
    across = 16 // (geometry.cell_width * geometry.cells_per_patch)
    image = np.repeat(np.repeat(255 - pixels, 16 // geometry.cell_height, 0), across, 1)
    return torch.from_numpy(image.astype(np.float32) / 255 * 2 - 1).expand(3, -1, -1)


def stock_tower(folder: Path, kind: str, image: Tensor) -> Tensor:
    """What the source's own tower makes of an image, shape (1, patches, hidden size)."""
    if kind.startswith("fixed"):
        fixed = SiglipVisionModel.from_pretrained(folder).eval()
        return fixed(pixel_values=image[None]).last_hidden_state
    tower = Siglip2VisionModel.from_pretrained(folder).eval()
    patches = torch.from_numpy(convert_image_to_patches(image.numpy(), 16))[None]
    return tower(
        pixel_values=patches,
        pixel_attention_mask=torch.ones(patches.shape[:2], dtype=torch.long),
        spatial_shapes=torch.tensor([[image.shape[1] // 16, image.shape[2] // 16]]),
    ).last_hidden_state


@pytest.mark.parametrize(
    ("kind", "geometry"),
    [
        *((kind, SQUARE) for kind in KINDS),
        ("fixed", NARROW),
        ("naflex", NARROW),
        ("naflex", WIDE),  # its own towers interpolate positions in the same way
    ],
)
def test_the_tower_sees_what_its_source_sees_on_the_enlarged_grey_image(
    tmp_path: Path, qwen3: Path, kind: str, geometry: SketchGeometry
) -> None:
    source = save_siglip(tmp_path / "siglip", kind)
    compose(qwen3, source, tmp_path / "out", Drawing(geometry))
    model, processor = load(tmp_path / "out")
    text = PROSE[: geometry.max_cells]
    [sketch] = processor.renderer.draw([Chunk("full", text, 1)])
    patches, mask = processor.patches([sketch])
    assert mask.all()
    with torch.no_grad():
        hidden = stock_tower(source, kind, enlarged(sketch.pixels, geometry))
        projection = model.aligner.projection
        strips = hidden.reshape(-1, projection.in_features)
        expected = torch.tanh(strips @ projection.weight.T + projection.bias)
        ours = model.encode(patches, mask)[0]
    assert hidden.std() > 0.1, "the patches hardly differ; the comparison proves nothing"
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    tower = model.vision_tower
    assert not any("head" in name for name, _ in tower.named_parameters())


def test_visual_tokens_begin_as_large_as_token_embeddings(composed: Path) -> None:
    model, processor = load(composed)
    sketches = processor.renderer.draw([Chunk("a", PROSE[:200], 1)])
    with torch.no_grad():
        visual = model.encode(*processor.patches(sketches))[0]
    table = model.get_input_embeddings().weight.detach()[:348]
    assert 0.4 < float(visual.std() / table.std()) < 1.5


# The vocabulary


def test_every_text_is_read_and_given_back_and_none_is_read_as_a_special_token(
    composed: Path,
) -> None:
    processor = Vist2Processor.from_pretrained(composed)
    tokenizer = processor.tokenizer
    source = qwen_tokenizer()
    special = {source.token_to_id(token) for token in SPECIAL}
    for text in [*HOSTILE, PROSE, "".join(SPECIAL), "e\u0301", "<think>a</think>"]:
        written = write_message("user", text)
        ids = tokenizer.encode(written)
        assert b"".join(map(tokenizer.bytes_of, ids)).decode() == written
        assert not special & set(ids)
        assert ids.count(tokenizer.id(MARKS["user"])) == 1
        assert not {tokenizer.id(mark) for mark in (*MARKS.values(), END)} & set(ids[1:])
        assert tokenizer.spans(written)[-1][1] == len(written)
    assert tokenizer.encode(PROSE) == source.encode(PROSE).ids
    assert tokenizer.encode("<think>") == [source.token_to_id("<think>")]
    marks = [tokenizer.id(mark) for mark in RESERVED]
    assert marks == list(range(348, 364))
    assert processor.config.visual_token_id == tokenizer.id(VISUAL)


def test_the_folder_says_where_answers_end_and_what_is_never_said(composed: Path) -> None:
    model, processor = load(composed)
    generation, tokenizer = model.generation_config, processor.tokenizer
    assert set(generation.eos_token_id) == processor.stop_ids
    assert generation.pad_token_id == tokenizer.id(PAD)
    assert generation.temperature == 0.6
    never = set(generation.suppress_tokens)
    assert never >= processor.silent_ids | {qwen_tokenizer().token_to_id(t) for t in SPECIAL}
    assert never >= set(range(364, 384))
    assert not never & processor.stop_ids
    assert not never & set(tokenizer.encode(PROSE))
    of_transformers = AutoTokenizer.from_pretrained(composed)
    written = of_transformers.apply_chat_template(MESSAGES, add_generation_prompt=True)
    expected = write_message("user", MESSAGES[0]["content"]) + MARKS["assistant"]
    assert list(written["input_ids"]) == tokenizer.encode(expected)


# The whole


def test_a_memory_opens_it_folds_and_answers(composed: Path, script: Script) -> None:
    with VisualMemory.open("memory://", model=str(composed)) as memory:
        engine = memory.engine
        assert isinstance(engine, TorchEngine)
        session = memory.session("s")
        session.add("user", PROSE)
        script.say(engine.processor.tokenizer.encode("Your cat is called Miso, and nobody spoke."))
        params = GenerationParams(max_tokens=len(script.answers[0]))
        *events, end = session.stream("What is my cat called?", params=params)
    assert isinstance(end, Finished)
    assert end.text == "Your cat is called Miso, and nobody spoke."
    assert end.usage.folds == sum(isinstance(event, ChunkFolded) for event in events) > 0
    assert end.usage.visual_tokens > 0
    assert end.usage.compression_ratio > 1
    assert end.degraded == ()


def test_it_answers_by_itself_and_never_says_a_special_token(composed: Path) -> None:
    engine = TorchEngine(composed, device="cpu")
    never = engine._never
    assert {qwen_tokenizer().token_to_id(token) for token in SPECIAL} <= never
    with VisualMemory.open("memory://", model=engine) as memory:
        params = GenerationParams(max_tokens=30, temperature=1.0, seed=3)
        reply = memory.session("s").ask("What is my cat called?", params=params)
    assert not any(token in reply.text for token in SPECIAL)


def test_the_same_seed_gives_the_same_model_and_the_dtype_is_that_of_the_source(
    composed: Path, qwen3: Path, siglip: Path, tmp_path: Path
) -> None:
    drawing = Drawing(WIDE, chunk_tokens=8)
    compose(str(qwen3), str(siglip), tmp_path / "again", drawing)
    compose(qwen3, siglip, tmp_path / "seed", drawing, seed=1)
    compose(qwen3, siglip, tmp_path / "half", drawing, dtype="bfloat16")
    first, again, seed, half = (
        Vist2ForConditionalGeneration.from_pretrained(folder)
        for folder in (composed, *(tmp_path / name for name in ("again", "seed", "half")))
    )
    assert {model.dtype for model in (first, again, seed)} == {torch.float32}
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    weights = [model.state_dict() for model in (first, again, seed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    different = {name for name in weights[0] if not torch.equal(weights[0][name], weights[2][name])}
    assert different == {"aligner.projection.weight"}


# Presets


@pytest.mark.parametrize(
    ("name", "language_model", "aligner"),
    [
        ("0.6B", 596_049_920, 10_486_784),
        ("1.7B", 1_720_574_976, 20_973_568),
        ("4B", 4_022_468_096, 26_216_960),
        ("8B", 8_190_735_360, 41_947_136),
    ],
)
def test_a_preset_has_the_parameters_of_its_sources(
    name: str, language_model: int, aligner: int
) -> None:
    config = preset(name)
    counts = count_parameters(config)
    layer = 4 * (1024 * 1024 + 1024) + 2 * 1024 * 4096 + 4096 + 1024 + 4 * 1024
    tower = 24 * layer + (64 + 1) * 1024 + 256 * 1024 + 2 * 1024
    assert counts == {"language_model": language_model, "aligner": aligner, "vision_tower": tower}
    assert name in SOURCES
    assert config.visual_token_id == 151_669 + 8 < 151_936
