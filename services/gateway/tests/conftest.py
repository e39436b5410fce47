"""A gateway on a real socket in front of stub services."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from coach_common.config import Settings
from coach_common.ids import new_id
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeTransport, TokenIssuer
from coach_common.testing.harness import http_client
from coach_gateway.app import build
from coach_gateway.config import GatewaySettings

SERVICE_TOKEN = "a token between services"


@dataclass
class StubUpstreams:
    """Stub services: the requests they received and what they respond."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    revoked_login_ids: list[UUID] = field(default_factory=list)
    is_auth_failing: bool = False
    error_response: tuple[int, dict[str, Any]] | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None
    """Responses wait for it, if it is set."""

    def app(self, name: str, issuer: TokenIssuer) -> FastAPI:
        app = FastAPI()

        @app.get("/health/live")
        async def live() -> dict[str, str]:
            return {}

        @app.get("/.well-known/jwks.json")
        async def jwks() -> dict[str, Any]:
            from jwt.algorithms import RSAAlgorithm

            key = RSAAlgorithm.to_jwk(issuer.private_key.public_key(), as_dict=True)
            return {"keys": [key | {"kid": issuer.kid, "use": "sig", "alg": "RS256"}]}

        @app.get("/internal/revocations")
        async def revocations(request: Request) -> Response:
            assert request.headers["authorization"] == f"Bearer {SERVICE_TOKEN}"
            if self.is_auth_failing:
                return JSONResponse({}, 500)
            until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            rows = [{"login_id": str(one), "expires_at": until} for one in self.revoked_login_ids]
            return JSONResponse({"cursor": "", "revoked": rows})

        @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
        async def anything(request: Request, path: str) -> Response:
            body = await request.body()
            self.requests.append(
                {
                    "upstream": name,
                    "method": request.method,
                    "path": "/" + path,
                    "query": request.url.query,
                    "headers": dict(request.headers),
                    "body": body,
                }
            )
            if path.endswith("/url"):
                return StreamingResponse(
                    self._stream_in_two_chunks(), headers={"connection": "x-hop"}
                )
            if self.gate is not None:
                await self.gate.wait()
            if self.error_response is not None:
                return JSONResponse(self.error_response[1], self.error_response[0])
            answer = {"id": str(new_id()), "upstream": name, "length": len(body)}
            return JSONResponse(answer, headers={"server": "secret", "x-hop": "1"})

        return app

    async def _stream_in_two_chunks(self) -> AsyncIterator[bytes]:
        yield b"first"
        await self.release.wait()
        yield b"second"


@dataclass
class RunningGateway:
    """A running gateway."""

    url: str
    port: int
    service: Service
    upstreams: StubUpstreams
    stacks: dict[str, AsyncExitStack]
    """The exit stacks of the gateway and each stub service."""

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws") + "/ws/transcribe"


@pytest.fixture
def upstreams() -> StubUpstreams:
    return StubUpstreams()


@pytest.fixture
def setting_overrides() -> dict[str, Any]:
    """Settings that a test overrides."""
    return {}


@pytest.fixture
async def gateway(
    upstreams: StubUpstreams,
    issuer: TokenIssuer,
    setting_overrides: dict[str, Any],
    transport: FakeTransport,
) -> AsyncIterator[RunningGateway]:
    async with AsyncExitStack() as stack:
        urls, stacks = {}, {}
        for name in ("auth", "sessions", "media", "ai"):
            listener = listen("127.0.0.1", 0)
            app = upstreams.app(name, issuer)
            upstream_service = Service(name, app, Settings(), FakeTransport(), deps=None)
            stacks[name] = await stack.enter_async_context(AsyncExitStack())
            await stacks[name].enter_async_context(running(upstream_service, listener))
            urls[f"{name}_url"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        defaults: dict[str, Any] = {
            "service_token": SERVICE_TOKEN,
            "environment": "development",
            "max_body_bytes": 10_000,
            "requests_per_minute": 200,
            "socket_auth_timeout_seconds": 1.0,
            "max_sockets_per_user": 3,
            "shutdown_seconds": 1,
        }
        listener = listen("127.0.0.1", 0)
        service = build(GatewaySettings(**(defaults | urls | setting_overrides)), transport)
        stacks["gateway"] = await stack.enter_async_context(AsyncExitStack())
        await stacks["gateway"].enter_async_context(running(service, listener))
        port = listener.getsockname()[1]
        gateway = RunningGateway(f"http://127.0.0.1:{port}", port, service, upstreams, stacks)
        async with http_client() as client:
            while (await client.get(f"{gateway.url}/health/ready")).status_code != 200:
                await asyncio.sleep(0.02)
        upstreams.requests.clear()
        yield gateway


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
async def client(
    gateway: RunningGateway, issuer: TokenIssuer, user_id: UUID
) -> AsyncIterator[httpx.AsyncClient]:
    """A client authenticated as `user_id`."""
    async with http_client(base_url=gateway.url, headers=issuer.bearer(user_id)) as client:
        yield client


def decode_frame(text: str | bytes) -> dict[str, Any]:
    """Return a decoded frame."""
    frame: dict[str, Any] = json.loads(text)
    return frame
