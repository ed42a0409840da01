"""Composing: what does not fit together is refused by name, and the command says so in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig
from typer.testing import CliRunner

from tests.support.pretrained import save_siglip
from vist2_memory import InvalidInputError, ModelError, ModelNotFoundError
from vist2_memory.cli import app
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.model.compose import Drawing, compose, count_parameters
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.geometry import SketchGeometry

pytest_plugins = ("tests.support.fixtures",)

SQUARE = SketchGeometry(columns=8, max_lines=4, cells_per_patch=2, patches_per_strip=2)


# What cannot be composed


def bert(folder: Path) -> Path:
    BertConfig().save_pretrained(folder)
    return folder


def without(source: Path, folder: Path, pattern: str) -> Path:
    shutil.copytree(source, folder)
    for path in folder.glob(pattern):
        path.unlink()
    return folder


def damaged(source: Path, folder: Path) -> Path:
    shutil.copytree(source, folder)
    path = sorted(folder.glob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:100])
    return folder


def changed(source: Path, folder: Path, file: str, **values: Any) -> Path:
    shutil.copytree(source, folder)
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | values))
    return folder


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "text without weights": (
        lambda q, v, t: {"text": without(q, t / "q", "*.safetensors*")},
        ModelNotFoundError, "q has no weights"),
    "vision without weights": (
        lambda q, v, t: {"vision": without(v, t / "v", "*.safetensors")},
        ModelNotFoundError, "v has no weights"),
    "text without tokenizer": (
        lambda q, v, t: {"text": without(q, t / "q", "tokenizer.json")},
        ModelNotFoundError, "no tokenizer.json"),
    "a shard missing": (
        lambda q, v, t: {"text": without(q, t / "q", "*-00002-of-*")},
        ModelNotFoundError, "q has no weights"),
    "no config": (
        lambda q, v, t: {"text": without(q, t / "q", "config.json")},
        ModelNotFoundError, "q has no config.json"),
    "damaged weights": (lambda q, v, t: {"vision": damaged(v, t / "v")}, ModelError, "cannot be"),
    "nowhere": (
        lambda q, v, t: {"text": "nobody/qwen3-none"},
        ModelNotFoundError, "'nobody/qwen3-none'"),
    "text of another type": (lambda q, v, t: {"text": bert(t / "b")}, ModelError, "'bert'.*Qwen3"),
    "vision for text": (lambda q, v, t: {"text": v}, ModelError, "'siglip'.*must be Qwen3"),
    "text for vision": (lambda q, v, t: {"vision": q}, ModelError, "'qwen3'.*must be SigLIP"),
    "quantized": (
        lambda q, v, t: {
            "text": changed(q, t / "q", "config.json", quantization_config={"quant_method": "fp8"})
        },
        ModelError, "is quantized"),
    "weights of another size": (
        lambda q, v, t: {"text": changed(q, t / "q", "config.json", intermediate_size=64)},
        ModelError, "q"),
    "tokenizer of another model": (
        lambda q, v, t: {"text": changed(q, t / "q", "config.json", vocab_size=300)},
        ModelError, "ids up to 347.*300 rows"),
    "patches too wide": (
        lambda q, v, t: {"drawing": Drawing(SketchGeometry(columns=72))},
        InvalidInputError, r"16 x 16.*36 x 8 \(cells_per_patch=9\).*cells_per_patch=1 or 2 or 4"),
    "a tower of 14 pixels": (
        lambda q, v, t: {
            "vision": save_siglip(t / "v", "fixed", patch_size=14, image_size=56)
        },
        InvalidInputError, "14 x 14.*multiple of 8"),
    "glyphs of another size": (
        lambda q, v, t: {
            "drawing": Drawing(SketchGeometry(cell_height=16, columns=8, cells_per_patch=2))
        },
        InvalidInputError, "cells of 4 x 8"),
    "too many visual tokens": (
        lambda q, v, t: {"drawing": Drawing(SQUARE, max_visual_tokens=2048)},
        InvalidInputError, "max_visual_tokens=2048"),
    "dtype": (lambda q, v, t: {"dtype": "int8"}, InvalidInputError, "'int8'.*bfloat16"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_written(
    name: str, qwen3: Path, siglip: Path, tmp_path: Path
) -> None:
    change, error, told = WRONG[name]
    arguments = {"text": qwen3, "vision": siglip, "drawing": Drawing(SQUARE)}
    arguments |= change(qwen3, siglip, tmp_path)
    with pytest.raises(error, match=told):
        compose(out=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_folder_that_is_not_empty_is_left_alone(
    qwen3: Path, siglip: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(InvalidInputError, match="is not empty"):
        compose(qwen3, siglip, tmp_path)
    with pytest.raises(InvalidInputError, match="is a file"):
        compose(qwen3, siglip, tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    compose(qwen3, siglip, tmp_path / "empty")
    assert Vist2Config.from_pretrained(tmp_path / "empty").sketch_geometry.columns == 80


# The command


def test_init_makes_a_model_that_loads(qwen3: Path, siglip: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "model"
    options = ["--text", qwen3, "--vision", siglip, "--out", out, "--chunk-tokens", 32, "--json"]
    measures = "columns=32, max_lines=16,patches_per_strip=4"
    result = CliRunner().invoke(app, ["init", *map(str, options), "--geometry", measures])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    config = Vist2Config.from_pretrained(out)
    assert (config.chunk_tokens, config.sketch_geometry.max_lines) == (32, 16)
    assert config.max_visual_tokens == 512
    assert told["geometry"] == config.geometry
    assert told["parameters"] == count_parameters(config)
    assert len(Vist2Tokenizer.load(out)) == 364
    assert TorchEngine(out, device="cpu").spec.model == "model"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--text", "a"], "--vision is missing"),
        (["--preset", "tiny"], "no preset 'tiny'"),
        (["--text", "a", "--vision", "b", "--geometry", "colums=3"], "'colums=3'"),
        (["--text", "a", "--vision", "b", "--geometry", "columns=x"], "'columns=x'"),
        (["--text", "a", "--vision", "b", "--geometry", "columns=81"], "columns=81"),
        (["--preset", "0.6B"], "Qwen/Qwen3-0.6B"),
    ],
)
def test_init_says_what_is_wrong_in_one_line(options: list[str], told: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 2, result.output
    *_, line = result.stderr.splitlines()
    assert line.startswith("vist2: error: ")
    assert told in line
