"""Attacks on HTTP through the gateway: paths, methods, headers, framing, limits."""

import asyncio
import gzip
import json
import re
from pathlib import Path

import pytest
from attacker import ApiUser, RawResponse, SystemUnderTest, send_raw_request
from stacks import embedded

from coach_common.testing.harness import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

_GOOD_ORIGIN = "http://localhost:8081"


def _request(line: str, *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1") + body


async def _send_as(alice: ApiUser, line: str, *lines: str, body: bytes = b"") -> RawResponse:
    token = f"authorization: Bearer {alice.token}"
    return await send_raw_request(alice.target, _request(line, "host: x", token, *lines, body=body))


async def test_a30_identity_headers_are_ignored(alice: ApiUser, bob: ApiUser) -> None:
    for name in (
        "X-User-Id", "x_user_id", "X-Internal-Auth", "X-Forwarded-User", "X-Gateway-Token",
        "X-Auth-User", "X-Remote-User", "Remote-User", "X-Real-User", "X-Coach-User",
    ):  # fmt: skip
        response = await alice.call("GET", "/auth/me", headers={name: bob.user_id})
        assert response.json()["id"] == alice.user_id
        anonymous = await alice.http.get("/auth/me", headers={name: bob.user_id})
        assert anonymous.status_code == 401
    for name in ("X-Original-URL", "X-Rewrite-URL"):
        response = await alice.call("GET", "/auth/me", headers={name: "/internal/revocations"})
        assert response.json()["id"] == alice.user_id


async def test_a31_services_ignore_identity_headers(
    target: SystemUnderTest, alice: ApiUser, bob: ApiUser
) -> None:
    ports = re.findall(r"service\.started.*?port=(\d+).*?service=(\w+)", target.log_text())
    service_urls = {name: f"http://127.0.0.1:{port}" for port, name in ports}
    forged = {"x-user-id": bob.user_id, "x-forwarded-user": bob.user_id, "x-gateway-token": "x"}
    for service, path in (
        ("auth", "/auth/me"), ("sessions", "/sessions"), ("media", "/upload/1"),
    ):  # fmt: skip
        for token in ("x", "a.b.c", alice.token[:-4] + "AAAA"):
            answer = await alice.http.get(
                service_urls[service] + path, headers=forged | {"authorization": f"Bearer {token}"}
            )
            assert answer.status_code == 401
    me = await alice.call("GET", service_urls["auth"] + "/auth/me", headers=forged)
    sessions = await alice.call("GET", service_urls["sessions"] + "/sessions", headers=forged)
    internal = [
        await alice.call("GET", service_urls["auth"] + "/internal/revocations"),
        await alice.http.get(service_urls["auth"] + "/internal/revocations"),
        await alice.call(
            "GET",
            service_urls["auth"] + "/internal/revocations",
            headers={"authorization": "Bearer x"},
        ),
    ]

    assert me.json()["id"] == alice.user_id
    assert sessions.json()["sessions"] == []
    assert {answer.status_code for answer in internal} == {401}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../internal/revocations", "/v1/%2e%2e/metrics", "//auth/me", "/internal/revocations",
        "/v1/internal/revocations", "/v1/sessions/..%2f..%2fhealth", "/v1/sessions/%252e%252e",
        "/auth/me;x=1", "/auth\\me", "/auth/me%00", "/auth/me%0d%0aX:y", "/v1/v1/auth/me",
        "/V1/AUTH/ME", "/auth/me.", "/auth//me", "/v1/auth/me/", "/auth/me//", "/auth/./me",
        "/auth/login/../../sessions", "/auth/login/../me", "/sessions/%2e%2e/auth/me", "/v1",
        "/v1/", "/v1/health", "/v1/metrics", "/health/live/", "/sessions/a/b/c", "/%61uth/me",
        "/auth/me%20", "/.well-known/../auth/me", "/./auth/me", "/auth/me/..", "/v2/auth/me",
        "/openapi.json/..", "/auth/m\xe9",
    ],
)  # fmt: skip
async def test_a34_path_tricks_are_rejected(alice: ApiUser, path: str) -> None:
    with_token = await _send_as(alice, f"GET {path} HTTP/1.1")
    without_token = await send_raw_request(
        alice.target, _request(f"GET {path} HTTP/1.1", "host: x")
    )

    assert with_token.status in (400, 404), with_token
    assert without_token.status in (400, 404), without_token


async def test_a35_unsupported_methods_are_rejected(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    for method in ("TRACE", "PROPFIND", "PATCH", "HEAD", "OPTIONS", "DELETE", "LOCK", "PURGE"):
        for path in ("/auth/login", "/ai/chat", "/v1/upload/confirm"):
            answer = await _send_as(alice, f"{method} {path} HTTP/1.1")
            assert answer.status in (405, 501), (method, path, answer)
    for path in ("/", "/health/live", "/sessions", "/nothing"):
        asked = _request(f"HEAD {path} HTTP/1.1", "host: x", "connection: close")
        head = await send_raw_request(target, asked, seconds=2, checked=False)
        assert head.status in (200, 401, 404, 405) and head.body == b""
    connect = await send_raw_request(
        target, _request("CONNECT 127.0.0.1:80 HTTP/1.1", "host: x"), seconds=2, checked=False
    )
    assert connect.status in (0, 400, 404, 405, 501)


async def test_a35_method_override_is_ignored(alice: ApiUser) -> None:
    session_id = await alice.session()
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer = await alice.call("GET", f"/sessions/{session_id}", headers={name: "DELETE"})
        assert answer.status_code == 200
    posted = await alice.call("POST", f"/sessions/{session_id}?_method=DELETE")
    with_body = await alice.call("GET", f"/sessions/{session_id}", json={"_method": "DELETE"})

    assert posted.status_code == 405
    assert with_body.status_code in (200, 400)
    assert (await alice.call("GET", f"/sessions/{session_id}")).status_code == 200


async def test_a36_absolute_target_and_host_header_are_not_followed(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    canary_url = target.canary.url
    for line, hosts in (
        (f"GET {canary_url}/latest HTTP/1.1", ["x"]),
        ("GET http://169.254.169.254/latest HTTP/1.1", ["x"]),
        ("GET /auth/me HTTP/1.1", [canary_url.removeprefix("http://")]),
        ("GET /auth/me HTTP/1.1", ["x", "y"]),
        ("GET /auth/me HTTP/1.1", []),
        ("GET @127.0.0.1/ HTTP/1.1", ["x"]),
    ):
        lines = [f"host: {host}" for host in hosts]
        answer = await send_raw_request(
            target,
            _request(line, *lines, f"authorization: Bearer {alice.token}"),
            checked=False,
        )
        assert answer.status in (200, 400, 404), (line, answer)
    for host in ("evil.example", "evil.example:80", "127.0.0.1@evil.example", "8.8.8.8", "[::"):
        answer = await _presign_url(alice, host)
        assert answer.startswith("http://localhost:"), host
    assert (await _presign_url(alice, "10.0.2.2:8000")).startswith("http://10.0.2.2:")
    without_host = await alice.call("GET", "/sessions", headers={"host": ""})
    assert without_host.status_code == 400


async def _presign_url(alice: ApiUser, host: str) -> str:
    answer = await alice.call(
        "POST",
        "/upload/s3-presign",
        json={"content_type": "audio/wav", "extension": "wav"},
        headers={"host": host},
    )
    return str(answer.json()["url"])


async def test_a37_oversized_requests_are_rejected_without_memory_growth(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    await alice.session()
    before = target.memory_kib()
    token = f"authorization: Bearer {alice.token}"
    start = ("POST /sessions HTTP/1.1", "host: x", token, "content-type: application/json")
    huge = b'{"title": "' + b"x" * (2 * 2**20)
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    responses = {
        "header": await send_raw_request(target, _request(*start, "x-large: " + "x" * 65_536)),
        "headers": await send_raw_request(
            target, _request(*start, *(f"x-{n}: y" for n in range(2_000)))
        ),
        "address": await send_raw_request(
            target, _request(f"GET /{'x' * 2**20} HTTP/1.1", "host: x")
        ),
        "query": await send_raw_request(
            target, _request(f"GET /sessions?{'x' * 2**17} HTTP/1.1", "host: x")
        ),
        "body": await send_raw_request(
            target, _request(*start, f"content-length: {50 * 2**20}", body=huge)
        ),
        "chunks": await send_raw_request(
            target, _request(*start, "transfer-encoding: chunked", body=chunk * 3)
        ),
        "claim": await send_raw_request(
            target, _request(*start, f"content-length: {10**10}", body=b"{")
        ),
    }
    growth_kib = target.memory_kib() - before

    for name in ("header", "headers", "address", "query"):
        assert responses[name].status in (400, 414, 431), (name, responses[name])
    for name in ("body", "chunks", "claim"):
        assert responses[name].status == 413, (name, responses[name])
        assert responses[name].is_closed
    assert growth_kib < 20 * 1024


async def test_a37_deeply_nested_json_is_rejected(alice: ApiUser) -> None:
    for deep in ("[" * 100_000, '{"a":' * 50_000, '{"title":' + "[" * 5_000 + "]" * 5_000 + "}"):
        answer = await alice.call(
            "POST", "/sessions", content=deep, headers={"content-type": "application/json"}
        )
        assert answer.status_code in (400, 422)


async def test_a38_slowloris_connections_are_closed(target: SystemUnderTest, bob: ApiUser) -> None:
    """100 connections stop within the head and 100 within the body; the timeouts are 3 s."""
    before = target.open_files()
    slow_body = b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"
    held = [await asyncio.open_connection(*target.address) for _ in range(200)]
    for number, (_, writer) in enumerate(held):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx-a" if number % 2 else slow_body)
    assert (await bob.call("GET", "/auth/me")).status_code == 200
    try:
        async with asyncio.timeout(60):
            ends = await asyncio.gather(*(reader.read() for reader, _ in held[::2]))
            assert all(b" 400 " in end[:40] or b" 408 " in end[:40] for end in ends)
    finally:
        for _, writer in held:
            writer.close()

    async def recovered() -> bool:
        return target.open_files() < before + 20

    await wait_until(recovered, description="closed connections")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip", "x", "GZIP"])
async def test_a40_compressed_request_body_is_rejected(alice: ApiUser, encoding: str) -> None:
    bomb = gzip.compress(bytes(10 * 2**20))
    answer = await alice.call(
        "POST",
        "/sessions",
        content=bomb,
        headers={"content-type": "application/json", "content-encoding": encoding},
    )

    assert answer.status_code == 415


async def test_a41_cors_allows_configured_origins_only(alice: ApiUser) -> None:
    for origin in (
        "https://evil.example", "null", "http://localhost:8081.evil", "http://LOCALHOST:8081",
        "https://localhost:8081", "http://localhost:80811", "file://", "*",
    ):  # fmt: skip
        simple = await alice.call("GET", "/auth/me", headers={"origin": origin})
        assert "access-control-allow-origin" not in simple.headers
        head = f"origin: {origin}", "access-control-request-method: DELETE"
        asked = await send_raw_request(
            alice.target, _request("OPTIONS /auth/me HTTP/1.1", "host: x", *head), checked=False
        )
        assert "access-control-allow-origin" not in asked.headers
    good = await alice.call("GET", "/auth/me", headers={"origin": _GOOD_ORIGIN})

    assert good.headers["access-control-allow-origin"] == _GOOD_ORIGIN
    assert "origin" in good.headers["vary"].lower()
    assert "access-control-allow-credentials" not in good.headers


async def test_a42_headers_cannot_inject_log_lines(target: SystemUnderTest, alice: ApiUser) -> None:
    before = len(target.log_text())
    ids = ("x" * 10_240, "<script>alert(1)</script>", '{"a": 1}', "a b", "short", "%0d%0aX: y")
    for request_id in ids:
        answer = await alice.call("GET", "/auth/me", headers={"x-request-id": request_id})
        assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", answer.headers["x-request-id"])
        assert answer.headers["x-request-id"] != request_id
    crlf = await _send_as(alice, "GET /auth/me HTTP/1.1", "x-request-id: abcdefgh\r\nx-evil: 1")
    agent = await _send_as(
        alice, "GET /auth/me HTTP/1.1", 'user-agent: x\t{"level":"error"}\x85evil'
    )
    for trace in ("00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 9_000, "00-z-z-01", "\xff\xfe"):
        answer = await _send_as(
            alice, "GET /auth/me HTTP/1.1", f"traceparent: {trace}", f"tracestate: {trace}"
        )
        assert answer.status in (200, 400, 431)
    written = target.log_text()[before:]

    assert crlf.status == agent.status == 200
    assert "x-evil" not in crlf.headers
    assert "evil" not in written and "<script>" not in written and "xxxxxxxx" not in written
    assert all(re.match(r"\S*\d{4}-\d\d-\d\dT", line) for line in written.splitlines())


async def test_a43_responses_are_not_cacheable(alice: ApiUser) -> None:
    session_id = await alice.session()
    place = await alice.call(
        "POST", "/upload/s3-presign", json={"content_type": "audio/wav", "extension": "wav"}
    )
    answers = [
        place,
        await alice.call("GET", "/auth/me"),
        await alice.call("GET", "/sessions"),
        await alice.call("GET", f"/sessions/{session_id}"),
        await alice.call("GET", f"/sessions/{session_id}/feedback"),
        await alice.call("GET", "/upload/none"),
        await alice.http.get("/auth/me"),
    ]

    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: 5", "transfer-encoding: chunked"],
        ["content-length: 5", "content-length: 6"],
        ["content-length: 5, 6"], ["content-length: +5"], ["content-length: -5"],
        ["content-length: 0x5"], ["content-length: five"], ["transfer-encoding: xchunked"],
        ["transfer-encoding: chunked, identity"], ["transfer-encoding : chunked"],
        ["transfer-encoding:\x0bchunked"], ["content-length: 5\ncontent-length: 50"],
    ],
    ids=str,
)  # fmt: skip
async def test_a37_request_smuggling_is_rejected(
    target: SystemUnderTest, alice: ApiUser, lines: list[str]
) -> None:
    token = f"authorization: Bearer {alice.token}"
    smuggled = b"GET /auth/me HTTP/1.1\r\nhost: y\r\n" + token.encode() + b"\r\n\r\n"
    head = _request("POST /auth/login HTTP/1.1", "host: x", "content-type: text/plain", *lines)
    reader, writer = await asyncio.open_connection(*target.address)
    writer.write(head + b"0\r\n\r\n" + smuggled)
    received = b""
    try:
        async with asyncio.timeout(2):
            while piece := await reader.read(65_536):
                received += piece
    except TimeoutError:
        pass
    finally:
        writer.close()

    assert received[9:12] in (b"400", b"411", b"413", b"415", b"422", b"501", b"")
    assert alice.email.encode() not in received


async def test_a44_rate_limits_per_route_class(tmp_path: Path, target: SystemUnderTest) -> None:
    limits = {
        "OPEN_REQUESTS_PER_MINUTE": "20", "REQUESTS_PER_MINUTE": "30", "CHATS_PER_MINUTE": "5",
        "BCRYPT_COST": "4",
    }  # fmt: skip
    async with embedded(tmp_path, **limits) as stack:
        limited = SystemUnderTest(stack, tmp_path, target.canary)
        async with ApiUser(limited) as carol, ApiUser(limited) as dave:
            await carol.register()
            chats = [
                (await carol.call("POST", "/ai/chat", json={"message": "Hello"})).status_code
                for _ in range(8)
            ]
            calls = [(await carol.call("GET", "/auth/me")).status_code for _ in range(40)]
            guesses = [
                (await carol.http.post("/auth/refresh", json={"refresh_token": "x"})).status_code
                for _ in range(30)
            ]
            health = [(await carol.http.get("/health/live")).status_code for _ in range(60)]
            await dave.register()
            other = await dave.call("GET", "/auth/me")

    assert chats == [200] * 5 + [429] * 3
    assert calls == [200] * 30 + [429] * 10
    assert guesses == [401] * 19 + [429] * 11, "the registration was one of the twenty"
    assert set(health) == {200}
    assert other.status_code == 200


async def test_a35_errors_are_problem_json_for_any_accept_header(alice: ApiUser) -> None:
    for accept in ("text/html", "image/*", "", "application/xml;q=1", "x" * 500):
        answer = await alice.http.get("/auth/me", headers={"accept": accept})
        assert json.loads(answer.content)["status"] == 401
