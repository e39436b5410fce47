"""Guarantees of both databases: no lost update, one winner, each event applied once."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Column, Integer, String, Table, insert, select, text, update

from coach_common.db.database import Database, database_now
from coach_common.db.tables import inbox_table, new_metadata, outbox_table
from coach_common.db.transaction import AlreadyProcessed, MessageContext, Transaction
from coach_common.errors import TransactionConflict
from coach_common.events.catalog import UserRegistered
from coach_common.ids import new_id
from coach_common.testing.harness import emitted_events

METADATA = new_metadata()
COUNTERS = Table(
    "counters",
    METADATA,
    Column("name", String(20), primary_key=True),
    Column("value", Integer, nullable=False),
)
OUTBOX, INBOX = outbox_table(METADATA), inbox_table(METADATA)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url, source="test", outbox=OUTBOX, inbox=INBOX)
    async with made.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.execute(insert(COUNTERS).values(name="a", value=0))
    yield made
    await made.close()


async def _value(database: Database) -> int:
    async with database.read_only() as tx:
        value: int = await tx.scalar(select(COUNTERS.c.value))
        return value


async def test_concurrent_updates_are_not_lost(database: Database) -> None:
    async def increment() -> None:
        async with database.transaction() as tx:
            await tx.execute(update(COUNTERS).values(value=COUNTERS.c.value + 1))

    await asyncio.gather(*(increment() for _ in range(20)))

    assert await _value(database) == 20


async def test_concurrent_updates_of_locked_row_are_not_lost(database: Database) -> None:
    async def increment() -> None:
        async with database.transaction() as tx:
            value = await tx.scalar(select(COUNTERS.c.value).with_for_update())
            await asyncio.sleep(0)
            await tx.execute(update(COUNTERS).values(value=value + 1))

    await asyncio.gather(*(increment() for _ in range(20)))

    assert await _value(database) == 20


async def test_exception_rolls_back_rows_and_events(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as tx:
            await tx.execute(update(COUNTERS).values(value=9))
            await tx.emit(UserRegistered(user_id=new_id()))
            raise ZeroDivisionError

    assert await _value(database) == 0
    assert await emitted_events(database, UserRegistered) == []


async def test_read_only_transaction_cannot_emit(database: Database) -> None:
    async with database.read_only() as tx:
        with pytest.raises(RuntimeError):
            await tx.emit(UserRegistered(user_id=new_id()))


async def test_parallel_deliveries_are_deduplicated(database: Database) -> None:
    delivery = MessageContext("test.user.deleted", new_id())

    async def apply() -> str:
        try:
            async with database.transaction(deduplicate=delivery) as tx:
                await tx.execute(update(COUNTERS).values(value=COUNTERS.c.value + 1))
                await tx.emit(UserRegistered(user_id=new_id()))
        except AlreadyProcessed:
            return "again"
        except TransactionConflict:
            return "contended"
        return "applied"

    outcomes = await asyncio.gather(*(apply() for _ in range(10)))

    assert outcomes.count("applied") == 1
    assert await _value(database) == 1
    assert len(await emitted_events(database, UserRegistered)) == 1


async def test_failed_delivery_can_be_retried(database: Database) -> None:
    delivery = MessageContext("test.user.deleted", new_id())
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(deduplicate=delivery):
            raise ZeroDivisionError

    async with database.transaction(deduplicate=delivery) as tx:
        await tx.execute(update(COUNTERS).values(value=1))

    assert await _value(database) == 1


async def test_database_clock_is_utc_and_monotonic(database: Database) -> None:
    async with database.read_only() as tx:
        one = await database_now(tx)
    async with database.read_only() as tx:
        two = await database_now(tx)

    assert one.tzinfo is not None
    assert one <= two
    assert abs((one - database.clock()).total_seconds()) < 5


@pytest.mark.servers
async def test_deadlock_raises_transaction_conflict(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("one writer cannot deadlock")
    async with database.transaction() as tx:
        await tx.execute(insert(COUNTERS).values(name="b", value=0))
    met = asyncio.Barrier(2)

    async def cross(first: str, second: str) -> str:
        try:
            async with database.transaction() as tx:
                await tx.execute(update(COUNTERS).where(COUNTERS.c.name == first).values(value=1))
                await met.wait()
                await tx.execute(update(COUNTERS).where(COUNTERS.c.name == second).values(value=1))
        except TransactionConflict:
            return "contended"
        return "done"

    assert sorted(await asyncio.gather(cross("a", "b"), cross("b", "a"))) == ["contended", "done"]


@pytest.mark.servers
async def test_keyset_pagination_reads_only_the_page(
    database_url: str, request: pytest.FixtureRequest
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("MariaDB is where the wrong form of the condition reads everything before it")
    from datetime import UTC, datetime, timedelta

    from coach_common.db.migrate import upgrade
    from coach_sessions import store
    from coach_sessions.tables import SESSIONS

    database = Database(database_url, source="sessions")
    await upgrade(database, "coach_sessions")
    user_id, start = new_id(), datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {
            "id": new_id(), "user_id": user_id, "title": "T", "status": "ready",
            "published_fingerprints": "{}",
            "created_at": start + timedelta(minutes=n), "updated_at": start,
        }
        for n in range(3000)
    ]  # fmt: skip
    async with database.transaction() as tx:
        await tx.execute(insert(SESSIONS), rows)
    middle = rows[1500]
    async with database.transaction() as tx:
        before = await _rows_read(tx)
        page = await store.list_sessions(
            tx, user_id, limit=20, position=(middle["created_at"], middle["id"])
        )
        read = await _rows_read(tx) - before
    await database.close()

    assert [one.id for one in page] == [row["id"] for row in rows[1499:1479:-1]]
    assert read <= 25


async def _rows_read(tx: Transaction) -> int:
    status = await tx.fetch_all(
        text(
            "SELECT VARIABLE_VALUE AS value FROM information_schema.SESSION_STATUS"
            " WHERE VARIABLE_NAME IN ('HANDLER_READ_NEXT', 'HANDLER_READ_PREV',"
            " 'HANDLER_READ_KEY', 'HANDLER_READ_FIRST', 'HANDLER_READ_LAST')"
        )
    )
    return sum(int(row["value"]) for row in status)
