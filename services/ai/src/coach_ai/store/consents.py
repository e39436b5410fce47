"""All queries about what users have agreed to."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Select, delete, select

from coach_ai.tables import CONSENTS, IMPROVEMENT_CONSENTS
from coach_common.db import consents
from coach_common.db.transaction import Transaction

_BEFORE_ALL_DECISIONS = datetime(1970, 1, 1, tzinfo=UTC)


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


async def lock_improvement_consent(tx: Transaction, user_id: UUID) -> bool:
    """Lock the consent to improvement until the commit, and return whether it is given.

    A user who has not decided gets a row that any decision replaces.
    """
    key = {"user_id": user_id}
    undecided = {**key, "is_given": False, "changed_at": _BEFORE_ALL_DECISIONS}
    await tx.execute(tx.dialect.upsert(IMPROVEMENT_CONSENTS, undecided, update=key))
    return bool(await consents.find_consent(tx, IMPROVEMENT_CONSENTS, user_id))


async def delete_improvement_consent(tx: Transaction, user_id: UUID) -> None:
    """Delete the decision about improvement."""
    await tx.execute(delete(IMPROVEMENT_CONSENTS).where(IMPROVEMENT_CONSENTS.c.user_id == user_id))


def select_improving_users() -> Select[tuple[UUID]]:
    """Return a query of the users who have agreed to improvement.

    What users enter for others is counted over these only.
    """
    columns = IMPROVEMENT_CONSENTS.c
    return select(columns.user_id).where(columns.is_given.is_(True))


def select_refusing_users() -> Select[tuple[UUID]]:
    """Return a query of the users who have refused improvement.

    What tells how well the system works is counted over all other users.
    """
    columns = IMPROVEMENT_CONSENTS.c
    return select(columns.user_id).where(
        columns.is_given.is_(False), columns.changed_at > _BEFORE_ALL_DECISIONS
    )
