"""The outbox relay on every database: what it reports and what survives failures."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, insert, select, update

from coach_common.db.database import Database, database_now
from coach_common.db.tables import inbox_table, new_metadata, outbox_table
from coach_common.errors import Unavailable
from coach_common.events.catalog import UserRegistered
from coach_common.ids import new_id
from coach_common.messaging.relay import CLAIM_DURATION, OutboxRelay
from coach_common.messaging.subscriptions import OutboxMessage, Subscription
from coach_common.testing.fakes import FakeTransport
from coach_common.testing.harness import wait_until

METADATA = new_metadata()
OUTBOX, INBOX = outbox_table(METADATA), inbox_table(METADATA)


class BrokenTransport(FakeTransport):
    """A broker that refuses every publish until it is available."""

    is_available = False

    async def publish(self, events: Sequence[OutboxMessage]) -> set[UUID]:
        if not self.is_available:
            raise Unavailable("The message broker is not connected.")
        return await super().publish(events)

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        """Accept subscriptions without connecting."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, source="relay-test", outbox=OUTBOX, inbox=INBOX)
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield database
    await database.close()


@asynccontextmanager
async def _running(relay: OutboxRelay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _emit(database: Database, count: int) -> None:
    async with database.transaction() as tx:
        for _ in range(count):
            await tx.emit(UserRegistered(user_id=new_id()))


async def _until_empty(database: Database) -> None:
    async def is_empty() -> bool:
        async with database.read_only() as tx:
            return await tx.scalar(select(func.count()).select_from(OUTBOX)) == 0

    await wait_until(is_empty, description="an empty outbox")


async def test_outbox_gauge_counts_rows_while_broker_is_unavailable(database: Database) -> None:
    async with _running(OutboxRelay(database, BrokenTransport())):
        await asyncio.sleep(0)
        await _emit(database, 50)

        async def is_counted() -> bool:
            rows = REGISTRY.get_sample_value("coach_outbox_rows", {"service": "relay-test"})
            return rows == 50

        await wait_until(is_counted, description="the gauge to count 50 rows")


async def test_claim_from_before_a_clock_step_does_not_block_rows(database: Database) -> None:
    transport = FakeTransport()
    await _emit(database, 1)
    async with database.transaction() as tx:
        tomorrow = await database_now(tx) + timedelta(days=1)
        await tx.execute(update(OUTBOX).values(claimed_until=tomorrow))

    assert await OutboxRelay(database, transport).relay_once() == (1, 1)


async def test_claim_of_another_relay_is_respected(database: Database) -> None:
    await _emit(database, 1)
    async with database.transaction() as tx:
        soon = await database_now(tx) + CLAIM_DURATION / 2
        await tx.execute(update(OUTBOX).values(claimed_until=soon))

    assert await OutboxRelay(database, FakeTransport()).relay_once() == (0, 0)
    async with database.read_only() as tx:
        assert await tx.scalar(select(OUTBOX.c.claimed_until)) is not None


async def test_backlog_of_10000_events_is_published_once_each(database: Database) -> None:
    ids = [new_id() for _ in range(10_000)]
    rows = [{"id": one, "type": "user.registered", "body": "{}"} for one in ids]
    async with database.transaction() as tx:
        await tx.execute(insert(OUTBOX), rows)
    transport = FakeTransport()

    async with _running(OutboxRelay(database, transport)):
        await _until_empty(database)

    assert [one.id for one in transport.published] == ids


async def test_new_relay_publishes_what_a_killed_relay_claimed_within_seconds(
    database: Database,
) -> None:
    await _emit(database, 3)
    async with database.transaction() as tx:
        now = await database_now(tx)
        await tx.execute(update(OUTBOX).values(claimed_until=now + CLAIM_DURATION))
    transport = FakeTransport()

    async with _running(OutboxRelay(database, transport)):

        async def is_published() -> bool:
            return len(transport.published) == 3

        seconds = 5 if database.is_sqlite else CLAIM_DURATION.total_seconds() + 5
        await wait_until(is_published, description="the events", timeout_seconds=seconds)


async def test_event_of_a_running_relay_is_published_without_reading_the_outbox(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = FakeTransport()
    relay = OutboxRelay(database, transport)

    async def read_nothing() -> tuple[int, int]:
        return 0, 0

    monkeypatch.setattr(relay, "relay_once", read_nothing)
    async with _running(relay):
        await asyncio.sleep(0)
        await _emit(database, 250)
        await _until_empty(database)

    assert len({one.id for one in transport.published}) == 250


async def test_rolled_back_event_is_not_published(database: Database) -> None:
    transport = FakeTransport()
    async with _running(OutboxRelay(database, transport)):
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            async with database.transaction() as tx:
                await tx.emit(UserRegistered(user_id=new_id()))
                raise Unavailable("no")
        await _emit(database, 1)
        await _until_empty(database)

    assert len(transport.published) == 1


async def test_events_of_an_outage_are_published_once_the_broker_responds(
    database: Database,
) -> None:
    transport = BrokenTransport()
    async with _running(OutboxRelay(database, transport)):
        await asyncio.sleep(0)
        for _ in range(12):
            await _emit(database, 100)  # more than the relay keeps in memory
        transport.is_available = True
        await _until_empty(database)

    assert len({one.id for one in transport.published}) == 1_200


async def test_events_that_a_stopped_relay_did_not_publish_are_free(database: Database) -> None:
    async with _running(OutboxRelay(database, BrokenTransport())):
        await asyncio.sleep(0)
        await _emit(database, 3)

    async with database.read_only() as tx:
        assert await tx.fetch_all(select(OUTBOX.c.claimed_until).distinct()) == [
            {"claimed_until": None}
        ]
