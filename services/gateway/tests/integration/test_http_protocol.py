"""HTTP towards clients: limits, timeouts, pipelining and invalid requests."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coach_common.config import Settings
from coach_common.http.exchange import Exchange
from coach_common.http.protocol import HttpProtocol
from coach_common.ids import new_id
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeTransport, TokenIssuer
from coach_common.testing.harness import wait_until
from coach_gateway.app import build
from coach_gateway.config import GatewaySettings
from coach_gateway.handler import RequestRecord
from coach_gateway.request_head import RequestHead
from coach_gateway.upstream_client import Call, UpstreamRequest

LONG_BODY = b"x" * 30_000_000


class StrictGateway:
    """A gateway with low limits, and a client that sends raw bytes."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.bearer = b"Authorization: Bearer " + token.encode() + b"\r\n"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=2**26)

    async def send_raw(self, *pieces: bytes) -> bytes:
        """Send chunks and return everything until the gateway closes the connection."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(20):
            received = await reader.read(-1)
        writer.close()
        return received


@pytest.fixture
async def strict_gateway(upstreams: Any, issuer: TokenIssuer) -> AsyncIterator[StrictGateway]:
    app = upstreams.app("all", issuer)

    async def upstream_app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/upload/long":
            length = str(len(LONG_BODY)).encode()
            headers = [(b"content-length", length)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": LONG_BODY})
        else:
            await app(scope, receive, send)

    upstream_listener, gateway_listener = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{upstream_listener.getsockname()[1]}"
    service = build(
        GatewaySettings(
            auth_url=url, sessions_url=url, media_url=url, ai_url=url,
            service_token="a token between services", environment="development",
            header_timeout_seconds=0.5, body_chunk_timeout_seconds=0.5,
            write_stall_timeout_seconds=0.5, keep_alive_seconds=30,
            max_header_bytes=4_000, max_url_bytes=1_000, max_headers=20,
            max_connections=50, max_connections_per_address=45,
        ),
        FakeTransport(),
    )  # fmt: skip
    async with (
        running(
            Service("all", upstream_app, Settings(shutdown_seconds=1), FakeTransport(), deps=None),
            upstream_listener,
        ),
        running(service, gateway_listener),
    ):
        gateway = StrictGateway(gateway_listener.getsockname()[1], issuer.issue(new_id()))

        async def is_ready() -> bool:
            return b" 200 " in await gateway.send_raw(
                b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )

        await wait_until(is_ready, description="the gateway", timeout_seconds=10)
        upstreams.requests.clear()
        yield gateway


def _parse_problem(response: bytes) -> tuple[int, str]:
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert problem["request_id"].encode() in head
    assert problem["detail"]
    return int(head.split(b" ")[1]), problem["code"]


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET /" + b"x" * 2_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET /" + b"x" * 5_000, 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 5_000, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 5_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 21 + b"\r\n", 431, "headers_too_large"),
        (b"nonsense\r\n\r\n", 400, "bad_http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n", 400, "bad_http"),
        (b"", 408, "slow_request"),
        (b"GET / HTTP/1.1\r\nHost:", 408, "slow_request"),
        (b"\r\n", 408, "slow_request"),
    ],
)  # fmt: skip
async def test_invalid_or_oversized_or_slow_head_is_rejected(
    strict_gateway: StrictGateway, request_bytes: bytes, status: int, code: str
) -> None:
    assert _parse_problem(await strict_gateway.send_raw(request_bytes)) == (status, code)


async def test_incomplete_body_times_out(strict_gateway: StrictGateway) -> None:
    response = await strict_gateway.send_raw(
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )

    assert _parse_problem(response) == (400, "slow_body")


async def test_pipelined_requests_are_answered_in_order(
    strict_gateway: StrictGateway, upstreams: Any
) -> None:
    paths = [b"/sessions", b"/auth/me", b"/nothing", b"/sessions/1", b"/upload/1"]
    requests = [
        b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer + b"\r\n"
        for path in paths
    ]
    requests[-1] = requests[-1].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    responses = await strict_gateway.send_raw(b"".join(requests))

    statuses = [int(part[:3]) for part in responses.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 404, 200, 200]
    assert [request["path"] for request in upstreams.requests] == [
        "/sessions", "/auth/me", "/sessions/1", "/upload/1"
    ]  # fmt: skip


async def _send_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, dict[bytes, bytes]]:
    """Send a request; return the status and headers of the response."""
    writer.write(request)
    await writer.drain()
    async with asyncio.timeout(20):
        lines = (await reader.readuntil(b"\r\n\r\n")).splitlines()
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:-1])
        await reader.readexactly(int(headers[b"content-length"]))
    return int(lines[0].split(b" ")[1]), headers


async def test_repeated_headers_on_one_connection_are_applied_each_time(
    strict_gateway: StrictGateway, upstreams: Any
) -> None:
    reader, writer = await strict_gateway.connect()
    headers = b" HTTP/1.1\r\nHost: x\r\nA: 1\r\n" + strict_gateway.bearer + b"\r\n"
    targets = [
        b"/sessions", b"/sessions/1?a=b", b"/v1/sessions", b"/nothing", b"/sessions%2f1",
        b"/" + b"x" * 2_000,
    ]  # fmt: skip

    responses = [await _send_request(reader, writer, b"GET " + one + headers) for one in targets]
    writer.close()

    assert [status for status, _ in responses] == [200, 200, 200, 404, 400, 414]
    requests = upstreams.requests
    assert [one["path"] for one in requests] == ["/sessions", "/sessions/1", "/sessions"]
    assert [one["query"] for one in requests] == ["", "a=b", ""]
    assert all(one["headers"]["a"] == "1" for one in requests)
    for name in ("x-request-id", "traceparent"):
        assert len({one["headers"][name] for one in requests}) == 3, name
    left = [int(answer[b"ratelimit-remaining"]) for _, answer in responses[:3]]
    assert left == [left[0], left[0] - 1, left[0] - 2]


async def test_changed_headers_on_one_connection_are_applied(
    strict_gateway: StrictGateway, upstreams: Any
) -> None:
    reader, writer = await strict_gateway.connect()
    head = b"GET /sessions HTTP/1.1\r\nHost: x\r\n"

    statuses = [
        (await _send_request(reader, writer, head + more + b"\r\n"))[0]
        for more in (
            strict_gateway.bearer,
            strict_gateway.bearer,
            b"A: 1\r\n",
            b"A: 1\r\n" + strict_gateway.bearer,
            strict_gateway.bearer,
        )
    ]
    writer.close()

    assert statuses == [200, 200, 401, 200, 200]
    assert [one["headers"].get("a") for one in upstreams.requests] == [None, None, "1", None]


async def test_body_that_looks_like_a_request_is_not_parsed_as_one(
    strict_gateway: StrictGateway, upstreams: Any
) -> None:
    reader, writer = await strict_gateway.connect()
    request = b"GET /sessions HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer + b"\r\n"
    refused = b"PUT /sessions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(request)

    statuses = [
        (await _send_request(reader, writer, one))[0] for one in (request, request, refused)
    ]
    writer.write(request)  # the body, after its request was rejected
    await writer.drain()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await reader.readexactly(1)
    statuses.append((await _send_request(reader, writer, request))[0])
    writer.close()

    assert statuses == [200, 200, 405, 200]
    assert len(upstreams.requests) == 3


async def test_client_that_stops_reading_is_disconnected(strict_gateway: StrictGateway) -> None:
    reader, writer = await strict_gateway.connect()
    writer.write(b"GET /upload/long HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer + b"\r\n")
    await writer.drain()
    writer.transport.pause_reading()  # type: ignore[attr-defined]

    await asyncio.sleep(2.0)  # longer than the write stall timeout
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(len(LONG_BODY))


async def test_connections_over_the_limit_get_503(strict_gateway: StrictGateway) -> None:
    held = [
        await asyncio.open_connection(
            "127.0.0.1", strict_gateway.port, local_addr=(f"127.0.0.{2 + number % 2}", 0)
        )
        for number in range(50)
    ]

    async def is_full() -> bool:
        received = await strict_gateway.send_raw(
            b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        return received.startswith(b"HTTP/1.1 503") and b"retry-after" in received

    await wait_until(is_full, description="the limit", timeout_seconds=10)
    for _, writer in held:
        writer.close()

    async def has_capacity() -> bool:
        received = await strict_gateway.send_raw(
            b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        return received.startswith(b"HTTP/1.1 200")

    await wait_until(has_capacity, description="a free connection", timeout_seconds=10)


async def test_connections_per_address_are_limited(
    upstreams: Any, strict_gateway: StrictGateway
) -> None:
    held = [await strict_gateway.connect() for _ in range(45)]

    async def is_rejected() -> bool:
        response = await strict_gateway.send_raw(
            b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        return _parse_problem(response) == (503, "too_many_connections")

    await wait_until(is_rejected, description="the share of the address", timeout_seconds=10)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", strict_gateway.port, local_addr=("127.0.0.2", 0)
    )
    status, _ = await _send_request(
        reader, writer, b"GET /sessions HTTP/1.1\r\nHost: x\r\n%b\r\n" % strict_gateway.bearer
    )
    writer.close()
    for _, held_writer in held:
        held_writer.close()

    assert status == 200


@pytest.mark.parametrize("pieces", [1, 2])
async def test_trailers_are_dropped(
    strict_gateway: StrictGateway, upstreams: Any, pieces: int
) -> None:
    head = b"POST /sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    rest = b"2\r\n{}\r\n0\r\n" + strict_gateway.bearer + b"X-Trailer: 1\r\n\r\n"
    reader, writer = await strict_gateway.connect()
    sent = [head + rest] if pieces == 1 else [head, rest]

    for piece in sent[:-1]:
        writer.write(piece)
        await writer.drain()
    status, _ = await _send_request(reader, writer, sent[-1])
    with_token = head.replace(b"Host: x\r\n", b"Host: x\r\n" + strict_gateway.bearer) + rest
    allowed, _ = await _send_request(reader, writer, with_token)
    writer.close()

    assert (status, allowed) == (401, 200)
    (request,) = upstreams.requests
    assert request["body"] == b"{}"
    assert "x-trailer" not in request["headers"]


async def test_endless_trailers_are_rejected(strict_gateway: StrictGateway) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"2\r\n{}\r\n0\r\nX: " + b"y" * 5_000

    response = await strict_gateway.send_raw(
        head.replace(b"/nothing", b"/auth/login") + body, b"y" * 5_000
    )

    assert _parse_problem(response) == (431, "headers_too_large")


_UPGRADES = [b"h2c", b"TLS/1.0", b"websocket"]


@pytest.mark.parametrize("upgrade", _UPGRADES)
@pytest.mark.parametrize(
    "framed", [b"Content-Length: 12\r\n\r\n{\"title\":\"x\"",
               b"Transfer-Encoding: chunked\r\n\r\nc\r\n{\"title\":\"x\"\r\n0\r\n\r\n"],
)  # fmt: skip
async def test_upgrade_that_is_not_accepted_is_ignored(
    strict_gateway: StrictGateway, upstreams: Any, upgrade: bytes, framed: bytes
) -> None:
    reader, writer = await strict_gateway.connect()
    head = (
        b"POST /sessions HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + upgrade + b"\r\n"
    )  # fmt: skip
    get = b"GET /sessions HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer + b"\r\n"

    post_status, _ = await _send_request(reader, writer, head + framed + get)
    async with asyncio.timeout(20):
        second = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert post_status == 200
    assert second.startswith(b"HTTP/1.1 200 ")
    assert [one["body"] for one in upstreams.requests] == [b'{"title":"x"', b""]
    assert "upgrade" not in upstreams.requests[0]["headers"]


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 5\r\n\r\n", b"Content-Length: 5\r\n\r\nhello",
     b"Transfer-Encoding: chunked\r\n\r\n"],
)  # fmt: skip
async def test_socket_upgrade_with_body_is_answered(
    strict_gateway: StrictGateway, framing: bytes
) -> None:
    response = await strict_gateway.send_raw(
        b"GET /ws/transcribe HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + framing
    )

    assert _parse_problem(response) == (400, "upgrade_required")


async def test_pipelined_upgrade_waits_for_the_response_before(
    strict_gateway: StrictGateway,
) -> None:
    reader, writer = await strict_gateway.connect()
    writer.write(
        b"GET /sessions HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer + b"\r\n"
        b"GET /ws/transcribe HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )  # fmt: skip
    async with asyncio.timeout(20):
        first = await reader.readuntil(b"}")
        second = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /sessions HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /sessions HTTP/1.2\r\nHost: x\r\n\r\n",
        b"POST /auth/login HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT /sessions HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /sessions#x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_other_http_versions_and_forms_are_rejected(
    strict_gateway: StrictGateway, upstreams: Any, request_bytes: bytes
) -> None:
    assert _parse_problem(await strict_gateway.send_raw(request_bytes)) == (400, "bad_http")
    assert upstreams.requests == []


async def test_request_without_host_is_rejected(
    strict_gateway: StrictGateway, upstreams: Any
) -> None:
    response = await strict_gateway.send_raw(
        b"GET /sessions HTTP/1.1\r\nConnection: close\r\n" + strict_gateway.bearer + b"\r\n"
    )

    assert _parse_problem(response) == (400, "ambiguous_request")
    assert upstreams.requests == []


async def test_idle_connection_is_kept_for_the_advertised_time(
    strict_gateway: StrictGateway,
) -> None:
    reader, writer = await strict_gateway.connect()
    request = b"GET /sessions HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer + b"\r\n"

    _, headers = await _send_request(reader, writer, request)
    await asyncio.sleep(1.0)  # longer than every other timeout of this gateway
    status, _ = await _send_request(reader, writer, request)
    writer.close()

    assert headers[b"keep-alive"] == b"timeout=30"
    assert status == 200


async def test_large_response_before_close_reaches_a_client_that_still_sends(
    strict_gateway: StrictGateway,
) -> None:
    reader, writer = await strict_gateway.connect()
    writer.write(
        b"POST /sessions HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer
        + b"Content-Length: 5000000\r\n\r\n"
    )  # fmt: skip
    writer.write(b"x" * 1_000_000)
    async with asyncio.timeout(20):
        response = await reader.read(-1)
    writer.close()

    assert _parse_problem(response) == (413, "too_large")
    assert b"connection: close" in response


async def test_requests_leave_no_reference_cycles(strict_gateway: StrictGateway) -> None:
    """A cycle per request keeps each request in memory until the garbage collector runs."""
    request = b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer + b"\r\n"
    reader, writer = await strict_gateway.connect()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        per_request = (Exchange, RequestHead, RequestRecord, UpstreamRequest, Call)
        left = [type(one).__name__ for one in gc.get_objects() if isinstance(one, per_request)]
    finally:
        gc.enable()
        writer.close()
    assert len(left) < 10, left


async def test_closed_connections_leave_no_reference_cycles(
    strict_gateway: StrictGateway,
) -> None:
    """A cycle per connection keeps connections in memory until a full garbage collection."""
    request = b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\n" + strict_gateway.bearer + b"\r\n"

    async def connect_once(sent: bytes) -> None:
        reader, writer = await strict_gateway.connect()
        writer.write(sent)
        await reader.read(1)
        writer.transport.abort()

    def list_connections() -> list[object]:
        return [one for one in gc.get_objects() if isinstance(one, HttpProtocol)]

    await connect_once(request)
    gc.collect()
    before = len(list_connections())
    gc.disable()
    try:
        for _ in range(10):
            await connect_once(request)
            await connect_once(b"not HTTP\r\n\r\n")

        async def are_freed() -> bool:
            return len(list_connections()) <= before + 2

        await wait_until(are_freed, description="the end of closed connections")
    finally:
        gc.enable()
