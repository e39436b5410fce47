"""A service's copy of the users' decisions about one purpose. `consent.changed` updates it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, Column, MetaData, Table, select, update

from coach_common.db.tables import Id, UtcDateTime
from coach_common.db.transaction import Transaction


def consents_table(metadata: MetaData, name: str) -> Table:
    """Return the decisions about a purpose. No row: the user has not decided."""
    return Table(
        name,
        metadata,
        Column("user_id", Id, primary_key=True),
        Column("is_given", Boolean, nullable=False),
        Column("changed_at", UtcDateTime, nullable=False),
    )


async def find_consent(tx: Transaction, table: Table, user_id: UUID) -> bool | None:
    """Return whether the user has agreed, or None without a decision."""
    row = await tx.fetch_one(select(table.c.is_given).where(table.c.user_id == user_id))
    return None if row is None else bool(row["is_given"])


async def save_consent(
    tx: Transaction, table: Table, user_id: UUID, *, is_given: bool, changed_at: datetime
) -> bool:
    """Store a decision unless a later one is stored. Return whether it was new."""
    values = {"is_given": is_given, "changed_at": changed_at}
    added = await tx.execute(tx.dialect.insert_ignore(table).values(user_id=user_id, **values))
    if added.rowcount == 1:
        return True
    changed = await tx.execute(
        update(table)
        .where(table.c.user_id == user_id, table.c.changed_at < changed_at)
        .values(values)
    )
    return changed.rowcount == 1
