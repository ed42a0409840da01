"""What a server tells Prometheus. Names no session, no key and nothing that was said."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from vist2_memory.serving.gate import Gate
from vist2_memory.tracing import Ended
from vist2_memory.types import Finished

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The figures of one server."""

    def __init__(self, gate: Gate) -> None:
        self.registry = registry = CollectorRegistry()

        def histogram(name: str, help: str, *labels: str) -> Histogram:
            return Histogram(name, help, labels, registry=registry, buckets=_SECONDS)

        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(name, help, labels, registry=registry)

        self._requests = histogram(
            "vist2_request_seconds", "Time of requests", "method", "route", "status"
        )
        self._first = histogram("vist2_first_token_seconds", "From a request to its first token")
        self._queued = histogram("vist2_queue_seconds", "Wait for a turn at the model")
        self._stages = histogram("vist2_stage_seconds", "Time of the stages of answers", "stage")
        self._tokens = counter("vist2_tokens", "Tokens of answers", "kind")
        self._answers = counter("vist2_answers", "Answers", "reason")
        self._folds = counter("vist2_folds", "Chunks folded while they were generated")
        self._degraded = counter("vist2_degraded", "Answers that had something out of the ordinary")
        self._store_up = Gauge("vist2_store_up", "Whether the store answers", registry=registry)
        waiting = Gauge("vist2_queue_length", "Requests that wait", registry=registry)
        waiting.set_function(lambda: gate.waiting)
        running = Gauge("vist2_running", "Answers being generated", registry=registry)
        running.set_function(lambda: gate.running)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request ended; ``route``: its template, not its path."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def queued(self, seconds: float) -> None:
        """A request got its turn."""
        self._queued.observe(seconds)

    def first_token(self, seconds: float) -> None:
        """A request has the first token of its answer."""
        self._first.observe(seconds)

    def answered(self, end: Finished) -> None:
        """An answer ended."""
        usage = end.usage
        counts = {
            "text": usage.prompt_text_tokens,
            "visual_hit": usage.cached_visual_tokens,
            "visual_miss": usage.visual_tokens - usage.cached_visual_tokens,
            "stood_for": usage.text_tokens,
            "generated": usage.new_tokens,
        }
        for kind, count in counts.items():
            self._tokens.labels(kind).inc(max(0, count))
        self._answers.labels(end.reason).inc()
        self._folds.inc(usage.folds)
        self._degraded.inc(bool(end.degraded))

    def store_up(self, up: bool) -> None:
        """Whether the store answered when it was last asked."""
        self._store_up.set(up)

    def observer(self, name: str, attributes: Mapping[str, Any]) -> Ended:
        """Takes the time of a stage, see ``vist2_memory.tracing``."""
        began = time.perf_counter()
        return lambda error, outcome: self._stages.labels(name).observe(time.perf_counter() - began)

    def exposition(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
