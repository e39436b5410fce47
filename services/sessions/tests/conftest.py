"""A built sessions service on an empty, migrated database."""

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest

from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_common.testing.harness import client_for, migrated_service
from coach_sessions.app import build
from coach_sessions.config import SessionsSettings


@pytest.fixture
async def service(
    database_url: str, transport: FakeTransport, clock: FakeClock, issuer: TokenIssuer
) -> AsyncIterator[Service]:
    settings = SessionsSettings(database_url=database_url)
    async with migrated_service(
        build(settings, transport, clock=clock, tokens=issuer.verifier)
    ) as built:
        yield built


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
async def client(
    service: Service, issuer: TokenIssuer, user_id: UUID
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that acts as `user_id`."""
    async with client_for(service, headers=issuer.bearer(user_id)) as client:
        yield client
