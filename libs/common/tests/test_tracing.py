"""Trace context and the spans that are exported if a collector is set."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from coach_common import telemetry, tracing

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    collected = InMemorySpanExporter()
    tracing.use_processor(SimpleSpanProcessor(collected))
    yield collected
    tracing.shutdown()


def test_trace_continues_without_a_collector() -> None:
    tracing.configure(None)

    span = tracing.start_span("media", "work", tracing.Kind.SERVER, parent=PARENT)
    span.end({"http.route": "/"}, name="other", error="Failure")

    assert not tracing.is_exporting()
    assert span.traceparent.startswith(f"00-{TRACE_ID}-") and SPAN_ID not in span.traceparent


def test_span_has_its_service_parent_kind_and_error(exporter: InMemorySpanExporter) -> None:
    with (
        pytest.raises(ValueError, match="broken"),
        tracing.span("media", "work", tracing.Kind.CONSUMER, parent=PARENT) as span,
    ):
        assert telemetry.current_traceparent.get() == span.traceparent
        raise ValueError("broken")

    (exported,) = exporter.get_finished_spans()
    assert exported.resource.attributes["service.name"] == "media"
    assert exported.parent is not None and f"{exported.parent.span_id:016x}" == SPAN_ID
    assert exported.kind is SpanKind.CONSUMER
    assert exported.attributes == {"error.type": "ValueError"}
    assert telemetry.current_traceparent.get() is None
    assert "broken" not in exported.to_json()


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "",
        "nonsense",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        "0" * 9000,
    ],
    ids=["none", "empty", "text", "zeros", "version", "long"],
)
def test_invalid_parent_starts_a_trace(exporter: InMemorySpanExporter, parent: str | None) -> None:
    tracing.start_span("auth", "work", tracing.Kind.SERVER, parent=parent).end()

    (exported,) = exporter.get_finished_spans()
    assert exported.parent is None


def test_trace_that_the_client_does_not_sample_is_not_exported(
    exporter: InMemorySpanExporter,
) -> None:
    span = tracing.start_span("auth", "work", tracing.Kind.SERVER, parent=f"{PARENT[:-1]}0")
    span.end()

    assert span.traceparent.startswith(f"00-{TRACE_ID}-") and span.traceparent.endswith("-00")
    assert exporter.get_finished_spans() == ()


def test_spans_are_exported_to_the_collector_at_shutdown() -> None:
    paths: list[str] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            tracing.configure(f"http://127.0.0.1:{collector.server_port}/")
            tracing.start_span("auth", "work", tracing.Kind.SERVER, parent=None).end()
            tracing.shutdown()
        finally:
            collector.shutdown()
            thread.join()

    assert paths == ["/v1/traces"]
    assert not tracing.is_exporting()
