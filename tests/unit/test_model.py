"""The model as a transformers model: config, saving, loading, padding, visual places."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from tests.support.checkpoints import save_small, small_config, small_model
from tests.support.tokenizers import small_tokenizer, token_ids
from vist2_memory.engine.catalog import bundled_models, find_model
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import ModelError, ModelNotFoundError
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.masks import Segment, additive, attention_allowed, lay_out, pad_layouts
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.presets import PRESETS, preset
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.text.transcript import RESERVED
from vist2_memory.types import Chunk

pytest_plugins = ("tests.support.fixtures",)

MODEL = small_model()
PROCESSOR = Vist2Processor(MODEL.config, small_tokenizer())
TEXTS = ["My cat is called Miso.", "Bees!", "We leave for Lisbon on the 14th of March at 7:45."]


def drawn(*texts: str) -> tuple[torch.Tensor, torch.Tensor]:
    return PROCESSOR.patches(PROCESSOR.renderer.draw([Chunk(t, t, 1) for t in texts]))


def encode(*texts: str) -> list[torch.Tensor]:
    with torch.no_grad():
        values = MODEL.encode(*drawn(*texts))
    costs = [PROCESSOR.renderer.visual_tokens(text) for text in texts]
    return [row[:cost] for row, cost in zip(values, costs, strict=True)]


def logits(model: Any = MODEL, **inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs).logits


def test_sketches_padded_in_a_batch_are_encoded_as_each_alone() -> None:
    for text, together in zip(TEXTS, encode(*TEXTS), strict=True):
        [alone] = encode(text)
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_what_stands_in_the_padding_of_sketches_is_never_read() -> None:
    patches, mask = drawn(*TEXTS)
    dirty = torch.where(mask[..., None], patches, torch.full_like(patches, 7.0))
    assert not torch.equal(dirty, patches)
    strips = mask[:, ::2]
    with torch.no_grad():
        assert torch.equal(MODEL.encode(dirty, mask)[strips], MODEL.encode(patches, mask)[strips])


def test_sketches_that_differ_in_one_letter_have_different_visual_tokens() -> None:
    [one], [other] = encode("My cat is called Miso."), encode("My cat is called Mise.")
    assert (one - other).abs().max() > 1e-3


def test_text_padded_in_a_batch_has_the_logits_of_each_alone() -> None:
    rows = [torch.tensor(token_ids(text)) for text in TEXTS]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=9)
    layout = pad_layouts([lay_out([Segment(0, len(row))]) for row in rows])
    mask = additive(attention_allowed(layout), torch.float32)
    together = logits(input_ids=ids, attention_mask=mask, position_ids=layout.position_ids)
    for row, padded in zip(rows, together, strict=True):
        alone = logits(input_ids=row[None])[0]
        torch.testing.assert_close(padded[: len(row)], alone, rtol=1e-4, atol=1e-4)


def test_drawn_and_ready_made_visual_tokens_give_the_same_logits() -> None:
    texts = TEXTS[:2]
    patches, mask = drawn(*texts)
    values = encode(*texts)
    places = torch.full((sum(map(len, values)),), MODEL.config.visual_token_id)
    ids = torch.cat([places, torch.tensor(token_ids("What is my cat called?"))])[None]
    ready = logits(input_ids=ids, visual_tokens=torch.cat(values))
    torch.testing.assert_close(logits(input_ids=ids, patches=patches, patch_mask=mask), ready)
    by_hand = MODEL.get_input_embeddings()(ids).detach()
    by_hand[0, : len(places)] = torch.cat(values)
    torch.testing.assert_close(logits(inputs_embeds=by_hand), ready)


@pytest.mark.parametrize("given_tokens", [None, 1, 3])
def test_places_and_visual_tokens_must_be_as_many(given_tokens: int | None) -> None:
    visual = None if given_tokens is None else torch.zeros(given_tokens, 32)
    with pytest.raises(ValueError, match="2 places for visual tokens"):
        logits(input_ids=torch.tensor([[8, 8, 20]]), visual_tokens=visual)


def test_a_forward_pass_needs_ids_or_embeddings() -> None:
    with pytest.raises(ValueError, match="input_ids or inputs_embeds"):
        logits()


@pytest.mark.parametrize("auto", [AutoModel, AutoModelForImageTextToText, None])
def test_saved_and_loaded_it_is_the_same_model(tmp_path: Path, auto: Any) -> None:
    MODEL.save_pretrained(tmp_path)
    loaded = (auto or Vist2ForConditionalGeneration).from_pretrained(tmp_path).eval()
    assert type(loaded) is Vist2ForConditionalGeneration
    ids = torch.tensor([token_ids(TEXTS[0])])
    assert torch.equal(logits(loaded, input_ids=ids), logits(input_ids=ids))
    patches, mask = drawn(*TEXTS)
    with torch.no_grad():
        assert torch.equal(loaded.encode(patches, mask), MODEL.encode(patches, mask))


def test_the_config_survives_a_round_trip_in_every_field(tmp_path: Path) -> None:
    config = small_config(ink=(-1.0, 0.5), keep_recent_chunks=3, max_visual_tokens=99)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is Vist2Config
    kept, written = loaded.to_dict(), config.to_dict()
    assert kept.pop("_name_or_path") != written.pop("_name_or_path")  # where it was found
    assert kept == written
    assert tuple(loaded.ink) == (-1.0, 0.5)
    assert loaded.sketch_geometry == config.sketch_geometry
    assert loaded.text_config.hidden_size == 32
    assert loaded.vision_config.patch_size == 8


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vision": {"patch_size": 7}}, "patches of 49 values.*patches of 64 pixels"),
        ({"geometry": {"columns": 31}}, "columns=31 must be a multiple"),
        ({"chunk_tokens": 0}, "chunk_tokens=0 must be at least 1"),
        ({"max_visual_tokens": 0}, "max_visual_tokens=0 must be at least 1"),
        ({"keep_recent_chunks": -1}, "keep_recent_chunks=-1 must be 0 or more"),
        ({"max_visual_tokens": 2048}, "max_visual_tokens=2048"),
        ({"visual_token_id": 400}, "visual_token_id=400"),
        ({"vision": {"num_patches": 15}}, "num_patches=15"),
        ({"geometry": {"colums": 32}}, "colums"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_config_whose_parts_do_not_fit_is_refused_by_name_and_value(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        small_config(**changes)


def test_every_preset_fits_itself_and_an_unknown_one_names_the_others() -> None:
    for name in PRESETS:
        config = preset(name)
        assert config.sketch_geometry.patch_size == config.vision_config.patch_size**2 * (
            config.vision_config.num_channels
        )
    with pytest.raises(ValueError, match="no preset 'huge'; there are: tiny"):
        preset("huge")


def test_ink_and_paper_are_scaled_as_the_config_says() -> None:
    config = small_config(ink=(-1.0, 3.0))
    processor = Vist2Processor(config, small_tokenizer())
    plain, _ = drawn("abc")
    scaled, mask = processor.patches(processor.renderer.draw([Chunk("abc", "abc", 1)]))
    assert set(plain.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(scaled, plain * 4 - 1)
    assert mask.all()


def test_each_mark_is_one_token_and_bytes_of_tokens_join_to_the_text() -> None:
    tokenizer = small_tokenizer()
    assert [tokenizer.encode(mark) for mark in RESERVED] == [[i] for i in range(16)]
    text = "Züge, 猫 and 🐈\n\0" + "".join(RESERVED)
    assert b"".join(map(tokenizer.bytes_of, tokenizer.encode(text))) == text.encode()
    with pytest.raises(KeyError, match="no token for"):
        tokenizer.id("nothing of the kind")


# Loading


def test_weights_config_and_drawing_each_change_the_fingerprint(
    checkpoint: Path, other_checkpoint: Path, tmp_path: Path
) -> None:
    """A tensor of one must never be taken for a tensor of the other."""
    ink = save_small(tmp_path / "ink", small_config(ink=(1.0, 0.0)))
    heads = save_small(tmp_path / "heads", small_config(vision={"num_attention_heads": 4}))
    folders = {"first": checkpoint, "weights": other_checkpoint, "ink": ink, "heads": heads}
    engines = {name: TorchEngine(folder, device="cpu") for name, folder in folders.items()}
    values = {n: e.encode([Chunk("a", "abc", 3)])[0].values.tobytes() for n, e in engines.items()}
    assert len(set(values.values())) == 4, "the four models encode alike; the test proves nothing"
    fingerprints = {name: engine.spec.fingerprint for name, engine in engines.items()}
    assert len(set(fingerprints.values())) == 4, fingerprints


def test_the_same_checkpoint_elsewhere_has_the_same_fingerprint(
    checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint, tmp_path / "copy")
    one, other = (TorchEngine(f, device="cpu").spec for f in (checkpoint, tmp_path / "copy"))
    assert (one.fingerprint, one.layout) == (other.fingerprint, other.layout)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _grow_hidden_size(path: Path) -> None:
    config = json.loads(path.read_text())
    config["text_config"]["hidden_size"] = 64
    path.write_text(json.dumps(config))


def _misfit(path: Path) -> None:
    config = json.loads(path.read_text())
    config["chunk_tokens"] = 0
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("model.safetensors", _truncate),
        ("model.safetensors", lambda path: path.write_bytes(b"")),
        ("config.json", _truncate),
        ("config.json", _grow_hidden_size),
        ("config.json", _misfit),
        ("config.json", lambda path: path.write_text('{"model_type": "qwen3"}')),
        ("tokenizer.json", _truncate),
        ("tokenizer.json", Path.unlink),
    ],
    ids=["weights cut", "weights empty", "config cut", "config of another size", "config misfit",
         "config of another model", "tokenizer cut", "no tokenizer"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_checkpoint_is_a_model_error_that_names_the_folder(
    checkpoint: Path, tmp_path: Path, part: str, damage: Any
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(checkpoint, folder)
    damage(folder / part)
    with pytest.raises(ModelError, match=str(folder)):
        TorchEngine(folder, device="cpu")


@pytest.mark.parametrize("part", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_lacks_a_part_is_not_found_before_anything_is_loaded(
    checkpoint: Path, tmp_path: Path, part: str
) -> None:
    folder = tmp_path / "part"
    shutil.copytree(checkpoint, folder)
    (folder / part).unlink()
    with pytest.raises(ModelNotFoundError, match="safetensors" if "model" in part else part):
        find_model(folder)


def test_a_name_that_is_no_model_is_answered_with_the_names_that_are() -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model 'vist9'.*folder of a VIST2"):
        find_model("vist9")
    assert all(find_model(name).is_dir() for name in bundled_models())
