"""Rows whose event is published again: which are due, and which replica publishes each.

Their tables have a column `republish_after`, null once nothing can have lost the event.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import RowMapping, Table, select, update

from coach_common.db.leases import is_due
from coach_common.db.transaction import Transaction
from coach_common.repair import MAX_DELAY


async def list_due_rows(
    tx: Transaction, table: Table, now: datetime, *, limit: int
) -> list[RowMapping]:
    """Return the rows whose event is due, oldest first."""
    due_at = table.c.republish_after
    return await tx.fetch_all(
        select(table)
        .where(is_due(due_at, now=now, latest=now + MAX_DELAY))
        .order_by(due_at)
        .limit(limit)
    )


async def claim_row(
    tx: Transaction,
    table: Table,
    key: Mapping[str, object],
    *,
    due_at: datetime,
    republish_after: datetime | None,
) -> bool:
    """Store the next due time. Return False if another replica or a new state was first."""
    claimed = await tx.execute(
        update(table)
        .where(
            *(table.c[name] == value for name, value in key.items()),
            table.c.republish_after == due_at,
        )
        .values(republish_after=republish_after)
    )
    return claimed.rowcount == 1
