"""SQLite files of the embedded profile: deleted text, driver errors, clock changes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, String, Table, delete, func, insert, select, update

from coach_common.clock import utc_now
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


class BrokenEngine:
    """An engine whose driver raises an undocumented error while it connects."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        raise RuntimeError("Transport does not expose socket instance")
        yield


async def test_driver_error_while_connecting_raises_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/notes.db", source="test")
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
