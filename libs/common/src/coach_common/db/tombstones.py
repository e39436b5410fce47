"""Tombstones: ids of deleted users and sessions, so that late events about them are ignored."""

from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import BindParameter, Select, Table, bindparam, func, select

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
    known = [id_ for id_ in ids if id_ is not None]
    return bool(await tx.scalar(_count_query(tombstones), {"ids": known}))


@cache
def _count_query(tombstones: Table) -> Select[int]:
    ids: BindParameter[UUID] = bindparam("ids", expanding=True)
    return select(func.count()).select_from(tombstones).where(tombstones.c.id.in_(ids))
