"""Traces of a server: what they name, what they never name, and where they go."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.support.serving import Served, chat
from vist2_memory.errors import InvalidInputError
from vist2_memory.serving import telemetry
from vist2_memory.serving.app import create_app
from vist2_memory.types import Finished, Usage

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Traced(Served):
    """A server whose spans are kept here."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.app = create_app(self.tenants, self.settings, telemetry.Telemetry(provider))

    def spans(self) -> dict[str, ReadableSpan]:
        """Those that ended, by name; the last one of each."""
        return {span.name: span for span in self._kept.get_finished_spans()}

    def written(self) -> str:
        """All that a collector would be sent."""
        return "".join(span.to_json() for span in self._kept.get_finished_spans())


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_traced_below_the_span_of_its_client(stream: bool) -> None:
    served = Traced()
    async with served.client(traceparent=f"00-{TRACE}-{PARENT}-01") as client:
        body = chat("My cat is called Miso.", "user-42", stream=stream)
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
    spans = served.spans()
    request = spans["POST /v1/chat/completions"]
    answer = spans[f"chat {served.engine.spec.model}"]
    assert request.kind is SpanKind.SERVER
    assert request.parent is not None
    assert f"{request.parent.trace_id:032x}-{request.parent.span_id:016x}" == f"{TRACE}-{PARENT}"
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert answer.parent is not None
    assert answer.parent.span_id == request.context.span_id
    assert answer.attributes is not None
    assert answer.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    for stage in ("store", "generate"):
        assert (above := spans[stage].parent) is not None
        assert above.span_id == answer.context.span_id
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}


def test_an_answer_is_told_by_what_it_read_and_said() -> None:
    served = Traced()
    usage = Usage(50, 10, cached_visual_tokens=8, prompt_text_tokens=7, new_tokens=5, folds=1)
    with served.app.state.vist2.telemetry.answer("tiny") as span:
        telemetry.tell_answer(span, Finished("Well,", "length", usage, degraded=("evicted",)))
    told = served.spans()["chat tiny"].attributes
    assert told is not None
    assert told["gen_ai.usage.input_tokens"] == 17
    assert told["gen_ai.usage.output_tokens"] == 5
    assert told["vist2.visual_tokens_stored"] == 8
    assert (told["vist2.folds"], told["vist2.degraded"]) == (1, 1)


async def test_no_words_keys_or_names_of_sessions_are_traced() -> None:
    served = Traced()
    async with served.client() as client:
        await client.post("/v1/chat/completions", json=chat("It is Zugspitze.", "user-42"))
        await client.post("/v1/chat/completions", json=chat("", "user-42"))
        await client.get("/v1/sessions/user-42/messages")
        await client.get("/v1/sessions/unheard-of/export")
    written = served.written()
    assert "GET /v1/sessions/{id:path}/messages" in served.spans()
    for secret in ("Zugspitze", "user-42", "unheard-of", served.told["acme"], "acme"):
        assert secret not in written


async def test_failures_are_marked_without_their_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Traced()
    monkeypatch.setattr(served.engine, "generate", failing := Failing())
    async with served.client() as client:
        response = await client.post("/v1/chat/completions", json=chat("Hello?", "user-42"))
    assert (response.status_code, failing.asked) == (500, 1)
    spans = served.spans()
    for name in ("POST /v1/chat/completions", f"chat {served.engine.spec.model}", "generate"):
        assert spans[name].status.status_code is StatusCode.ERROR
    assert "quoting" not in served.written()


async def test_who_is_not_let_in_is_traced_too() -> None:
    served = Traced()
    async with served.client(key=None) as client:
        await client.get("/v1/sessions")
    refused = served.spans()["GET (none)"]
    assert refused.attributes is not None
    assert refused.attributes["http.response.status_code"] == 401
    assert refused.status.status_code is StatusCode.UNSET


class Failing:
    """An engine's ``generate`` that fails with a message that quotes."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, *arguments: object) -> Iterator[object]:
        self.asked += 1
        raise RuntimeError("quoting what was asked")


class Collector(BaseHTTPRequestHandler):
    """Takes what an exporter sends."""

    taken: list[ExportTraceServiceRequest] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            self.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *told: object) -> None:
        pass


def test_spans_go_to_the_collector_that_the_environment_names() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        program = (
            "from vist2_memory.serving import telemetry; telemetry.set_up()\n"
            "with telemetry.Telemetry().answer('tiny'): pass"
        )
        url = f"http://127.0.0.1:{collector.server_port}"
        subprocess.run(
            [sys.executable, "-c", program],
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": url, "PYTHONPATH": ":".join(sys.path)},
            check=True,
        )
        collector.shutdown()
        thread.join()
    (sent,) = Collector.taken
    (resource,) = sent.resource_spans
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes["service.name"] == "vist2"
    assert resource.scope_spans[0].spans[0].name == "chat tiny"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, exporter, None)
    with pytest.raises(InvalidInputError, match=r"vist2-memory\[otel\]"):
        telemetry.set_up()
