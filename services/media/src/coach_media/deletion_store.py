"""All queries about objects to delete, and about deletions that media has not confirmed yet."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, func, select, update

from coach_common.db.transaction import Transaction
from coach_media.domain import RECHECK_AFTER_EXPIRY, ObjectDeletion, Upload, build_user_prefix
from coach_media.tables import OBJECT_DELETIONS, UNCONFIRMED_DELETIONS


async def add_object_deletions(
    tx: Transaction, uploads: Sequence[Upload], *, due_at: datetime
) -> None:
    """Schedule the objects for deletion at `due_at` and after their upload URLs have expired.

    A deletion that is scheduled already for a later time is moved forward.
    """
    for upload in uploads:
        final_attempt_at = max(due_at, upload.url_expires_at + RECHECK_AFTER_EXPIRY)
        await tx.execute(
            tx.dialect.insert_ignore(OBJECT_DELETIONS).values(
                key=upload.key, due_at=due_at, final_attempt_at=final_attempt_at, attempts=0
            )
        )
        await tx.execute(
            update(OBJECT_DELETIONS)
            .where(OBJECT_DELETIONS.c.key == upload.key, OBJECT_DELETIONS.c.due_at > due_at)
            .values(due_at=due_at, final_attempt_at=final_attempt_at)
        )


async def list_due_object_deletions(
    tx: Transaction, now: datetime, *, limit: int
) -> list[ObjectDeletion]:
    """Return the deletions that are due, oldest first."""
    rows = await tx.fetch_all(
        select(OBJECT_DELETIONS)
        .where(OBJECT_DELETIONS.c.due_at <= now)
        .order_by(OBJECT_DELETIONS.c.due_at)
        .limit(limit)
    )
    return [ObjectDeletion(**row) for row in rows]


async def update_object_deletion(tx: Transaction, deletion: ObjectDeletion) -> None:
    """Store when the next attempt is due and how many attempts have failed."""
    await tx.execute(
        update(OBJECT_DELETIONS)
        .where(OBJECT_DELETIONS.c.key == deletion.key)
        .values(due_at=deletion.due_at, attempts=deletion.attempts)
    )


async def delete_object_deletion(tx: Transaction, key: str) -> list[UUID]:
    """Delete the row after the final attempt. Return the receipts that wait for nothing else.

    Several deletions may wait for one object: of its session, and of its user.
    """
    is_of_object = UNCONFIRMED_DELETIONS.c.key == key
    rows = await tx.fetch_all(select(UNCONFIRMED_DELETIONS.c.receipt_id).where(is_of_object))
    waiting = sorted(row["receipt_id"] for row in rows)
    # Locked in one order, so that the last of several objects sees that the others are deleted.
    await tx.fetch_all(_select_by_receipts(waiting).with_for_update())
    await tx.execute(delete(UNCONFIRMED_DELETIONS).where(is_of_object))
    await tx.execute(delete(OBJECT_DELETIONS).where(OBJECT_DELETIONS.c.key == key))
    rows = await tx.fetch_all(_select_by_receipts(waiting).with_for_update())
    pending = {row["receipt_id"] for row in rows}
    return [receipt_id for receipt_id in waiting if receipt_id not in pending]


async def list_scheduled_keys(
    tx: Transaction, *, keys: Collection[str], user_id: UUID, is_whole_user: bool
) -> list[str]:
    """Return which of these objects, or of all objects of the user, are to be deleted."""
    key = OBJECT_DELETIONS.c.key
    condition: ColumnElement[bool] = key.in_(keys)
    if is_whole_user:
        condition = key.startswith(build_user_prefix(user_id), autoescape=True)
    rows = await tx.fetch_all(select(key).where(condition))
    return [row["key"] for row in rows if row["key"].startswith(build_user_prefix(user_id))]


async def add_unconfirmed(tx: Transaction, receipt_id: UUID, keys: Collection[str]) -> bool:
    """Store the objects that a deletion waits for. Return whether it waits for any object.

    Objects of an earlier call for the same receipt count as well.
    """
    for key in keys:
        await tx.execute(
            tx.dialect.insert_ignore(UNCONFIRMED_DELETIONS).values(receipt_id=receipt_id, key=key)
        )
    count = select(func.count()).select_from(UNCONFIRMED_DELETIONS)
    return bool(await tx.scalar(count.where(UNCONFIRMED_DELETIONS.c.receipt_id == receipt_id)))


def _select_by_receipts(receipt_ids: Collection[UUID]) -> Select[Any]:
    return (
        select(UNCONFIRMED_DELETIONS.c.receipt_id)
        .where(UNCONFIRMED_DELETIONS.c.receipt_id.in_(receipt_ids))
        .order_by(UNCONFIRMED_DELETIONS.c.receipt_id, UNCONFIRMED_DELETIONS.c.key)
    )
