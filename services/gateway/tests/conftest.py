"""A gateway on a real socket, in front of small real upstreams and an auth that can end logins."""

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
from coach_gateway.app import build
from coach_gateway.config import GatewaySettings

SERVICE_TOKEN = "a token between services"


@dataclass
class Upstreams:
    """What the gateway's upstreams were asked, and what they should do."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    ended: list[UUID] = field(default_factory=list)
    is_auth_broken: bool = False
    refusal: tuple[int, dict[str, Any]] | None = None
    hold: asyncio.Event = field(default_factory=asyncio.Event)

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
            if self.is_auth_broken:
                return JSONResponse({}, 500)
            until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            rows = [{"login_id": str(one), "expires_at": until} for one in self.ended]
            return JSONResponse({"cursor": "", "revoked": rows})

        @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
        async def anything(request: Request, path: str) -> Response:
            body = await request.body()
            self.asked.append(
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
                return StreamingResponse(self._slowly(), headers={"connection": "x-hop"})
            if self.refusal is not None:
                return JSONResponse(self.refusal[1], self.refusal[0])
            answer = {"id": str(new_id()), "upstream": name, "length": len(body)}
            return JSONResponse(answer, headers={"server": "secret", "x-hop": "1"})

        return app

    async def _slowly(self) -> AsyncIterator[bytes]:
        yield b"first"
        await self.hold.wait()
        yield b"second"


@dataclass
class Running:
    """A gateway that listens."""

    url: str
    port: int
    service: Service
    upstreams: Upstreams
    parts: dict[str, AsyncExitStack]
    """The gateway and each upstream, to be stopped by itself."""

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws") + "/ws/transcribe"


@pytest.fixture
def upstreams() -> Upstreams:
    return Upstreams()


@pytest.fixture
def changes() -> dict[str, Any]:
    """Settings that a test wants otherwise."""
    return {}


@pytest.fixture
async def gateway(
    upstreams: Upstreams,
    issuer: TokenIssuer,
    changes: dict[str, Any],
    transport: FakeTransport,
) -> AsyncIterator[Running]:
    async with AsyncExitStack() as stack:
        urls, parts = {}, {}
        for name in ("auth", "sessions", "media", "ai"):
            listener = listen("127.0.0.1", 0)
            app = upstreams.app(name, issuer)
            part = Service(name, app, Settings(), FakeTransport())
            parts[name] = await stack.enter_async_context(AsyncExitStack())
            await parts[name].enter_async_context(running(part, listener))
            urls[f"{name}_url"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        usual: dict[str, Any] = {
            "service_token": SERVICE_TOKEN,
            "environment": "development",
            "max_body_bytes": 10_000,
            "requests_a_minute": 200,
            "socket_auth_seconds": 1.0,
            "max_sockets_a_user": 3,
            "shutdown_seconds": 1,
        }
        door = listen("127.0.0.1", 0)
        built = build(GatewaySettings(**(usual | urls | changes)), transport)
        parts["gateway"] = await stack.enter_async_context(AsyncExitStack())
        await parts["gateway"].enter_async_context(running(built, door))
        port = door.getsockname()[1]
        found = Running(f"http://127.0.0.1:{port}", port, built, upstreams, parts)
        async with httpx.AsyncClient() as client:
            while (await client.get(f"{found.url}/health/ready")).status_code != 200:
                await asyncio.sleep(0.02)
        upstreams.asked.clear()
        yield found


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
async def client(
    gateway: Running, issuer: TokenIssuer, user_id: UUID
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that acts as `user_id`."""
    async with httpx.AsyncClient(base_url=gateway.url, headers=issuer.bearer(user_id)) as client:
        yield client


def said(text: str | bytes) -> dict[str, Any]:
    """Return a frame."""
    frame: dict[str, Any] = json.loads(text)
    return frame
