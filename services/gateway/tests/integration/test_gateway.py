"""Requests through the gateway: authentication, headers, limits, errors."""

import asyncio
import json
from typing import Any
from uuid import UUID

import httpx
import pytest

from coach_common.ids import new_id
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import http_client, wait_until


async def _send_raw(port: int, request: bytes) -> bytes:
    """Send raw bytes; return the response until the connection closes or is silent for 3 s."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    response = b""
    try:
        async with asyncio.timeout(3):
            while b"\r\n\r\n" not in response:
                chunk = await reader.read(65_536)
                if not chunk:
                    break
                response += chunk
    except TimeoutError:
        pass
    finally:
        writer.close()
    return response


async def test_request_is_forwarded_with_rebuilt_headers(
    gateway: Any, client: httpx.AsyncClient, user_id: UUID
) -> None:
    response = await client.post(
        "/v1/sessions?limit=3",
        json={"title": "x"},
        headers={
            "x-user-id": "somebody",
            "x-forwarded-for": "6.6.6.6",
            "x-request-id": "phone-1234",
            "cookie": "a=b",
        },
    )

    assert response.status_code == 200
    (request,) = gateway.upstreams.requests
    assert (request["upstream"], request["method"]) == ("sessions", "POST")
    assert (request["path"], request["query"]) == ("/sessions", "limit=3")
    assert json.loads(request["body"]) == {"title": "x"}
    headers = request["headers"]
    assert "x-user-id" not in headers
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-request-id"] == response.headers["x-request-id"] == "phone-1234"
    assert headers["authorization"].startswith("Bearer ")
    assert "server" not in response.headers
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert int(response.headers["ratelimit-remaining"]) == 199
    assert response.headers.get_list("x-request-id") == ["phone-1234"]


async def test_internal_headers_reach_only_auth_and_media(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    for path in ("/auth/me", "/upload/1", "/sessions/1"):
        await client.get(path, headers={"host": "10.0.2.2:8000"})

    auth, media, sessions = (asked["headers"] for asked in gateway.upstreams.requests)
    assert auth["x-gateway-token"] and "x-gateway-token" not in media
    assert media["x-coach-public-host"] == "10.0.2.2:8000"
    assert not {"x-gateway-token", "x-coach-public-host"} & set(sessions)


@pytest.mark.parametrize(
    "header", [None, "", "Basic eDp5", "Bearer", "Bearer nonsense", "Bearer a.b.c"]
)
async def test_missing_or_malformed_token_returns_401(gateway: Any, header: str | None) -> None:
    async with http_client(base_url=gateway.url) as client:
        response = await client.get(
            "/sessions", headers={} if header is None else {"authorization": header}
        )

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert gateway.upstreams.requests == []


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": 1}, {"exp": None}, {"exp": "9999999999"}, {"exp": 1e308}, {"exp": -1},
        {"exp": True}, {"iat": 9_999_999_999}, {"nbf": 9_999_999_999}, {"aud": None},
        {"aud": "other"}, {"aud": ["genai-coach-api", "other"]}, {"iss": "evil"}, {"sub": None},
        {"sub": ""}, {"sid": None}, {"jti": None}, {"type": "refresh"}, {"type": None},
    ],
)  # fmt: skip
async def test_token_with_invalid_claim_returns_401(
    gateway: Any, issuer: TokenIssuer, changed: dict[str, Any]
) -> None:
    token = issuer.issue(new_id(), **changed)
    async with http_client(base_url=gateway.url) as client:
        response = await client.get("/sessions", headers={"authorization": f"Bearer {token}"})

    assert response.status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"typ": "JWT"}, {"typ": None}, {"typ": "rt+jwt"}, {"kid": "other"}, {"jku": "http://evil"},
     {"jwk": {}}, {"x5u": "http://evil"}, {"crit": ["x"]}],
)  # fmt: skip
async def test_token_with_invalid_header_returns_401(
    gateway: Any, issuer: TokenIssuer, headers: dict[str, Any]
) -> None:
    token = issuer.issue(new_id(), headers=headers)
    async with http_client(base_url=gateway.url) as client:
        response = await client.get("/sessions", headers={"authorization": f"Bearer {token}"})

    assert response.status_code == 401


async def test_revoked_login_is_rejected_within_one_second(
    gateway: Any, issuer: TokenIssuer
) -> None:
    login_id = new_id()
    headers = {"authorization": f"Bearer {issuer.issue(new_id(), sid=str(login_id))}"}
    async with http_client(base_url=gateway.url, headers=headers) as client:
        assert (await client.get("/sessions")).status_code == 200
        gateway.upstreams.revoked_login_ids.append(login_id)

        async def is_rejected() -> bool:
            return (await client.get("/sessions")).status_code == 401

        await wait_until(is_rejected, description="the rejection", timeout_seconds=5)


async def test_requests_return_503_while_revocations_are_unavailable(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    gateway.upstreams.is_auth_failing = True

    async def is_closed() -> httpx.Response | None:
        response = await client.get("/sessions")
        return response if response.status_code == 503 else None

    response = await wait_until(is_closed, description="failing closed", timeout_seconds=10)
    assert response.headers["retry-after"]
    assert (await client.get("/health/ready")).status_code == 503
    gateway.upstreams.is_auth_failing = False

    async def is_open() -> bool:
        return (await client.get("/sessions")).status_code == 200

    await wait_until(is_open, description="recovery", timeout_seconds=10)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/../internal/x", 400), ("/v1/%2e%2e/metrics", 400), ("//auth/me", 400),
        ("/auth/me%00", 400), ("/v1/v1/auth/me", 404), ("/internal/revocations", 404),
        ("/auth/login/../../sessions", 400), ("http://169.254.169.254/latest", 404),
    ],
)  # fmt: skip
async def test_non_canonical_targets_are_not_forwarded(
    gateway: Any, target: str, status: int
) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()

    response = await _send_raw(gateway.port, request)

    assert response.startswith(f"HTTP/1.1 {status}".encode())
    assert gateway.upstreams.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -5",
        "Transfer-Encoding: chunked, identity",
        "Host: y",
        "Bad Header: 1",
    ],
)
async def test_ambiguous_framing_is_not_forwarded(gateway: Any, headers: str) -> None:
    request = (
        f"POST /auth/login HTTP/1.1\r\nHost: x\r\n{headers}\r\nConnection: close\r\n\r\n"
        "0\r\n\r\nGET /internal/revocations HTTP/1.1\r\nHost: x\r\n\r\n"
    )

    response = await _send_raw(gateway.port, request.encode())

    assert b" 200 " not in response.split(b"\r\n")[0]
    assert all(asked["path"] != "/internal/revocations" for asked in gateway.upstreams.requests)


async def test_body_over_limit_returns_413_with_or_without_content_length(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 1000

    declared = await client.post("/sessions", content=b"x" * 10_001)
    streamed = await client.post("/sessions", content=chunks())
    fits = await client.post("/sessions", content=b"x" * 10_000)

    assert (declared.status_code, streamed.status_code, fits.status_code) == (413, 413, 200)
    assert fits.json()["length"] == 10_000


async def test_route_of_files_takes_larger_bodies_that_are_no_json(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    path, limit = "/ai-interview/profile/resume", 4 * 1024**2

    file = await client.post(path, content=b"%PDF" + b"[" * 20_000)
    too_large = await client.post(path, content=b"x" * (limit + 1))

    assert (file.status_code, file.json()["length"]) == (200, 20_004)
    assert too_large.status_code == 413
    assert len(gateway.upstreams.requests) == 1


async def test_response_streams_before_it_is_complete(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    async with client.stream("GET", "/upload/1/url") as response:
        chunks = response.aiter_bytes()
        first = await anext(chunks)
        gateway.upstreams.release.set()
        rest = b"".join([chunk async for chunk in chunks])

    assert (first, rest) == (b"first", b"second")


async def test_rate_limit_returns_429_and_health_is_exempt(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    async def has_keys_of_auth() -> bool:
        return (await client.get("/sessions")).status_code == 200

    await wait_until(has_keys_of_auth, description="the first response")
    statuses = [(await client.get("/sessions")).status_code for _ in range(200)]
    refused = await client.get("/sessions")

    assert statuses == [200] * 199 + [429]
    assert refused.headers["retry-after"]
    assert refused.headers["ratelimit-remaining"] == "0"
    assert (await client.get("/health/live")).status_code == 200


async def test_cors_echoes_allowed_origins_only(client: httpx.AsyncClient) -> None:
    asked = {"access-control-request-method": "DELETE"}
    good = await client.options("/sessions/1", headers=asked | {"origin": "http://localhost:8081"})
    simple = await client.get("/sessions", headers={"origin": "http://localhost:8081"})
    for origin in ("http://evil.example", "null", "http://localhost:8081.evil"):
        bad = await client.options("/sessions/1", headers=asked | {"origin": origin})
        assert "access-control-allow-origin" not in bad.headers

    assert good.headers["access-control-allow-origin"] == "http://localhost:8081"
    assert simple.headers["access-control-allow-origin"] == "http://localhost:8081"
    assert "origin" in simple.headers["vary"].lower()


async def test_local_routes_return_status_docs_and_metrics(client: httpx.AsyncClient) -> None:
    about = (await client.get("/")).json()
    ready = await client.get("/health/ready")
    docs = await client.get("/docs")
    document = (await client.get("/openapi.json")).json()

    assert about["status"] == "running" and about["environment"] == "development"
    assert ready.json()["checks"].keys() == {"broker", "auth_revocations", "upstreams"}
    assert "/sessions/{session_id}/feedback" in document["paths"]
    assert "POST" in docs.text and "/auth/register" in docs.text
    assert "coach_http_requests_total" in (await client.get("/metrics")).text
    assert (await client.get("/docs/x")).status_code == 404


async def test_unavailable_upstream_returns_503_and_fails_readiness(
    issuer: TokenIssuer, gateway: Any, client: httpx.AsyncClient
) -> None:
    await gateway.stacks["ai"].aclose()

    response = await client.post("/ai/chat", json={"message": "x"})
    ready = await client.get("/health/ready")

    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert ready.json()["missing"] == {"upstreams": "unavailable: ai"}
    assert (await client.get("/sessions")).status_code == 200


@pytest.mark.parametrize("content_type", ["application/json", "application/JSON", "", "text/plain"])
async def test_deeply_nested_body_is_rejected_for_any_content_type(
    gateway: Any, client: httpx.AsyncClient, content_type: str
) -> None:
    response = await client.post(
        "/sessions", content="[" * 9_000, headers={"content-type": content_type}
    )

    assert (response.status_code, response.json()["code"]) == (400, "too_deep")
    assert gateway.upstreams.requests == []


async def _upgrade(gateway: Any, target: str, *headers: str) -> tuple[bytes, dict[str, Any]]:
    """Send a WebSocket handshake; return the head and the problem of its rejection."""
    lines = [
        f"GET {target} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", *headers,
    ]  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        problem = json.loads(await reader.readexactly(length))
    writer.close()
    return head, problem


@pytest.mark.parametrize(
    ("target", "headers", "status", "code"),
    [
        ("/ws/transcribe?token=abc", (), 400, "token_in_url"),
        ("/v1/ws/transcribe", ("Origin: https://evil.example",), 403, "origin_not_allowed"),
        ("/ws/other", (), 404, "no_such_route"),
        ("/sessions", (), 401, "token_missing"),
    ],
)
async def test_rejected_handshake_is_a_problem_that_is_counted(
    gateway: Any,
    client: httpx.AsyncClient,
    target: str,
    headers: tuple[str, ...],
    status: int,
    code: str,
) -> None:
    async def count() -> float:
        lines = (await client.get("/metrics")).text.splitlines()
        counted = [
            line
            for line in lines
            if line.startswith("coach_http_requests_total") and f'status="{status}"' in line
        ]
        return sum(float(line.rpartition(" ")[2]) for line in counted)

    before = await count()
    head, problem = await _upgrade(gateway, target, *headers)

    assert head.startswith(b"http/1.1 %d " % status)
    assert b"application/problem+json" in head and b"x-content-type-options: nosniff" in head
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"].encode() in head
    assert await count() == before + 1
