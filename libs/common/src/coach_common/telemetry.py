"""Metrics that every service has, and the W3C trace context that events carry along."""

import random
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import lru_cache

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

trace: ContextVar[str | None] = ContextVar("traceparent", default=None)
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_uncounted: list[tuple[tuple[str, str, str, int], float]] = []
_UNCOUNTED_AT_MOST = 64


class _Uncounted(Collector):
    """Counts what was not counted yet before the metrics below are read: it is registered first."""

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        _count()
        return ()


REGISTRY.register(_Uncounted())

HTTP_REQUESTS = Counter(
    "coach_http_requests", "Answered requests.", ["service", "method", "route", "status"]
)
HTTP_SECONDS = Histogram(
    "coach_http_request_seconds",
    "Time to answer a request.",
    ["service", "method", "route"],
    buckets=_LATENCY,
)
EVENTS_PUBLISHED = Counter(
    "coach_events_published", "Events the transport confirmed.", ["service", "type"]
)
EVENTS_HANDLED = Counter("coach_events_handled", "Deliveries by outcome.", ["consumer", "outcome"])
EVENT_SECONDS = Histogram(
    "coach_event_handling_seconds", "Time to handle a delivery.", ["consumer"], buckets=_LATENCY
)
OUTBOX_ROWS = Gauge("coach_outbox_rows", "Rows that the last relay pass left.", ["service"])


def random_hex(size: int) -> str:
    """Return `size` random bytes in hex, to tell things apart: nothing to keep a secret with."""
    bits = random.getrandbits(8 * size)  # nosec B311 # an id, no secret
    return bits.to_bytes(size).hex()


def fit_request_id(given: bytes) -> str:
    """Return a client's request id where it is fit to be logged, else a new one."""
    return given.decode() if given and _REQUEST_ID.fullmatch(given) else random_hex(8)


def new_traceparent() -> str:
    """Return a new sampled W3C traceparent."""
    ids = random_hex(24)
    return f"00-{ids[:32]}-{ids[32:]}-01"


def continue_trace(traceparent: str | None) -> str:
    """Return a child of `traceparent`, or a new trace where it is absent or malformed."""
    if not traceparent or not _TRACEPARENT.fullmatch(traceparent):
        return new_traceparent()
    version, trace_id, _, flags = traceparent.split("-")
    return f"{version}-{trace_id}-{random_hex(8)}-{flags}"


def count_request(service: str, method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request; `route` is a template, "unmatched" where there was none.

    Several are counted at once, at the latest when metrics are read: the processor does the same
    thing over and over faster than between other things.
    """
    method = method if route != "unmatched" else "any"
    _uncounted.append(((service, method, route, status), seconds))
    if len(_uncounted) >= _UNCOUNTED_AT_MOST:
        _count()


def _count() -> None:
    for labels, seconds in _uncounted:
        count, observe = _of_route(*labels)
        count()
        observe(seconds)
    _uncounted.clear()


@lru_cache(maxsize=1024)
def _of_route(
    service: str, method: str, route: str, status: int
) -> tuple[Callable[[], None], Callable[[float], None]]:
    """Looking a labelled metric up costs more than counting."""
    return (
        HTTP_REQUESTS.labels(service, method, route, str(status)).inc,
        HTTP_SECONDS.labels(service, method, route).observe,
    )
