"""Fixtures for the tests of all services."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_common.testing.servers import PrivateMariaDB, PrivateRabbitMQ, PrivateRedis


def pytest_configure() -> None:
    """Log exceptions without local variables in tests that do not configure logs.

    With local variables, formatting one exception of a large service can take minutes.
    """
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level, plain]
    )


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still at noon on 24 November 2026."""
    return FakeClock()


@pytest.fixture
def transport() -> FakeTransport:
    """Return a transport that records published events."""
    return FakeTransport()


@pytest.fixture(scope="session")
def issuer() -> TokenIssuer:
    """Return a signer of access tokens."""
    return TokenIssuer()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[PrivateMariaDB]:
    """Start a private MariaDB for this test run."""
    with PrivateMariaDB.run() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """Start a private RabbitMQ for this test run."""
    with PrivateRabbitMQ.run() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[PrivateRedis]:
    """Start a private Redis for this test run."""
    with PrivateRedis.run() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.servers)])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Return an empty database. Each test runs on SQLite and on MariaDB."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
    else:
        server: PrivateMariaDB = request.getfixturevalue("mariadb")
        with server.database() as url:
            yield url
