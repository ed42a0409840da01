"""The engines on vLLM, with the bundled model: run by `make test-vllm`, in its own environment.

Where vLLM is not installed, as under `make test`, nothing here is collected.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine

collect_ignore_glob = [] if importlib.util.find_spec("vllm") else ["test_*.py"]

os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
POOL = 2**28


@pytest.fixture(scope="session")
def bundled() -> Path:
    return find_model("vist2-tiny")


@pytest.fixture(scope="session")
def reference(bundled: Path) -> TorchEngine:
    """The in-process engine, which the others must agree with; it weighs one place, as they do."""
    return TorchEngine(bundled, device="cpu", options=EngineOptions(places=1))


@pytest.fixture(scope="session")
def vllm_engine(bundled: Path) -> Iterator[object]:
    """One engine for the whole run: it takes half a minute to start."""
    from vist2_memory.engine.vllm.engine import VLLMEngine

    engine = VLLMEngine(bundled, options=EngineOptions(kv_cache_bytes=POOL))
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The processors are vLLM's; many sessions with threads of torch's own would stand in line."""
    torch.set_num_threads(1)
