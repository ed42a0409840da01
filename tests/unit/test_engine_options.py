"""Which engine runs a model, and how: what is asked for is honoured or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.memories import tell
from tests.support.plain import PlainEngine
from vist2_memory import InvalidInputError, VisualMemory
from vist2_memory.engine.catalog import open_engine
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.store.formats import TensorFormat

pytest_plugins = ("tests.support.fixtures",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float64"}, "dtype='float64' is not allowed: give one of float32, bfloat16"),
        ({"kv_dtype": "int3"}, "kv_dtype='int3' is not allowed: give one of int8, fp8"),
        ({"weights": "int9"}, "weights='int9' is not allowed"),
        ({"kv_cache_bytes": -1}, "kv_cache_bytes=-1 is not allowed: bytes, 0 or more"),
        ({"kv_cache": 1}, "engine_options has 'kv_cache', which is none: give dtype, "),
        ({"device": "cpu"}, "engine_options has 'device', which is none"),
    ],
)
def test_options_that_are_none_are_told_when_a_memory_is_opened(
    checkpoint: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInputError) as told:
        VisualMemory.open("memory://", model=checkpoint, engine_options=options)
    assert said in str(told.value)


@pytest.mark.parametrize("name", ["tensorrt", "vllm+ftp://host", "ftp://host"])
def test_an_engine_that_is_none_is_told_when_a_memory_is_opened(
    checkpoint: Path, name: str
) -> None:
    with pytest.raises(InvalidInputError, match="is not known: give 'torch'"):
        VisualMemory.open("memory://", model=checkpoint, engine=name)


def test_the_environment_names_the_engine(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIST2_ENGINE", "abacus")
    with pytest.raises(InvalidInputError, match="engine='abacus' is not known"):
        VisualMemory.open("memory://", model=checkpoint)
    VisualMemory.open("memory://", model=checkpoint, engine="torch").close()


@pytest.mark.parametrize("asked", [{"engine": "torch"}, {"engine_options": {"dtype": "float32"}}])
def test_an_engine_that_was_made_takes_no_options(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="is chosen where an engine is made"):
        VisualMemory.open("memory://", model=PlainEngine(), **asked)


def test_options_reach_the_engine(checkpoint: Path) -> None:
    options = {"dtype": "bfloat16", "kv_cache_bytes": 0}
    with VisualMemory.open(
        "memory://", model=checkpoint, tensors_dtype="int8", device="cpu", engine_options=options
    ) as memory:
        engine = memory.engine
        assert isinstance(engine, TorchEngine)
        assert engine.model.dtype == torch.bfloat16
        assert engine.options.kv_cache_bytes == 0
        assert engine.spec.tensors == TensorFormat("int8")
        assert engine.device == torch.device("cpu")
        tell(memory.session("a"))


def test_what_is_computed_in_another_precision_has_another_fingerprint(checkpoint: Path) -> None:
    exact, rounded = (
        open_engine(checkpoint, device="cpu", options=EngineOptions(dtype=dtype)).spec
        for dtype in ("float32", "bfloat16")
    )
    assert exact.fingerprint != rounded.fingerprint
    assert exact.kv_bytes_per_token == 2 * rounded.kv_bytes_per_token


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"options": EngineOptions(kv_dtype="int8")}, "kv_dtype='int8' is for VIST2 checkpoints"),
        ({"options": EngineOptions(weights="int8")}, "weights='int8' is for VIST2 checkpoints"),
        ({"options": EngineOptions(compile=True)}, "compile=True is for VIST2 checkpoints"),
    ],
)
def test_stock_models_refuse_what_they_cannot_honour_in_this_process(
    tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_vl"}')
    with pytest.raises(InvalidInputError) as told:
        open_engine(tmp_path, **asked)
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("kind", "vllm", "said"),
    [
        ("gemma3", {}, "vLLM takes no encoded images for Gemma 3"),
        ("qwen2_vl", {"lora": "folder"}, "merge the adapter into"),
    ],
)
def test_stock_models_say_what_vllm_cannot_do_for_them(
    tmp_path: Path, kind: str, vllm: dict[str, Any], said: str
) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    with pytest.raises(InvalidInputError, match=said):
        open_engine(tmp_path, engine="vllm+http://host", options=EngineOptions(vllm=vllm))
