"""Traces of requests, answers and their stages, for OpenTelemetry; never what was said, nor ids.

Spans are made through OpenTelemetry's API, which does nothing until somebody sets a provider:
``vist2 serve`` does where ``OTEL_EXPORTER_OTLP_ENDPOINT`` names a collector, and
``opentelemetry-instrument`` for those who use it. Names follow its semantic conventions for HTTP
servers and for generative models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi import Request
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from vist2_memory import __version__
from vist2_memory.errors import InvalidInputError
from vist2_memory.tracing import Ended, Observer
from vist2_memory.types import Finished

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Environment variables that name a collector; either will do."""


class Telemetry:
    """The spans of one server; ``provider``: the process' own where None."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("vist2_memory", __version__, provider)

    @contextmanager
    def request(self, request: Request, id: str) -> Iterator[Span]:
        """A request called ``id``, below the client's own span where its headers name one."""
        method = request.method
        with self._tracer.start_as_current_span(
            method,
            propagate.extract(request.headers),
            SpanKind.SERVER,
            {"http.request.method": method, "vist2.request_id": id},
            record_exception=False,  # an error's message may quote what was asked
            set_status_on_exception=False,
        ) as span:
            yield span

    @contextmanager
    def answer(self, model: str) -> Iterator[Span]:
        """An answer of ``model``, below the request that it is for."""
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "vist2",
            "gen_ai.request.model": model,
        }
        # Not made the current span: an answer begins and ends in different tasks.
        span = self._tracer.start_span(f"chat {model}", attributes=attributes)
        try:
            yield span
        finally:
            span.end()

    def stages(self, answer: Span) -> Observer:
        """Makes spans of the stages of an answer, see ``vist2_memory.tracing``."""
        above = trace.set_span_in_context(answer)

        def observe(name: str, attributes: Mapping[str, Any]) -> Ended:
            span = self._tracer.start_span(name, above, attributes=_named(attributes))

            def ended(error: BaseException | None, outcome: Mapping[str, Any]) -> None:
                span.set_attributes(_named(outcome))
                if error is not None:
                    tell_failure(span, error)
                span.end()

            return ended

        return observe


def tell_request(span: Span, method: str, route: str, status: int) -> None:
    """How a request ended; ``route``: its template, not its path."""
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": status})
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def tell_answer(span: Span, end: Finished) -> None:
    """How an answer ended."""
    usage = end.usage
    span.set_attributes(
        {
            "gen_ai.response.finish_reasons": [end.reason],
            "gen_ai.usage.input_tokens": usage.visual_tokens + usage.prompt_text_tokens,
            "gen_ai.usage.output_tokens": usage.new_tokens,
            "vist2.visual_tokens": usage.visual_tokens,
            "vist2.visual_tokens_stored": usage.cached_visual_tokens,
            "vist2.text_tokens_stood_for": usage.text_tokens,
            "vist2.reused_tokens": usage.reused_tokens,
            "vist2.folds": usage.folds,
            "vist2.degraded": len(end.degraded),
        }
    )


def tell_failure(span: Span, error: BaseException) -> None:
    """By which kind of error it ended; its message may quote what was asked."""
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))


def trace_id() -> str:
    """The trace that is being written here, in hexadecimal digits; empty where none is."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


def set_up() -> None:
    """Send spans to the collector that the environment names, if it does.

    Raises ``InvalidInputError`` where it does, and the extra ``[otel]`` is missing.
    """
    endpoint = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as Provider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"{endpoint} is set, and {error.name} is missing: pip install 'vist2-memory[otel]'"
        ) from error
    # Resource.create prefers OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
    default = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "vist2"}
    provider = Provider(resource=Resource.create(default))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)  # its atexit handler sends what waits


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"vist2.{name}": value for name, value in attributes.items()}
