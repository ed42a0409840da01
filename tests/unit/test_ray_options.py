"""What replicas are started with; Ray itself is not loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

import ray_vist2
from ray_vist2 import ReplicaOptions


def test_all_values_may_be_text_as_on_the_command_line() -> None:
    told = {
        "store": "redis://host/0",
        "replicas": "2",
        "gpus": "0.5",
        "engine_options": '{"kv_dtype": "int8"}',
        "cors": "https://a.example,https://b.example",
    }
    options = ReplicaOptions.model_validate(told)
    assert (options.replicas, options.gpus) == (2, 0.5)
    assert options.engine_options == {"kv_dtype": "int8"}
    assert options.cors == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"store": "memory://"}, "each replica's own"),
        ({"store": "redis://h", "replicas": 3, "max_replicas": 2}, "max_replicas=2 is below"),
        ({"store": "redis://h", "replicas": 0}, "greater than or equal to 1"),
        ({"store": "redis://h", "replica": 2}, "Extra inputs"),
        ({"store": "redis://h", "engine_options": "kv"}, "engine_options"),
        ({}, "store"),
    ],
)
def test_what_is_not_allowed_is_told(told: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ReplicaOptions.model_validate(told)


def test_the_public_names() -> None:
    assert set(ray_vist2.__all__) <= set(dir(ray_vist2))
    assert ray_vist2.__all__ == ["Failure", "Ingested", "ReplicaOptions", "build_app", "ingest"]
    with pytest.raises(AttributeError, match="no attribute 'serve'"):
        ray_vist2.serve  # noqa: B018


def test_options_load_no_ray() -> None:
    code = "import sys, ray_vist2.options; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
