"""Metrics of every service, and the W3C trace context that requests and events carry."""

import asyncio
import operator
import random
import re
from bisect import bisect_left
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import accumulate

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

current_traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
current_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class RequestMetrics(Collector):
    """Number and duration of requests.

    Kept in one list per label set. prometheus_client's counter and histogram take three locks per
    request, which is a twelfth of the gateway's time for a request.
    """

    _LABELS = ("service", "method", "route")

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str, int], list[float]] = {}
        """By labels and status: the number of requests per bucket, then their seconds in total."""

    def observe(self, service: str, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        labels = (service, method, route, status)
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = [0.0] * (len(_LATENCY_BUCKETS) + 2)
        row[bisect_left(_LATENCY_BUCKETS, seconds)] += 1
        row[-1] += seconds

    def collect(self) -> Iterable[Metric]:
        """Return the metrics `coach_http_requests` and `coach_http_request_duration_seconds`."""
        requests = CounterMetricFamily(
            "coach_http_requests", "Requests by response status.", labels=[*self._LABELS, "status"]
        )
        times = HistogramMetricFamily(
            "coach_http_request_duration_seconds", "Duration of requests.", labels=self._LABELS
        )
        by_route: dict[tuple[str, str, str], list[float]] = {}
        for (service, method, route, status), row in self._rows.items():
            requests.add_metric([service, method, route, str(status)], sum(row[:-1]))
            totals = by_route.setdefault((service, method, route), [0.0] * len(row))
            totals[:] = map(operator.add, totals, row)
        for labels, row in by_route.items():
            buckets = zip([*map(str, _LATENCY_BUCKETS), "+Inf"], accumulate(row[:-1]), strict=True)
            times.add_metric(labels, list(buckets), row[-1])
        return (requests, times)


REQUEST_METRICS = RequestMetrics()
REGISTRY.register(REQUEST_METRICS)

EVENTS_PUBLISHED = Counter(
    "coach_events_published", "Events confirmed by the broker.", ["service", "type"]
)
EVENTS_HANDLED = Counter("coach_events_handled", "Messages by outcome.", ["consumer", "outcome"])
EVENT_HANDLING_SECONDS = Histogram(
    "coach_event_handling_duration_seconds",
    "Time to process a message.",
    ["consumer"],
    buckets=_LATENCY_BUCKETS,
)
OUTBOX_ROWS = Gauge("coach_outbox_rows", "Outbox rows waiting to be published.", ["service"])


async def serve_metrics(host: str, port: int) -> None:
    """Serve all metrics on a separate port until cancelled. The requests run in a thread."""
    server, thread = start_http_server(port, addr=host)
    try:
        await asyncio.Event().wait()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def random_hex(size_bytes: int) -> str:
    """Return random bytes in hex for an identifier. Not for secrets."""
    bits = random.getrandbits(8 * size_bytes)
    return f"{bits:0{2 * size_bytes}x}"


def sanitize_request_id(requested: bytes) -> str:
    """Return a client's request id if it is safe to log, else a new one."""
    return requested.decode() if requested and _REQUEST_ID.fullmatch(requested) else random_hex(8)


def new_traceparent() -> str:
    """Return a new sampled W3C traceparent."""
    ids = random_hex(24)
    return f"00-{ids[:32]}-{ids[32:]}-01"


def valid_traceparent(traceparent: str | None) -> str | None:
    """Return `traceparent`, or None if it is missing or malformed."""
    return traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None


def continue_trace(traceparent: str | None) -> str:
    """Return a child of `traceparent`, or a new trace if it is missing or malformed."""
    if not traceparent or not _TRACEPARENT.fullmatch(traceparent):
        return new_traceparent()
    version, trace_id, _, flags = traceparent.split("-")
    return f"{version}-{trace_id}-{random_hex(8)}-{flags}"


def record_request(service: str, method: str, route: str, status: int, seconds: float) -> None:
    """Count a request. `route` is a path template, or "unmatched"."""
    REQUEST_METRICS.observe(
        service, method if route != "unmatched" else "any", route, status, seconds
    )
