"""From our options to vLLM's own arguments, or to a refusal in words."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from vist2_memory.engine.options import KV_CACHE_BYTES, EngineOptions
from vist2_memory.errors import InvalidInputError
from vist2_memory.types import GenerationParams

LORA = "lora"
"""The option that names the folder of an adapter."""
CPU_BLOCK = 32
"""Tokens a block of the KV cache on a CPU, the least that its kernels take: visual prefixes, which
grow by a chunk's visual tokens, fill small blocks sooner than vLLM's own 128."""
GPU_SHARE = 0.85
"""Of a GPU's memory for vLLM; the rest is the tower's."""
HOTTEST = 2.0
"""The highest temperature that vLLM takes."""
EMBEDDINGS: Mapping[str, Any] = {"skip_tokenizer_init": True, "enable_prompt_embeds": True}
"""Arguments of an engine that reads embeddings."""
_OURS = ("model", "tokenizer", "hf_config_path")
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_SERVER = ("model", "timeout")


def check_installed() -> None:
    """Raise ``InvalidInputError`` unless vLLM is here, and finds this package."""
    if importlib.util.find_spec("vllm") is None:
        raise InvalidInputError(
            "engine='vllm' needs vLLM, which is not installed: install it as docs/vllm.md says, or "
            "name a server, as engine='vllm+http://host:8000'"
        )
    found = any(point.name == "vist2" for point in entry_points(group="vllm.general_plugins"))
    wanted = os.environ.get("VLLM_PLUGINS")
    if not found or (wanted is not None and "vist2" not in wanted.split(",")):
        reason = "VLLM_PLUGINS leaves 'vist2' out" if found else "vist2-memory is not installed"
        raise InvalidInputError(
            f"vLLM's processes cannot find this package: {reason}; install it with pip, and let "
            "VLLM_PLUGINS name vist2 if it is set"
        )


def engine_arguments(
    folder: Path,
    options: EngineOptions,
    *,
    reads: Mapping[str, Any],
    positions: int,
    token_bytes: int,
    on_cpu: bool,
) -> dict[str, Any]:
    """Arguments of ``vllm.AsyncEngineArgs`` for the checkpoint in ``folder``.

    ``reads``: those that say what it reads, as :data:`EMBEDDINGS`; ``positions``: tokens that the
    model reads; ``token_bytes``: of each in the KV cache; ``on_cpu``: whether this vLLM computes on
    a CPU. Raises ``InvalidInputError``.
    """
    own = dict(options.vllm)
    lora = own.pop(LORA, None)
    taken = next((name for name in own if name in (*_OURS, *reads)), None)
    if taken is not None:
        raise InvalidInputError(f"vllm={{{taken!r}: ...}} is set by this engine: leave it out")
    exact = "float32" if on_cpu else "bfloat16"
    arguments: dict[str, Any] = {
        "model": str(folder),
        **reads,
        "enable_prefix_caching": options.kv_cache_bytes > 0,
        "dtype": options.dtype or exact,
        "max_model_len": positions,
        "max_logprobs": -1,
        "generation_config": "vllm",
    }
    if on_cpu:
        pool = max(options.kv_cache_bytes, positions * token_bytes)
        arguments["kv_cache_memory_bytes"] = pool
        arguments["block_size"] = CPU_BLOCK
        arguments["enforce_eager"] = not options.compile
    else:
        arguments["gpu_memory_utilization"] = GPU_SHARE
        if options.kv_cache_bytes not in (0, KV_CACHE_BYTES):
            arguments["kv_cache_memory_bytes"] = options.kv_cache_bytes
    return arguments | _rounded(options, on_cpu) | _adapted(lora) | own


def refuse_heat(params: GenerationParams) -> None:
    """Raise ``InvalidInputError`` for a temperature that vLLM does not take."""
    if params.temperature > HOTTEST:
        raise InvalidInputError(
            f"temperature={params.temperature:g} is more than vLLM takes: give at most "
            f"{HOTTEST:g}, or take engine='torch'"
        )


def server_options(options: EngineOptions) -> dict[str, Any]:
    """``model`` and ``timeout`` out of ``options``; raises ``InvalidInputError`` for what only the
    server itself can be told."""
    told: dict[str, tuple[Any, Any, str]] = {
        "kv_dtype": (options.kv_dtype, None, "--kv-cache-dtype"),
        "weights": (options.weights, None, "--quantization"),
        "compile": (options.compile, False, "without --enforce-eager"),
        "kv_cache_bytes": (options.kv_cache_bytes, KV_CACHE_BYTES, "--kv-cache-memory-bytes"),
    }
    for name, (value, default, flag) in told.items():
        if value != default:
            raise InvalidInputError(
                f"{name}={value!r} cannot be asked of a vLLM server: start it with {flag}"
            )
    unknown = next((name for name in options.vllm if name not in _SERVER), None)
    if unknown is not None:
        raise InvalidInputError(
            f"vllm={{{unknown!r}: ...}} cannot be asked of a vLLM server, only {', '.join(_SERVER)}"
            ": give it to the server where it is started"
        )
    return dict(options.vllm)


def _rounded(options: EngineOptions, on_cpu: bool) -> dict[str, Any]:
    arguments = {}
    if options.kv_dtype is not None:
        if on_cpu and options.kv_dtype == "int8":
            raise InvalidInputError(
                "kv_dtype='int8' is not to be had from vLLM on a CPU: give 'fp8', or engine='torch'"
            )
        kinds = {"fp8": "fp8", "int8": "int8_per_token_head"}
        arguments["kv_cache_dtype"] = kinds[options.kv_dtype]
    if options.weights is not None:
        if on_cpu or options.weights != "fp8":
            raise InvalidInputError(
                f"weights={options.weights!r} is not rounded by vLLM as it loads"
                f"{' on a CPU' if on_cpu else ''}: take engine='torch', or a method of vLLM's as "
                "in vllm={'quantization': NAME}"
            )
        arguments["quantization"] = options.weights
    return arguments


def _adapted(lora: Any) -> dict[str, Any]:
    """Arguments for the adapter in the folder ``lora``, if there is one."""
    if lora is None:
        return {}
    config = Path(str(lora)) / "adapter_config.json"
    try:
        rank = int(json.loads(config.read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"lora={str(lora)!r} is no folder of an adapter as peft writes it: {error!r}"
        ) from error
    room = next((known for known in _RANKS if known >= rank), rank)
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}
