"""All queries about who has agreed to an outside provider."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update

from coach_ai.tables import CONSENTS
from coach_common.db.transaction import Transaction


async def find_consent(tx: Transaction, user_id: UUID) -> bool | None:
    """Return whether the user has agreed to an outside provider, or None without a decision."""
    row = await tx.fetch_one(select(CONSENTS.c.is_given).where(CONSENTS.c.user_id == user_id))
    return None if row is None else bool(row["is_given"])


async def save_consent(
    tx: Transaction, user_id: UUID, *, is_given: bool, changed_at: datetime
) -> bool:
    """Store a decision unless a later one is stored. Return whether it was new."""
    values = {"is_given": is_given, "changed_at": changed_at}
    added = await tx.execute(tx.dialect.insert_ignore(CONSENTS).values(user_id=user_id, **values))
    if added.rowcount == 1:
        return True
    changed = await tx.execute(
        update(CONSENTS)
        .where(CONSENTS.c.user_id == user_id, CONSENTS.c.changed_at < changed_at)
        .values(values)
    )
    return changed.rowcount == 1
