"""A small service with an outbox and a counter. COACH_CRASH_AT selects where it is killed.

`crash_process.py BROKER DATABASE [emit]`: BROKER and DATABASE are URLs. With `emit` it commits one
event first. It ends with status 0 once the event was applied and nothing is left to do.
"""

import asyncio
import sys
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Column, Integer, String, Table, func, insert, select, update

from coach_common.db.database import Database
from coach_common.db.tables import inbox_table, new_metadata, outbox_table
from coach_common.db.transaction import MessageContext
from coach_common.errors import Unavailable
from coach_common.events.catalog import SessionCompleted, SessionDeleted
from coach_common.messaging.rabbitmq import RabbitMQTransport
from coach_common.messaging.relay import OutboxRelay
from coach_common.messaging.sqlite_broker import SqliteBroker, SqliteTransport
from coach_common.messaging.subscriptions import Subscription, Transport

METADATA = new_metadata()
APPLIED = Table(
    "applied",
    METADATA,
    Column("name", String(20), primary_key=True),
    Column("count", Integer, nullable=False),
)
OUTBOX, INBOX = outbox_table(METADATA), inbox_table(METADATA)
SESSION, USER = UUID(int=1), UUID(int=2)


async def main(broker_url: str, database_url: str, emit: bool) -> None:
    database = Database(database_url, source="sessions", outbox=OUTBOX, inbox=INBOX)
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)

    async def on_session_completed(event: SessionCompleted, delivery: MessageContext) -> None:
        async with database.transaction(deduplicate=delivery) as tx:
            await tx.execute(update(APPLIED).values(count=APPLIED.c.count + 1))
            # The resulting event is written in the same commit.
            await tx.emit(SessionDeleted(session_id=event.session_id, user_id=event.user_id))

    async def on_session_deleted(event: SessionDeleted, delivery: MessageContext) -> None:
        async with database.transaction(deduplicate=delivery) as tx:
            await tx.execute(update(APPLIED).values(count=APPLIED.c.count + 100))

    if emit:
        async with database.engine.begin() as connection:
            await connection.execute(insert(APPLIED).values(name="a", count=0))
        async with database.transaction() as tx:
            await tx.emit(
                SessionCompleted(
                    session_id=SESSION, user_id=USER, title="T", question=None,
                    duration_seconds=None,
                )
            )  # fmt: skip
    transport = await _transport(broker_url)
    await transport.start(
        [
            Subscription("ai", SessionCompleted, on_session_completed),
            Subscription("ai", SessionDeleted, on_session_deleted),
        ]
    )
    relay = asyncio.create_task(
        OutboxRelay(database, transport, claim_duration=timedelta(seconds=1)).run()
    )
    async with asyncio.timeout(60):
        while not await _is_done(database):
            await asyncio.sleep(0.05)
    # Wait for effects that would be applied a second time.
    await asyncio.sleep(1.5)
    relay.cancel()
    await transport.stop()
    await database.close()


async def _transport(url: str) -> Transport:
    if url.startswith("amqp"):
        return RabbitMQTransport(url)
    broker = SqliteBroker(url)
    await broker.open()
    return SqliteTransport(broker)


async def _is_done(database: Database) -> bool:
    try:
        async with database.read_only() as tx:
            count = await tx.scalar(select(APPLIED.c.count))
            left = await tx.scalar(select(func.count()).select_from(OUTBOX))
    except Unavailable:
        return False
    return count is not None and count >= 101 and left == 0


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], "emit" in sys.argv))
