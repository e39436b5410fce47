"""A running media service with an empty database and a real object store (real SigV4)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from coach_common.config import Settings
from coach_common.errors import NotFound, Unavailable
from coach_common.ids import new_id
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_common.testing.harness import client_for, migrated_service
from coach_embedded.store import StoreKey, create_store_app
from coach_media.app import build
from coach_media.config import MediaSettings


@dataclass
class FakeSessionOwnership:
    """SessionOwnership with a fixed set of owned sessions."""

    owned: set[UUID] = field(default_factory=set)
    is_down: bool = False

    async def require_owner(self, session_id: UUID, *, bearer: str) -> None:
        if self.is_down:
            raise Unavailable("The sessions service is unavailable.")
        if session_id not in self.owned:
            raise NotFound("Session not found")

    async def close(self) -> None:
        return None


@pytest.fixture
def sessions() -> FakeSessionOwnership:
    return FakeSessionOwnership()


@pytest.fixture
async def service(
    database_url: str,
    tmp_path: Path,
    transport: FakeTransport,
    clock: FakeClock,
    issuer: TokenIssuer,
    sessions: FakeSessionOwnership,
) -> AsyncIterator[Service]:
    app = create_store_app(
        tmp_path / "objects",
        keys=[StoreKey("ACCESS", "secret")],
        bucket="coach",
        cors_origins=[],
    )
    listener = listen("127.0.0.1", 0)
    settings = MediaSettings(
        database_url=database_url,
        aws_access_key_id="ACCESS",
        aws_secret_access_key="secret",
        s3_bucket_name="coach",
        s3_endpoint_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
        max_audio_bytes=1000,
        max_pending_uploads=3,
        presign_host_from_request=True,
    )
    built = build(settings, transport, clock=clock, tokens=issuer.verifier, sessions=sessions)
    async with (
        running(Service("store", app, Settings(), FakeTransport(), deps=None), listener),
        migrated_service(built),
    ):
        yield built


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
async def client(
    service: Service, issuer: TokenIssuer, user_id: UUID
) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with an access token of `user_id`."""
    async with client_for(service, headers=issuer.bearer(user_id)) as client:
        yield client
