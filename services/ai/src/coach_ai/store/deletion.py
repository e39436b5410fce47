"""Queries that remove what is gone, and remember that it is."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, delete, or_, select

from coach_ai.tables import (
    ANSWERS,
    BUDGETS,
    CONVERSATIONS,
    JOBS,
    MESSAGES,
    OUTBOX,
    RECORDINGS,
    TOMBSTONES,
    USAGE,
)
from coach_common.db.tombstones import has_tombstone, insert_tombstone
from coach_common.db.transaction import Transaction


async def erase_session(
    tx: Transaction, session_id: UUID, user_id: UUID, keys: Sequence[str]
) -> None:
    """Remove a session's answer, recordings and jobs."""
    which = and_(
        RECORDINGS.c.user_id == user_id,
        or_(RECORDINGS.c.session_id == session_id, RECORDINGS.c.key.in_(keys)),
    )
    uploads = [
        row["upload_id"] for row in await tx.fetch_all(select(RECORDINGS.c.upload_id).where(which))
    ]
    await tx.execute(delete(JOBS).where(JOBS.c.subject_id.in_([session_id, *uploads])))
    await tx.execute(delete(RECORDINGS).where(which))
    await tx.execute(delete(ANSWERS).where(ANSWERS.c.session_id == session_id))


async def erase_user(tx: Transaction, user_id: UUID) -> None:
    """Remove everything about a person."""
    for table in (JOBS, RECORDINGS, ANSWERS, USAGE, BUDGETS, MESSAGES, CONVERSATIONS, OUTBOX):
        await tx.execute(delete(table).where(table.c.user_id == user_id))


async def add_tombstone(tx: Transaction, deleted_id: UUID, *, at: datetime) -> None:
    """Remember that this user or session is gone."""
    await insert_tombstone(tx, TOMBSTONES, deleted_id, at=at)


async def is_gone(tx: Transaction, *ids: UUID | None) -> bool:
    """Tell whether any of these users or sessions was deleted."""
    return await has_tombstone(tx, TOMBSTONES, *ids)
