"""Spans through the OpenTelemetry SDK. The only module that imports it (extra `otel`)."""

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from coach_common.tracing import Attributes, Kind, Span

_EXPORT_SECONDS = 5
_KINDS = {kind: SpanKind[kind.name] for kind in Kind}


class ExportedSpan(Span):
    """A span that is exported when it ends, if its trace is sampled."""

    __slots__ = ("_span",)

    def __init__(self, span: SdkSpan) -> None:
        context = span.get_span_context()
        super().__init__(
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"
        )
        self._span = span

    def end(self, attributes: Attributes | None = None, *, name: str = "", error: str = "") -> None:
        """End the span and hand it to the processor."""
        if attributes:
            self._span.set_attributes(attributes)
        if name:
            self._span.update_name(name)
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class SpanFactory:
    """Starts spans. Each service of the process is a resource, and all share one processor."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor
        self._tracers: dict[str, Tracer] = {}

    def start(
        self,
        service: str,
        name: str,
        kind: Kind,
        parent: str | None,
        attributes: Attributes | None,
    ) -> ExportedSpan:
        """Start a span as a child of a valid traceparent, or of a new trace."""
        tracer = self._tracers.get(service) or self._add_tracer(service)
        # An empty context: the parent is what requests, events and jobs carry.
        context = Context() if parent is None else _parse(parent)
        return ExportedSpan(
            tracer.start_span(name, context=context, kind=_KINDS[kind], attributes=attributes)
        )

    def shutdown(self) -> None:
        """Export what has ended and stop."""
        self._processor.shutdown()

    def _add_tracer(self, service: str) -> Tracer:
        resource = Resource.create({SERVICE_NAME: service, "service.namespace": "genai-coach"})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        tracer = self._tracers[service] = provider.get_tracer("coach")
        return tracer


def otlp_processor(endpoint: str) -> SpanProcessor:
    """Return a processor that exports batches to a collector in a thread.

    It reads the other variables of OpenTelemetry, such as OTEL_EXPORTER_OTLP_HEADERS.
    """
    url = f"{endpoint.rstrip('/')}/v1/traces"
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=_EXPORT_SECONDS))


def _parse(traceparent: str) -> Context:
    _, trace_id, span_id, flags = traceparent.split("-")
    parent = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
