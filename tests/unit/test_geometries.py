"""Several geometries in one checkpoint: chosen by ratio, encoded apart, never mixed up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from langchain_vist2 import ChatVIST2
from tests.support.checkpoints import FURTHER, save_small, small_config, small_model
from tests.support.engines import CountingEngine
from tests.support.tokenizers import small_tokenizer
from vist2_memory import VisualMemory
from vist2_memory.engine.catalog import find_geometry, find_model
from vist2_memory.engine.pictures import draw_text
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.model.ratios import SAMPLE, ratio_of
from vist2_memory.types import Chunk, GenerationParams

TALK = "My cat is called Miso, and Anna's brother keeps bees. They don't like rain. " * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of three geometries."""
    return save_small(tmp_path_factory.mktemp("three"), small_config(geometries=FURTHER))


def test_the_geometries_survive_a_round_trip(folder: Path) -> None:
    config = Vist2Config.from_pretrained(folder)
    assert [g.patches_per_strip for g in config.sketch_geometries] == [2, 1, 4]
    assert config.sketch_geometries[0] == config.sketch_geometry
    assert config.geometries == small_config(geometries=FURTHER).geometries


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"patches_per_strip": 2}, r"differ in patches_per_strip, which are \[2, 2\]"),
        ({"cells_per_patch": 1}, "cells_per_patch is 2 in the default one and 1 in that of"),
        ({"columns": 31}, "columns=31"),
        ({"colums": 32}, "geometries=.*colums"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_geometries_that_do_not_fit_together_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        small_config(geometries=[{**FURTHER[0], **change}])


def test_a_model_of_one_geometry_has_the_weights_that_it_always_had() -> None:
    names = {name for name in small_model().state_dict() if "aligner" in name}
    assert names == {"aligner.projection.weight", "aligner.projection.bias"}


def test_each_geometry_is_encoded_as_by_a_model_that_has_no_other() -> None:
    model = small_model(small_config(geometries=FURTHER))
    for geometry in model.config.sketch_geometries:
        joined = geometry.patches_per_strip
        alone = small_model(small_config(geometry=geometry.to_dict()))
        weights = {k: v for k, v in model.state_dict().items() if "aligner" not in k}
        own = "projection" if joined == 2 else f"further.{joined}"
        for name in ("weight", "bias"):
            weights[f"aligner.projection.{name}"] = model.state_dict()[f"aligner.{own}.{name}"]
        alone.load_state_dict(weights)
        processor = Vist2Processor(model.config, small_tokenizer(), geometry)
        drawn = processor.patches(processor.renderer.draw([Chunk("a", "Bees! " * 9, 1)]))
        with torch.no_grad():
            assert torch.equal(model.encode(*drawn, geometry), alone.encode(*drawn))


def test_strips_that_the_model_has_no_aligner_for_are_refused() -> None:
    model = small_model(small_config(geometries=FURTHER))
    with pytest.raises(ValueError, match=r"patches_per_strip=3: .* of 2, 1, 4 patches"):
        model.aligner(torch.zeros(1, 6, 32), 3)


def test_a_ratio_is_what_a_chunk_of_english_costs(folder: Path) -> None:
    for ratio in (1.3, 2.4, 4.0):
        engine = TorchEngine(folder, ratio=ratio, device="cpu")
        chunks = list(engine.chunker.cut(SAMPLE))
        tokens, visual = sum(c.tokens for c in chunks), sum(map(engine.cost, chunks))
        assert tokens / visual == pytest.approx(ratio, rel=0.15)
        assert sum(len(v) for v in engine.encode(chunks)) == visual


def test_the_nearest_geometry_is_taken_and_one_that_is_far_is_refused(folder: Path) -> None:
    assert find_geometry(folder, None).patches_per_strip == 2
    assert find_geometry(folder, 4.4).patches_per_strip == 4
    for ratio in (3.2, 0.0, -2.0, 10.0, float("nan")):
        with pytest.raises(InvalidInputError, match=r"ratio=.*it offers 1\.3, 2\.4, 4\.1"):
            find_geometry(folder, ratio)


def test_the_bundled_model_offers_the_one_ratio_that_it_has() -> None:
    bundled = find_model("vist2-tiny")
    assert find_geometry(bundled, 5) == find_geometry(bundled, None)
    with pytest.raises(InvalidInputError, match=r"ratio=8: .* it offers 4"):
        VisualMemory.open("memory://", model="vist2-tiny", ratio=8)


def test_a_longer_strip_gives_a_higher_ratio() -> None:
    ratios = [
        ratio_of(geometry, small_tokenizer(), 8)
        for geometry in small_config(geometries=FURTHER).sketch_geometries
    ]
    assert sorted(ratios) == [ratios[1], ratios[0], ratios[2]]


def test_tensors_of_another_geometry_are_a_miss(folder: Path, tmp_path: Path) -> None:
    """Written at one ratio, read at another, and again at the first, from the same file."""
    url = f"sqlite:///{tmp_path / 'memory.db'}"

    def encoded(ratio: float | None) -> tuple[bool, int]:
        """Whether the beginning of the talk had to be encoded, and the visual tokens of it all."""
        engine = CountingEngine(folder, ratio=ratio)
        with VisualMemory.open(url, model=engine) as memory:
            session = memory.session("s")
            if not session.messages():
                session.add("user", TALK)
            usage = session.ask("Bees?", params=GenerationParams(max_tokens=1)).usage
            return any("My cat" in text for text in engine.encoded), usage.visual_tokens

    written, other, again, back = (encoded(ratio) for ratio in (None, 4.1, 4.1, None))
    assert other[0], "nothing that was drawn otherwise may be read"
    assert not again[0]
    assert not back[0], "what was written first is still there"
    assert 1.4 * other[1] < written[1], "and memory is compressed as was asked for"


def test_the_ratio_is_part_of_every_name_that_tensors_and_cuts_go_by(folder: Path) -> None:
    specs = [TorchEngine(folder, ratio=ratio, device="cpu").spec for ratio in (None, 1.3, 4.1)]
    assert len({spec.fingerprint for spec in specs}) == 3
    assert len({spec.layout for spec in specs}) == 3
    alone = TorchEngine(folder, ratio=2.4, device="cpu").spec
    assert alone == specs[0], "the default geometry is the same however it was chosen"


def test_an_engine_that_was_passed_in_has_its_ratio_already(folder: Path) -> None:
    engine = TorchEngine(folder, ratio=4.1, device="cpu")
    with pytest.raises(InvalidInputError, match=r"ratio=2\.4 is chosen where an engine is made"):
        VisualMemory.open("memory://", model=engine, ratio=2.4)


def test_the_chat_model_hands_the_ratio_on(folder: Path) -> None:
    with_ratio = ChatVIST2(model=str(folder), store="memory://", ratio=4.1, max_tokens=2)
    assert with_ratio.engine.processor.geometry.patches_per_strip == 4
    assert with_ratio.memory.engine is with_ratio.engine
    without = ChatVIST2(model=str(folder), store="memory://", max_tokens=2)
    assert without._get_llm_string() != with_ratio._get_llm_string()


def test_a_picture_is_drawn_in_the_geometry_that_was_asked_for(folder: Path) -> None:
    width = {ratio: draw_text("Bees! " * 20, folder, ratio)[0][0].pixels.shape[1]
             for ratio in (None, 4.1)}  # fmt: skip
    assert width == {None: 32 * 4, 4.1: 40 * 4}


def test_a_config_without_the_field_reads_as_before(folder: Path, tmp_path: Path) -> None:
    old = save_small(tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    with_field = TorchEngine(old, device="cpu").spec
    config.pop("geometries", None)
    (old / "config.json").write_text(json.dumps(config))
    assert TorchEngine(old, device="cpu").spec == with_field
