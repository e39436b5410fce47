"""An OpenTelemetry collector that keeps the spans it receives, as OTLP over HTTP."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span that a process exported. Its ids are in hex."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str


@dataclass
class Collector:
    """The spans received so far."""

    url: str
    spans: list[ReceivedSpan] = field(default_factory=list)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of a process that exports to this collector, five times per second."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}

    def find_names(self, trace_id: str) -> set[str]:
        """Return the names of the spans of a trace."""
        return {span.name for span in list(self.spans) if span.trace_id == trace_id}

    def find_paths(self, trace_id: str, root_id: str, name: str) -> list[list[str]]:
        """Return the service and name of each span from a client's span to each span of this name.

        A path that lacks a span is left out: the span may arrive later.
        """
        spans = {span.span_id: span for span in list(self.spans) if span.trace_id == trace_id}
        paths = []
        for last in spans.values():
            if last.name == name:
                path = [last]
                while path[0].parent_id in spans:
                    path.insert(0, spans[path[0].parent_id])
                if path[0].parent_id == root_id:
                    paths.append([f"{span.service}: {span.name}" for span in path])
        return paths

    def add(self, body: bytes) -> None:
        """Keep the spans of an export request."""
        for exported in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = {
                item.key: item.value.string_value for item in exported.resource.attributes
            }
            self.spans += [
                ReceivedSpan(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    attributes["service.name"],
                )
                for scope in exported.scope_spans
                for span in scope.spans
            ]


@contextmanager
def run_collector() -> Iterator[Collector]:
    """Run a collector on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.add(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
