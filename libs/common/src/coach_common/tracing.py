"""Spans of one trace per client request, exported to an OpenTelemetry collector if one is set.

The trace context is W3C's `traceparent`. Requests, events and jobs carry it whether spans are
exported or not. The OpenTelemetry packages (extra `otel`) are imported by `configure` only.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING

from coach_common import logs, telemetry
from coach_common.config import SettingsError

if TYPE_CHECKING:  # Imported at run time only if spans are exported.
    from opentelemetry.sdk.trace import SpanProcessor

    from coach_common.span_export import SpanFactory

log = logs.get_logger(__name__)

Attributes = Mapping[str, str | int | float | bool]


class Kind(Enum):
    """The kind of a span, as OpenTelemetry names it."""

    SERVER = auto()
    CLIENT = auto()
    PRODUCER = auto()
    CONSUMER = auto()
    INTERNAL = auto()


class Span:
    """A span in progress. This class has a trace context and is not exported."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def end(self, attributes: Attributes | None = None, *, name: str = "", error: str = "") -> None:
        """End the span. `name` replaces its name; `error` marks it as failed."""


_factory: "SpanFactory | None" = None


def is_exporting() -> bool:
    """Return whether spans are exported."""
    return _factory is not None


def configure(endpoint: str | None) -> None:
    """Export the spans of this process to a collector, as OTLP over HTTP. None exports nothing.

    Raises:
        SettingsError: If the packages of the extra `otel` are not installed.
    """
    if endpoint is None:
        return
    try:
        from coach_common.span_export import otlp_processor
    except ImportError:
        raise SettingsError(
            "setting OTEL_EXPORTER_OTLP_ENDPOINT: needs the packages of coach-common[otel]"
        ) from None
    use_processor(otlp_processor(endpoint))
    log.info("tracing.started")


def use_processor(processor: "SpanProcessor") -> None:
    """Export spans through an OpenTelemetry span processor."""
    from coach_common.span_export import SpanFactory

    global _factory
    _factory = SpanFactory(processor)


def shutdown() -> None:
    """Export the spans that have ended, for at most a few seconds, and stop exporting."""
    global _factory
    factory, _factory = _factory, None
    if factory is not None:
        factory.shutdown()


def start_span(
    service: str,
    name: str,
    kind: Kind,
    *,
    parent: str | None,
    attributes: Attributes | None = None,
) -> Span:
    """Start a span as a child of the traceparent `parent`, or of a new trace if it is invalid."""
    if _factory is None:
        return Span(telemetry.continue_trace(parent))
    return _factory.start(service, name, kind, telemetry.valid_traceparent(parent), attributes)


def end_request(span: Span, method: str, route: str, status: int) -> None:
    """End the span of a request. `route` is a path template, or "unmatched"."""
    span.end(
        {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
        },
        name=f"{method} {route}",
        error=str(status) if status >= 500 else "",
    )


@contextmanager
def span(
    service: str,
    name: str,
    kind: Kind = Kind.INTERNAL,
    *,
    parent: str | None = None,
    attributes: Attributes | None = None,
) -> Iterator[Span]:
    """Run the block in a span, which is the current trace context meanwhile.

    Without `parent` it continues the current trace context.
    """
    current = start_span(
        service,
        name,
        kind,
        parent=parent if parent is not None else telemetry.current_traceparent.get(),
        attributes=attributes,
    )
    token = telemetry.current_traceparent.set(current.traceparent)
    error = ""
    try:
        yield current
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        current.end(error=error)
        telemetry.current_traceparent.reset(token)
