"""What was deleted: after it, a late event about a user or a session changes nothing."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Table, func, select

from coach_common.db.transaction import Transaction


async def insert_tombstone(
    tx: Transaction, tombstones: Table, deleted_id: UUID, *, at: datetime
) -> None:
    """Remember for 30 days that this user or session is gone."""
    await tx.execute(tx.database.insert_ignore(tombstones).values(id=deleted_id, deleted_at=at))


async def has_tombstone(tx: Transaction, tombstones: Table, *ids: UUID | None) -> bool:
    """Tell whether any of these users or sessions was deleted."""
    known = [id_ for id_ in ids if id_ is not None]
    count = await tx.scalar(
        select(func.count()).select_from(tombstones).where(tombstones.c.id.in_(known))
    )
    return bool(count)
