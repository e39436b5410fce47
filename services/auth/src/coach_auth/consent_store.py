"""All queries about consents."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, select

from coach_auth.tables import CONSENTS
from coach_common.db import republication
from coach_common.db.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Consent:
    """The latest decision of a user for one purpose."""

    user_id: UUID
    purpose: str
    is_given: bool
    version: str
    """The version of the text that the user has seen."""
    changed_at: datetime


async def list_consents(tx: Transaction, user_id: UUID) -> Mapping[str, Consent]:
    """Return the decisions of a user by purpose."""
    rows = await tx.fetch_all(select(CONSENTS).where(CONSENTS.c.user_id == user_id))
    return {row["purpose"]: _consent(row) for row in rows}


async def save_consent(tx: Transaction, consent: Consent, *, republish_after: datetime) -> None:
    """Store a decision. It replaces the former one for the same purpose."""
    changed = {
        "is_given": consent.is_given,
        "version": consent.version,
        "changed_at": consent.changed_at,
        "republish_after": republish_after,
    }
    keys = {"user_id": consent.user_id, "purpose": consent.purpose}
    await tx.execute(tx.dialect.upsert(CONSENTS, {**keys, **changed}, update=changed))


async def list_due(tx: Transaction, now: datetime, *, limit: int) -> list[tuple[Consent, datetime]]:
    """Return the decisions to publish again, each with its due time, oldest first."""
    rows = await republication.list_due_rows(tx, CONSENTS, now, limit=limit)
    return [(_consent(row), row["republish_after"]) for row in rows]


async def claim_republication(
    tx: Transaction, consent: Consent, *, due_at: datetime, republish_after: datetime | None
) -> bool:
    """Store the next due time. Return False if another replica or a new decision was first."""
    key = {"user_id": consent.user_id, "purpose": consent.purpose}
    return await republication.claim_row(
        tx, CONSENTS, key, due_at=due_at, republish_after=republish_after
    )


def _consent(row: RowMapping) -> Consent:
    return Consent(**{name: row[name] for name in Consent.__slots__})
