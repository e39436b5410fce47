"""Tombstones: ids of deleted users and sessions, so that late events about them are ignored."""

from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import Select, Table, bindparam, func, select

from coach_common.db.transaction import Transaction


async def insert_tombstone(
    tx: Transaction, tombstones: Table, deleted_id: UUID, *, at: datetime
) -> bool:
    """Record for 30 days that this user or session was deleted. Return False if it was known."""
    result = await tx.execute(
        tx.dialect.insert_ignore(tombstones).values(id=deleted_id, deleted_at=at)
    )
    return result.rowcount == 1


async def has_tombstone(tx: Transaction, tombstones: Table, *ids: UUID | None) -> bool:
    """Return whether any of these users or sessions was deleted. None is ignored."""
    known = {f"id_{number}": id_ for number, id_ in enumerate(filter(None, ids))}
    return bool(known) and bool(await tx.scalar(_count_query(tombstones, *known), known))


@cache
def _count_query(tombstones: Table, *parameters: str) -> Select[int]:
    # One parameter for each id: SQLAlchemy would write the SQL of an expanding one at each call.
    ids = [bindparam(name, type_=tombstones.c.id.type) for name in parameters]
    return select(func.count()).select_from(tombstones).where(tombstones.c.id.in_(ids))
