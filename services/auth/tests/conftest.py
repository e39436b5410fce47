"""A built auth service on an empty, migrated database."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from coach_auth.app import build
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, FakeTransport
from coach_common.testing.harness import client_for, migrated_service

SECRET = "a secret key of more than thirty-two characters"
SERVICE_TOKEN = "a token between services"
PASSWORD = "correct horse"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that starts now: the token library compares with the real time."""
    return FakeClock(datetime.now(UTC))


@pytest.fixture
def settings(database_url: str) -> AuthSettings:
    return AuthSettings(
        database_url=database_url, secret_key=SECRET, service_token=SERVICE_TOKEN, bcrypt_cost=4
    )


@pytest.fixture
async def service(
    settings: AuthSettings, transport: FakeTransport, clock: FakeClock
) -> AsyncIterator[Service]:
    async with migrated_service(build(settings, transport, clock=clock)) as built:
        yield built


@pytest.fixture
def deps(service: Service) -> Deps:
    return service.deps


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_for(service) as client:
        yield client


@dataclass
class SignedInClient:
    """Somebody signed in."""

    client: httpx.AsyncClient
    token: str
    refresh_token: str
    user: dict[str, Any]

    async def call(self, method: str, path: str, **body: Any) -> httpx.Response:
        return await self.client.request(
            method,
            path,
            headers={"authorization": f"Bearer {self.token}"},
            **({"json": body} if body else {}),
        )

    async def refresh(self, token: str | None = None) -> httpx.Response:
        return await self.client.post(
            "/auth/refresh", json={"refresh_token": token or self.refresh_token}
        )


@pytest.fixture
async def phone(client: httpx.AsyncClient) -> SignedInClient:
    answer = await client.post(
        "/auth/register", json={"email": "alice@example.com", "password": PASSWORD}
    )
    body = answer.json()
    return SignedInClient(client, body["token"], body["refresh_token"], body["user"])
