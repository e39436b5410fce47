"""Request metrics."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from coach_common.telemetry import RequestMetrics

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def test_request_metrics_match_prometheus_counter_and_histogram() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    answered = RequestMetrics()
    ours.register(answered)
    labels = ["service", "method", "route"]
    counter = Counter(
        "coach_http_requests", "Requests by response status.", [*labels, "status"], registry=theirs
    )
    histogram = Histogram(
        "coach_http_request_duration_seconds", "Duration of requests.", labels,
        buckets=_BUCKETS, registry=theirs,
    )  # fmt: skip

    for method, route, status, seconds in [
        ("GET", "/sessions", 200, 0.0005), ("GET", "/sessions", 200, 0.001),
        ("GET", "/sessions", 503, 0.75), ("GET", "/sessions", 200, 3.0),
        ("POST", "/sessions", 201, 10.0), ("POST", "/sessions", 201, 60.0),
        ("any", "unmatched", 404, 0.03125),
    ]:  # fmt: skip
        answered.observe("gateway", method, route, status, seconds)
        counter.labels("gateway", method, route, str(status)).inc()
        histogram.labels("gateway", method, route).observe(seconds)

    def exposition(registry: CollectorRegistry) -> set[str]:
        lines = generate_latest(registry).decode().splitlines()
        return {line for line in lines if "_created" not in line}

    assert exposition(ours) == exposition(theirs)
    assert len(exposition(ours)) == 4 + 4 + 3 * 16
