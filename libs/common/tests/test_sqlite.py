"""What the embedded profile's SQLite files keep, and how its queue bears clock changes."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, String, Table, delete, func, insert, select, update

from coach_common.clock import utc_now
from coach_common.db import sqlite
from coach_common.db.database import Database
from coach_common.db.tables import new_metadata
from coach_common.errors import Unavailable
from coach_common.ids import new_id
from coach_common.messaging.sqlite_broker import MESSAGES, SqliteBroker
from coach_common.messaging.subscriptions import UNROUTED_QUEUE, UNROUTED_TTL_SECONDS, OutboxMessage

METADATA = new_metadata()
NOTES = Table("notes", METADATA, Column("text", String(200), primary_key=True))


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    broker = SqliteBroker(f"sqlite:///{tmp_path}/broker.db")
    await broker.open()
    yield broker
    await broker.close()


async def test_deleted_text_leaves_database_file_and_wal(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/notes.db", source="test")
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    text = "what only this person said " * 5
    async with database.transaction() as tx:
        await tx.execute(insert(NOTES).values(text=text))
    async with database.transaction() as tx:
        await tx.execute(delete(NOTES))
    files = [tmp_path / "notes.db", tmp_path / "notes.db-wal"]
    assert any(text.encode() in file.read_bytes() for file in files)

    await database.truncate_wal()

    assert not any(text.encode() in file.read_bytes() for file in files)
    await database.close()


@pytest.fixture
async def notes(tmp_path: Path) -> AsyncIterator[Database]:
    """A database with an empty table of notes."""
    database = Database(f"sqlite:///{tmp_path}/notes.db", source="test")
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield database
    await database.close()


async def _add_note(database: Database, text: str, *, is_durable: bool = True) -> None:
    async with database.transaction(is_durable=is_durable) as tx:
        await tx.execute(insert(NOTES).values(text=text))


async def test_commit_returns_after_sync_that_concurrent_commits_share(
    notes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced_sizes: list[int] = []
    wal = Path(f"{notes.statement_engine.url.database}-wal")

    def sync_slowly(file: int) -> None:
        synced_sizes.append(os.fstat(file).st_size)
        time.sleep(0.02)

    monkeypatch.setattr(sqlite, "_fdatasync", sync_slowly)
    await _add_note(notes, "first")
    assert synced_sizes == [wal.stat().st_size]
    await asyncio.gather(*(_add_note(notes, str(number)) for number in range(30)))

    assert synced_sizes[-1] == wal.stat().st_size
    assert 2 <= len(synced_sizes) < 20


async def test_commit_that_may_be_lost_is_synced_with_the_next_one(
    notes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    monkeypatch.setattr(sqlite, "_fdatasync", syncs.append)

    await _add_note(notes, "may be lost", is_durable=False)
    assert syncs == []
    await notes.sync()
    await notes.sync()

    assert len(syncs) == 1


async def test_failed_sync_raises_unavailable_and_is_repeated(
    notes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sqlite, "_fdatasync", fail)
    with pytest.raises(Unavailable):
        await _add_note(notes, "first")
    syncs: list[int] = []
    monkeypatch.setattr(sqlite, "_fdatasync", syncs.append)

    await notes.sync()

    assert len(syncs) == 1


async def test_write_lock_of_another_process_does_not_block_the_event_loop(notes: Database) -> None:
    other = sqlite3.connect(str(notes.statement_engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    adding = asyncio.create_task(_add_note(notes, "waits"))
    async with notes.read_only() as tx:
        assert await tx.fetch_all(select(NOTES)) == []
    for _ in range(3):
        await asyncio.sleep(0.01)
    assert not adding.done()

    other.execute("COMMIT")
    other.close()
    await adding

    async with notes.read_only() as tx:
        assert await tx.scalar(select(NOTES.c.text)) == "waits"


async def test_cancelled_commit_leaves_the_connection_usable(notes: Database) -> None:
    for number in range(20):
        adding = asyncio.create_task(_add_note(notes, str(number)))
        for _ in range(number):
            await asyncio.sleep(0)
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)

    await _add_note(notes, "last")

    async with notes.read_only() as tx:
        texts = {row["text"] for row in await tx.fetch_all(select(NOTES))}
    assert "last" in texts


class BrokenEngine:
    """An engine whose driver raises an undocumented error while it connects."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        raise RuntimeError("Transport does not expose socket instance")
        yield


async def test_driver_error_while_connecting_raises_unavailable() -> None:
    database = Database("mysql://127.0.0.1/notes", source="test")
    await database.close()
    database.engine = BrokenEngine()  # type: ignore[assignment]

    with pytest.raises(Unavailable, match="database is temporarily unavailable"):
        await database.check()


async def test_message_scheduled_before_a_clock_step_is_due(broker: SqliteBroker) -> None:
    await broker.enqueue([OutboxMessage(new_id(), "session.completed", b"{}")])
    async with broker.database.transaction() as tx:
        await tx.execute(update(MESSAGES).values(due_at=utc_now() + timedelta(days=1)))

    due_messages, _ = await broker.fetch_due("ai.session.completed", set())

    assert len(due_messages) == 1


async def test_old_unrouted_events_are_purged_while_running(broker: SqliteBroker) -> None:
    await broker.enqueue([OutboxMessage(new_id(), "user.registered", b"{}")])
    old = utc_now() - timedelta(seconds=UNROUTED_TTL_SECONDS + 1)
    async with broker.database.transaction() as tx:
        await tx.execute(update(MESSAGES).values(due_at=old))
        assert await tx.scalar(select(MESSAGES.c.queue)) == UNROUTED_QUEUE

    await broker.purge_unrouted()

    async with broker.database.read_only() as tx:
        assert await tx.scalar(select(func.count()).select_from(MESSAGES)) == 0
