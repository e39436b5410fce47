"""All queries about what users have agreed to."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, select

from coach_ai.tables import CONSENTS, IMPROVEMENT_CONSENTS
from coach_common.db import consents
from coach_common.db.transaction import Transaction


async def find_consent(tx: Transaction, user_id: UUID) -> bool | None:
    """Return whether the user has agreed to an outside provider, or None without a decision."""
    return await consents.find_consent(tx, CONSENTS, user_id)


async def save_consent(
    tx: Transaction, user_id: UUID, *, is_given: bool, changed_at: datetime
) -> bool:
    """Store a decision about outside providers, unless a later one is stored.

    Return whether it was new.
    """
    return await consents.save_consent(
        tx, CONSENTS, user_id, is_given=is_given, changed_at=changed_at
    )


async def save_improvement_consent(
    tx: Transaction, user_id: UUID, *, is_given: bool, changed_at: datetime
) -> bool:
    """Store a decision about improvement, unless a later one is stored.

    Return whether it was new.
    """
    return await consents.save_consent(
        tx, IMPROVEMENT_CONSENTS, user_id, is_given=is_given, changed_at=changed_at
    )


def select_improving_users() -> Select[tuple[UUID]]:
    """Return a query of the users who have agreed to improvement.

    Whatever is counted over several users is counted over these only.
    """
    columns = IMPROVEMENT_CONSENTS.c
    return select(columns.user_id).where(columns.is_given.is_(True))
