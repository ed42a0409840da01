"""What vLLM counts of itself."""

from __future__ import annotations

import time
from typing import Any

from vllm.v1.metrics.loggers import PrometheusStatLogger


def prefix_hits(transport: Any) -> float:
    """Tokens that ``transport``'s engine found in its prefix cache since its start.

    By its own counters: those that are registered in the process are of the engine begun last.
    """
    [counters] = [
        one.counter_prefix_cache_hits
        for one in transport.llm.logger_manager.stat_loggers
        if isinstance(one, PrometheusStatLogger)
    ]
    return float(sum(counter._value.get() for counter in counters.values()))


def more_prefix_hits(transport: Any, before: float, wanted: float, seconds: float = 10) -> float:
    """How many more there are than ``before``, once they are ``wanted``: vLLM counts later."""
    until = time.monotonic() + seconds
    while prefix_hits(transport) - before != wanted and time.monotonic() < until:
        time.sleep(0.1)
    return prefix_hits(transport) - before


def waits_until_idle(engine: Any, seconds: float = 30) -> bool:
    """Whether vLLM comes to hold no request."""
    until = time.monotonic() + seconds
    processor = engine.transport.llm.output_processor
    while processor.has_unfinished_requests() and time.monotonic() < until:
        time.sleep(0.2)
    return not processor.has_unfinished_requests()
