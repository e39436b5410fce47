"""All queries about receipts of deletions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update

from coach_auth.receipts import Receipt, ReceiptKind
from coach_auth.tables import DELETION_CONFIRMATIONS, DELETION_RECEIPTS
from coach_common.db.transaction import Transaction


async def add_receipt(tx: Transaction, receipt: Receipt) -> None:
    """Insert a receipt. Does nothing if it is stored already."""
    await tx.execute(
        tx.dialect.insert_ignore(DELETION_RECEIPTS).values(
            id=receipt.id,
            kind=receipt.kind.value,
            services=" ".join(receipt.services),
            requested_at=receipt.requested_at,
        )
    )


async def add_confirmation(
    tx: Transaction, receipt_id: UUID, service: str, *, at: datetime
) -> None:
    """Insert the confirmation of a service. The first one counts. The receipt may come later."""
    await tx.execute(
        tx.dialect.insert_ignore(DELETION_CONFIRMATIONS).values(
            receipt_id=receipt_id, service=service, confirmed_at=at
        )
    )


async def find_receipt(
    tx: Transaction, receipt_id: UUID, *, is_locked: bool = False
) -> Receipt | None:
    """Return a receipt with its confirmations, or None. `is_locked` locks its row."""
    query = select(DELETION_RECEIPTS).where(DELETION_RECEIPTS.c.id == receipt_id)
    row = await tx.fetch_one(query.with_for_update() if is_locked else query)
    if row is None:
        return None
    confirmations = await tx.fetch_all(
        select(DELETION_CONFIRMATIONS).where(DELETION_CONFIRMATIONS.c.receipt_id == receipt_id)
    )
    return Receipt(
        id=row["id"],
        kind=ReceiptKind(row["kind"]),
        requested_at=row["requested_at"],
        services=tuple(row["services"].split()),
        completed_at=row["completed_at"],
        confirmed_at={one["service"]: one["confirmed_at"] for one in confirmations},
    )


async def mark_complete(tx: Transaction, receipt_id: UUID, *, at: datetime) -> None:
    """Store when the last service confirmed the deletion."""
    await tx.execute(
        update(DELETION_RECEIPTS)
        .where(DELETION_RECEIPTS.c.id == receipt_id)
        .values(completed_at=at)
    )


async def count_overdue(tx: Transaction, *, requested_before: datetime) -> int:
    """Return how many receipts from before this time are not complete."""
    columns = DELETION_RECEIPTS.c
    count = await tx.scalar(
        select(func.count())
        .select_from(DELETION_RECEIPTS)
        .where(columns.completed_at.is_(None), columns.requested_at < requested_before)
    )
    return int(count)
