"""Deletions that a service has published, and publishes again until they are confirmed."""

import asyncio
from datetime import timedelta
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy import Column, Index, MetaData, Table, delete

from coach_common import logs
from coach_common.clock import Clock
from coach_common.db.database import Database
from coach_common.db.republication import claim_row, list_due_rows
from coach_common.db.tables import Id, LongText, UtcDateTime
from coach_common.db.transaction import Transaction
from coach_common.errors import Unavailable
from coach_common.events.base import Event
from coach_common.repair import MAX_DELAY, REPUBLICATION_GROWTH, next_repair_at

log = logs.get_logger(__name__)

_BATCH_SIZE = 100

E = TypeVar("E", bound=Event)


def deletions_table(metadata: MetaData) -> Table:
    """Return the published deletions. A row is deleted when every service has confirmed it.

    `id` is the id of the receipt.
    """
    return Table(
        "deletions",
        metadata,
        Column("id", Id, primary_key=True),
        Column("user_id", Id, nullable=False),
        Column("event", LongText, nullable=False),
        Column("deleted_at", UtcDateTime, nullable=False),
        Column("republish_after", UtcDateTime, nullable=False),
        Index("ix_deletions_user_id", "user_id"),
        Index("ix_deletions_republish_after", "republish_after"),
    )


class DeletionLog(Generic[E]):
    """Emits deletions, and emits each again at growing intervals until it is confirmed.

    Nothing else repairs a lost deletion: its data would stay in the service that lost the event.
    Deleting twice changes nothing, and a consumer confirms each repetition. The event needs the
    fields `is_repeated` and `receipt_id`. A deletion of an older release has no receipt, and is
    repeated for 30 days.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        event: type[E],
        *,
        clock: Clock,
        delay: timedelta,
    ) -> None:
        self._database = database
        self._table = table
        self._event = event
        self._clock = clock
        self._delay = delay

    async def emit(self, tx: Transaction, event: E, *, receipt_id: UUID, user_id: UUID) -> None:
        """Emit the deletion of a user or session, and record it for repetition.

        Does nothing if the deletion with this receipt is recorded already.
        """
        now = self._clock()
        recorded = await tx.execute(
            tx.dialect.insert_ignore(self._table).values(
                id=receipt_id,
                user_id=user_id,
                event=event.model_dump_json(),
                deleted_at=now,
                republish_after=now + self._delay,
            )
        )
        if recorded.rowcount == 1:
            await tx.emit(event)

    async def complete(self, tx: Transaction, receipt_id: UUID) -> None:
        """Stop repeating a deletion, because every service has confirmed it."""
        await tx.execute(delete(self._table).where(self._table.c.id == receipt_id))

    async def republish_due(self) -> int:
        """Emit the due deletions again; return how many were due.

        Several replicas may run this at the same time: each row is claimed by one of them.
        """
        now = self._clock()
        columns = self._table.c
        async with self._database.read_only() as tx:
            due = await list_due_rows(tx, self._table, now, limit=_BATCH_SIZE)
        for row in due:
            due_at = row["republish_after"]
            event = self._event.model_validate_json(row["event"])
            next_at = next_repair_at(
                now, waiting_since=row["deleted_at"], delay=self._delay, growth=REPUBLICATION_GROWTH
            )
            if next_at is None and getattr(event, "receipt_id", None) is not None:
                next_at = now + MAX_DELAY
            async with self._database.transaction() as tx:
                if next_at is None:
                    await tx.execute(
                        delete(self._table).where(
                            columns.id == row["id"], columns.republish_after == due_at
                        )
                    )
                    continue
                if await claim_row(
                    tx, self._table, {"id": row["id"]}, due_at=due_at, republish_after=next_at
                ):
                    await tx.emit(event.model_copy(update={"is_repeated": True}))
        return len(due)

    async def run(self) -> None:
        """Republish due deletions in bounded batches, once per delay, until cancelled."""
        while True:
            try:
                due = await self.republish_due()
            except Unavailable as error:
                log.warning("deletions.republish_unavailable", reason=str(error))
                due = 0
            if not due:
                await asyncio.sleep(self._delay.total_seconds())
