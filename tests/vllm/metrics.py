"""What vLLM counts of itself."""

from __future__ import annotations

import time
from typing import Any

from vllm.v1.metrics.reader import get_metrics_snapshot


def metric(name: str) -> float:
    """The sum of the metric ``name`` over its labels."""
    found: list[Any] = [one for one in get_metrics_snapshot() if one.name == name]
    assert found, f"vLLM has no metric {name}"
    return float(sum(one.value for one in found))


def prefix_hits() -> float:
    """Tokens that were found in the prefix cache since the start."""
    return metric("vllm:prefix_cache_hits")


def more_prefix_hits(before: float, wanted: float, seconds: float = 10) -> float:
    """How many more there are than ``before``, once they are ``wanted``: vLLM counts later."""
    until = time.monotonic() + seconds
    while prefix_hits() - before != wanted and time.monotonic() < until:
        time.sleep(0.1)
    return prefix_hits() - before


def waits_until_idle(engine: Any, seconds: float = 30) -> bool:
    """Whether vLLM comes to hold no request."""
    until = time.monotonic() + seconds
    processor = engine.transport.llm.output_processor
    while processor.has_unfinished_requests() and time.monotonic() < until:
        time.sleep(0.2)
    return not processor.has_unfinished_requests()
