"""From options to vLLM's arguments, without vLLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vist2_memory import InvalidInputError, VisualMemory
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.vllm.arguments import EMBEDDINGS, engine_arguments, server_options
from vist2_memory.engine.vllm.opening import device_for


def arguments(options: EngineOptions, on_cpu: bool = True) -> dict[str, Any]:
    return engine_arguments(
        Path("model"),
        options,
        reads=EMBEDDINGS,
        positions=8192,
        token_bytes=1000,
        on_cpu=on_cpu,
    )


def test_a_cpu_computes_exactly_and_holds_at_least_one_whole_context() -> None:
    found = arguments(EngineOptions(kv_cache_bytes=1))
    assert found["dtype"] == "float32"
    assert found["kv_cache_memory_bytes"] == 8192 * 1000
    assert found["max_model_len"] == 8192
    assert found["enable_prefix_caching"]
    assert found["enforce_eager"]


def test_a_gpu_leaves_memory_to_the_tower() -> None:
    found = arguments(EngineOptions(), on_cpu=False)
    assert found["dtype"] == "bfloat16"
    assert found["gpu_memory_utilization"] < 0.9
    assert "kv_cache_memory_bytes" not in found


def test_options_have_their_meaning() -> None:
    found = arguments(
        EngineOptions(kv_cache_bytes=0, kv_dtype="fp8", dtype="bfloat16", compile=True)
    )
    assert not found["enable_prefix_caching"]
    assert found["kv_cache_dtype"] == "fp8"
    assert found["dtype"] == "bfloat16"
    assert not found["enforce_eager"]


def test_vllms_own_arguments_come_last() -> None:
    own = {"tensor_parallel_size": 2, "block_size": 64}
    found = arguments(EngineOptions(vllm=own))
    assert found["tensor_parallel_size"] == 2
    assert found["block_size"] == 64


def test_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 12}))
    found = arguments(EngineOptions(vllm={"lora": str(tmp_path)}))
    assert found["enable_lora"]
    assert found["max_lora_rank"] == 16
    assert "lora" not in found
    with pytest.raises(InvalidInputError, match="is no folder of an adapter"):
        arguments(EngineOptions(vllm={"lora": str(tmp_path / "none")}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (EngineOptions(kv_dtype="int8"), "kv_dtype='int8' is not to be had"),
        (EngineOptions(weights="int4"), "weights='int4' is not rounded by vLLM"),
        (EngineOptions(vllm={"model": "other"}), "is set by this engine"),
    ],
)
def test_what_cannot_be_had_is_refused(options: EngineOptions, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        arguments(options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (EngineOptions(kv_dtype="fp8"), "start it with --kv-cache-dtype"),
        (EngineOptions(kv_cache_bytes=5), "start it with --kv-cache-memory-bytes"),
        (EngineOptions(vllm={"tensor_parallel_size": 2}), "only model, timeout"),
    ],
)
def test_what_only_a_server_can_be_told_is_refused(options: EngineOptions, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        server_options(options)


@pytest.mark.parametrize("where", ["vllm", "vllm+http://127.0.0.1:1"])
def test_several_places_are_not_weighed_by_vllm(where: str) -> None:
    with pytest.raises(InvalidInputError, match="places=4 is not offered with vLLM"):
        device_for(where, EngineOptions(places=4))
    assert device_for("vllm+http://127.0.0.1:1", EngineOptions(places=1, device="cpu"))


def test_a_servers_options() -> None:
    assert server_options(EngineOptions(vllm={"model": "m", "timeout": 3}))["model"] == "m"


def test_options_of_vllm_are_refused_by_the_in_process_engine() -> None:
    options = {"vllm": {"tensor_parallel_size": 2}}
    with (
        VisualMemory.open("memory://", engine="torch", engine_options=options) as memory,
        pytest.raises(InvalidInputError, match="needs engine='vllm'"),
    ):
        _ = memory.engine
