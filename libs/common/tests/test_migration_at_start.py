"""A service that migrates at its start waits for the database, and a signal ends the wait."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from coach_common import service as service_module
from coach_common.config import Settings
from coach_common.db import migrate
from coach_common.db.database import Database
from coach_common.errors import Unavailable
from coach_common.service import Service, upgrade_when_available
from coach_common.testing.fakes import FakeTransport

_RETRY_SECONDS = 0.01


class _StartingDatabase(Database):
    """A database that refuses the first `refusals` connections."""

    refusals = 0
    attempts = 0

    async def require_access(self) -> None:
        self.attempts += 1
        if self.attempts <= self.refusals:
            raise Unavailable("The database is starting.")


@pytest.fixture
def migrations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the packages that were migrated."""
    migrated: list[str] = []

    async def upgrade(database: Database, package: str) -> None:
        migrated.append(package)

    monkeypatch.setattr(migrate, "upgrade", upgrade)
    monkeypatch.setattr(service_module, "_DATABASE_RETRY_SECONDS", _RETRY_SECONDS)
    return migrated


@pytest.fixture(autouse=True)
def _signal_handlers() -> Iterator[None]:
    """Restore the signal handlers that the function replaces."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _service(directory: Path, refusals: int) -> tuple[Service[object], _StartingDatabase]:
    database = _StartingDatabase(f"sqlite:///{directory}/test.db", source="test")
    database.refusals = refusals
    service: Service[object] = Service(
        "test",
        FastAPI(),
        Settings(),
        FakeTransport(),
        deps=None,
        database=database,
        package="coach_test",
    )
    return service, database


async def test_service_without_database_starts_at_once(migrations: list[str]) -> None:
    service: Service[object] = Service("test", FastAPI(), Settings(), FakeTransport(), deps=None)

    assert await upgrade_when_available(service)
    assert migrations == []


async def test_migration_waits_for_database(tmp_path: Path, migrations: list[str]) -> None:
    service, database = _service(tmp_path, refusals=3)

    assert await upgrade_when_available(service)
    assert (database.attempts, migrations) == (4, ["coach_test"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_the_wait_without_migration(
    tmp_path: Path, migrations: list[str], number: signal.Signals
) -> None:
    service, database = _service(tmp_path, refusals=10**9)
    waiting = asyncio.create_task(upgrade_when_available(service))
    while database.attempts < 2:
        await asyncio.sleep(_RETRY_SECONDS)

    os.kill(os.getpid(), number)

    assert not await asyncio.wait_for(waiting, 60)
    assert migrations == []


async def test_migration_under_way_is_completed_after_a_signal(
    tmp_path: Path, migrations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = _service(tmp_path, refusals=0)
    stop_requested = asyncio.Event()
    monkeypatch.setattr(service_module, "_catch_stop_signals", lambda: stop_requested)

    async def upgrade(database: Database, package: str) -> None:
        stop_requested.set()
        await asyncio.sleep(_RETRY_SECONDS)
        migrations.append(package)

    monkeypatch.setattr(migrate, "upgrade", upgrade)

    assert not await upgrade_when_available(service)
    assert migrations == ["coach_test"]
