"""Forwarded headers, client addresses and rate limit windows."""

import pytest

from coach_common.client_address import TrustedProxies
from coach_common.errors import (
    BadRequest,
    PayloadTooLarge,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)
from coach_gateway.limits import RateLimits, Shares
from coach_gateway.request_head import RequestHead


def test_internal_and_hop_by_hop_headers_are_stripped() -> None:
    headers = [
        (b"authorization", b"Bearer x"),
        (b"content-type", b"application/json"),
        (b"accept", b"*/*"),
        (b"connection", b"keep-alive, x-secret, Authorization"),
        (b"x-secret", b"1"),
        (b"x-user-id", b"1"),
        (b"x_user_id", b"1"),
        (b"x-internal-auth", b"1"),
        (b"x-forwarded-user", b"1"),
        (b"x-forwarded-for", b"1"),
        (b"forwarded", b"for=1"),
        (b"x-real-ip", b"1"),
        (b"x-original-url", b"/internal"),
        (b"x-coach-public-host", b"evil"),
        (b"x-gateway-token", b"guess"),
        (b"x-http-method-override", b"DELETE"),
        (b"te", b"trailers"),
        (b"upgrade", b"h2c"),
        (b"host", b"evil"),
    ]

    assert RequestHead.from_headers(headers).forwarded == [
        (b"authorization", b"Bearer x"),
        (b"content-type", b"application/json"),
        (b"accept", b"*/*"),
    ]


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([(b"content-length", b"1"), (b"content-length", b"2")], BadRequest),
        ([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], BadRequest),
        ([(b"content-length", b"-1")], BadRequest),
        ([(b"content-length", b"11")], PayloadTooLarge),
        ([(b"content-encoding", b"gzip")], UnsupportedMediaType),
        ([(b"transfer-encoding", b"gzip, chunked")], BadRequest),
        ([(b"host", b"a"), (b"host", b"b")], BadRequest),
        ([(b"authorization", b"a"), (b"authorization", b"b")], BadRequest),
    ],
)
def test_ambiguous_or_oversized_requests_are_rejected(
    headers: list[tuple[bytes, bytes]], error: type[Exception]
) -> None:
    host = [] if headers[0][0] == b"host" else [(b"host", b"x")]
    head = RequestHead.from_headers(host + headers)
    with pytest.raises(error):
        head.ensure_unambiguous("1.1")
        head.body_length(10)


def test_host_is_required_in_http_1_1_only() -> None:
    RequestHead.from_headers([]).ensure_unambiguous("1.0")
    with pytest.raises(BadRequest):
        RequestHead.from_headers([]).ensure_unambiguous("1.1")


def test_forwarded_address_is_used_from_trusted_proxies_only() -> None:
    untrusted, trusted = TrustedProxies([]), TrustedProxies(["10.0.0.0/8"])

    assert untrusted.client_address("1.2.3.4", "6.6.6.6") == "1.2.3.4"
    assert trusted.client_address("1.2.3.4", "6.6.6.6") == "1.2.3.4"
    assert trusted.client_address("10.0.0.1", "9.9.9.9, 6.6.6.6, 10.0.0.7") == "6.6.6.6"
    assert trusted.client_address("10.0.0.1", "nonsense") == "10.0.0.1"
    assert trusted.client_address("10.0.0.1", None) == "10.0.0.1"


def test_exhausted_window_reports_its_reset_time() -> None:
    limits = RateLimits({"user": 3})
    left = [limits.hit("user", "a").remaining for _ in range(3)]

    assert left == [2, 1, 0]
    assert limits.hit("user", "b").remaining == 2
    with pytest.raises(TooManyRequests) as refused:
        limits.hit("user", "a")
    assert 1 <= refused.value.retry_after_seconds <= 61


def test_renewed_window_is_evicted_after_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("coach_gateway.limits._MAX_KEYS", 2)
    monkeypatch.setattr("coach_gateway.limits.time.monotonic", lambda: now)
    limits = RateLimits({"user": 10})
    limits.hit("user", "busy")
    limits.hit("user", "other")
    now = 61.0
    limits.hit("user", "busy")
    limits.hit("user", "new")

    assert limits.hit("user", "busy").remaining == 8


def test_shares_bound_each_client_and_the_total() -> None:
    shares = Shares(total=5, per_client=3)
    shares.take("a", 3)
    with pytest.raises(TooManyRequests):
        shares.take("a")
    shares.take("b", 2)
    with pytest.raises(Unavailable):
        shares.take("c")
    shares.free("a", 3)

    shares.take("c", 3)
