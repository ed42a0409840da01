"""``--engine-option``: from what is typed to what a memory is opened with."""

from __future__ import annotations

from typing import Any

import pytest

from vist2_memory import InvalidInputError
from vist2_memory.cli.engines import read_options


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (None, None),
        ([], None),
        (["kv_dtype=int8"], {"kv_dtype": "int8"}),
        (["kv_cache_bytes=0", "compile=true"], {"kv_cache_bytes": 0, "compile": True}),
        (
            ["vllm.max_model_len=4096", "vllm.limits={}", "dtype=float32"],
            {"vllm": {"max_model_len": 4096, "limits": {}}, "dtype": "float32"},
        ),
        (["vllm.model=a=b"], {"vllm": {"model": "a=b"}}),
    ],
)
def test_options(given: list[str] | None, options: dict[str, Any] | None) -> None:
    assert read_options(given) == options


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["kv_dtype"], "'kv_dtype' is none: give NAME=VALUE"),
        (["=int8"], "is none: give NAME=VALUE"),
        (["vllm.=1"], "is none: give NAME=VALUE"),
        (["dtype=float32", "dtype=bfloat16"], "dtype is given twice"),
        (["vllm=1", "vllm.model=a"], "vllm has a value already"),
    ],
)
def test_what_is_no_option(given: list[str], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read_options(given)
