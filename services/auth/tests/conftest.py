"""A built auth service on an empty, migrated database."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from coach_auth import sliding_window
from coach_auth.app import build
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_auth.mail import Mail
from coach_auth.use_cases import mails
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, FakeTransport
from coach_common.testing.harness import client_for, migrated_service

SECRET = "a secret key of more than thirty-two characters"
SERVICE_TOKEN = "a token between services"
PASSWORD = "correct horse"


class FakeMailer:
    """A mailer that keeps what it sends, and raises `error` if it is set."""

    prints_tokens = False

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.error: Exception | None = None

    async def send(self, mail: Mail) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(mail)

    async def erase(self, user_id: UUID) -> None:
        self.sent = [mail for mail in self.sent if mail.user_id != user_id]

    def token(self, template: str, recipient: str) -> str:
        """Return the token in the last mail of a kind to a recipient."""
        (*_, mail) = (
            mail for mail in self.sent if mail.template == template and mail.recipient == recipient
        )
        return re.findall(r"app:\s+(\S+)", mail.text)[0]


@pytest.fixture(autouse=True)
def patient_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Redis take 30 s. A loaded machine is no outage."""
    monkeypatch.setattr(sliding_window, "_REDIS_TIMEOUT_SECONDS", 30.0)


@pytest.fixture
def mailer() -> FakeMailer:
    return FakeMailer()


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
    settings: AuthSettings, transport: FakeTransport, clock: FakeClock, mailer: FakeMailer
) -> AsyncIterator[Service]:
    async with migrated_service(build(settings, transport, clock=clock, mailer=mailer)) as built:
        yield built


@pytest.fixture
def deps(service: Service) -> Deps:
    return service.deps


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_for(service) as client:
        yield client


@pytest.fixture
def deliver_mails(deps: Deps) -> Callable[[], Awaitable[None]]:
    """Return a function that attempts each mail that is due, as the worker does."""

    async def deliver() -> None:
        while await mails.deliver_due_mails(deps):
            pass

    return deliver


@dataclass
class SignedInClient:
    """A signed-in user."""

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
