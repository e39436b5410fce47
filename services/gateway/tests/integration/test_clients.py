"""Clients that are slow, greedy, hasty or odd: bounded, told why, and nobody else's trouble."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coach_common.config import Settings
from coach_common.ids import new_id
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeTransport, TokenIssuer
from coach_common.testing.harness import wait_until
from coach_gateway.app import build
from coach_gateway.config import GatewaySettings

LONG = b"x" * 30_000_000


class Door:
    """A gateway with short limits, and a way to send it bytes as they are."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.bearer = b"Authorization: Bearer " + token.encode() + b"\r\n"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=2**26)

    async def say(self, *pieces: bytes) -> bytes:
        """Send pieces; return all that is said until the connection is closed."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(20):
            said = await reader.read(-1)
        writer.close()
        return said


@pytest.fixture
async def door(upstreams: Any, issuer: TokenIssuer) -> AsyncIterator[Door]:
    app = upstreams.app("all", issuer)

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/upload/long":
            length = str(len(LONG)).encode()
            headers = [(b"content-length", length)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": LONG})
        else:
            await app(scope, receive, send)

    part, front = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{part.getsockname()[1]}"
    built = build(
        GatewaySettings(
            auth_url=url, sessions_url=url, media_url=url, ai_url=url,
            service_token="a token between services", environment="development",
            head_seconds=0.5, body_seconds=0.5, unread_seconds=0.5,
            max_head_bytes=4_000, max_url_bytes=1_000, max_headers=20, max_connections=50,
        ),
        FakeTransport(),
    )  # fmt: skip
    async with (
        running(Service("all", behind, Settings(shutdown_seconds=1), FakeTransport()), part),
        running(built, front),
    ):
        found = Door(front.getsockname()[1], issuer.issue(new_id()))

        async def is_ready() -> bool:
            return b" 200 " in await found.say(
                b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )

        await wait_until(is_ready, description="the gateway", timeout_seconds=10)
        upstreams.asked.clear()
        yield found


def _problem(said: bytes) -> tuple[int, str]:
    head, _, body = said.partition(b"\r\n\r\n")
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
async def test_a_head_that_is_too_much_too_slow_or_not_http_is_refused_in_words(
    door: Door, request_bytes: bytes, status: int, code: str
) -> None:
    assert _problem(await door.say(request_bytes)) == (status, code)


async def test_a_body_that_does_not_come_is_given_up(door: Door) -> None:
    said = await door.say(
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )

    assert _problem(said) == (400, "slow_body")


async def test_requests_sent_at_once_are_answered_in_their_order(
    door: Door, upstreams: Any
) -> None:
    paths = [b"/sessions", b"/auth/me", b"/nothing", b"/sessions/1", b"/upload/1"]
    requests = [
        b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + door.bearer + b"\r\n" for path in paths
    ]
    requests[-1] = requests[-1].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    said = await door.say(b"".join(requests))

    statuses = [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 404, 200, 200]
    assert [asked["path"] for asked in upstreams.asked] == [
        "/sessions", "/auth/me", "/sessions/1", "/upload/1"
    ]  # fmt: skip


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, dict[bytes, bytes]]:
    """Send a request in one piece; return the status and the headers of its answer."""
    writer.write(request)
    await writer.drain()
    async with asyncio.timeout(20):
        lines = (await reader.readuntil(b"\r\n\r\n")).splitlines()
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:-1])
        await reader.readexactly(int(headers[b"content-length"]))
    return int(lines[0].split(b" ")[1]), headers


async def test_the_same_headers_again_are_obeyed_again(door: Door, upstreams: Any) -> None:
    reader, writer = await door.connect()
    headers = b" HTTP/1.1\r\nHost: x\r\nA: 1\r\n" + door.bearer + b"\r\n"
    targets = [
        b"/sessions", b"/sessions/1?a=b", b"/v1/sessions", b"/nothing", b"/sessions%2f1",
        b"/" + b"x" * 2_000,
    ]  # fmt: skip

    answers = [await _ask(reader, writer, b"GET " + one + headers) for one in targets]
    writer.close()

    assert [status for status, _ in answers] == [200, 200, 200, 404, 400, 414]
    asked = upstreams.asked
    assert [one["path"] for one in asked] == ["/sessions", "/sessions/1", "/sessions"]
    assert [one["query"] for one in asked] == ["", "a=b", ""]
    assert all(one["headers"]["a"] == "1" for one in asked)
    for name in ("x-request-id", "traceparent"):
        assert len({one["headers"][name] for one in asked}) == 3, name
    left = [int(answer[b"ratelimit-remaining"]) for _, answer in answers[:3]]
    assert left == [left[0], left[0] - 1, left[0] - 2]


async def test_other_headers_on_the_same_connection_are_read(door: Door, upstreams: Any) -> None:
    reader, writer = await door.connect()
    head = b"GET /sessions HTTP/1.1\r\nHost: x\r\n"

    statuses = [
        (await _ask(reader, writer, head + more + b"\r\n"))[0]
        for more in (door.bearer, door.bearer, b"A: 1\r\n", b"A: 1\r\n" + door.bearer, door.bearer)
    ]
    writer.close()

    assert statuses == [200, 200, 401, 200, 200]
    assert [one["headers"].get("a") for one in upstreams.asked] == [None, None, "1", None]


async def test_a_body_that_looks_like_the_request_before_is_a_body(
    door: Door, upstreams: Any
) -> None:
    reader, writer = await door.connect()
    request = b"GET /sessions HTTP/1.1\r\nHost: x\r\n" + door.bearer + b"\r\n"
    refused = b"PUT /sessions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(request)

    statuses = [(await _ask(reader, writer, one))[0] for one in (request, request, refused)]
    writer.write(request)  # the body that was announced, after its request was refused
    await writer.drain()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await reader.readexactly(1)
    statuses.append((await _ask(reader, writer, request))[0])
    writer.close()

    assert statuses == [200, 200, 405, 200]
    assert len(upstreams.asked) == 3


async def test_a_client_that_does_not_read_is_cut_off(door: Door) -> None:
    reader, writer = await door.connect()
    writer.write(b"GET /upload/long HTTP/1.1\r\nHost: x\r\n" + door.bearer + b"\r\n")
    await writer.drain()
    writer.transport.pause_reading()  # type: ignore[attr-defined]

    await asyncio.sleep(2.0)  # longer than `unread_seconds`: this client reads nothing meanwhile
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(len(LONG))


async def test_beyond_the_bound_a_connection_is_told_so_and_others_go_on(door: Door) -> None:
    held = [await door.connect() for _ in range(50)]

    async def is_full() -> bool:
        said = await door.say(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return said.startswith(b"HTTP/1.1 503") and b"retry-after" in said

    await wait_until(is_full, description="the bound", timeout_seconds=10)
    for _, writer in held:
        writer.close()

    async def has_room() -> bool:
        said = await door.say(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return said.startswith(b"HTTP/1.1 200")

    await wait_until(has_room, description="room", timeout_seconds=10)
