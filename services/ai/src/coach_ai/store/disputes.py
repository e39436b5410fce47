"""Queries about disputes."""

import json
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, func, select, update

from coach_ai.domain import Feedback
from coach_ai.domain.disputes import Dispute, DisputeOutcome, DisputeStatus
from coach_ai.store.consents import select_refusing_users
from coach_ai.tables import DISPUTES
from coach_common.db.transaction import Transaction

_FEEDBACK = TypeAdapter(Feedback)


async def open_dispute(tx: Transaction, dispute: Dispute, *, reason: str | None) -> bool:
    """Insert a dispute, or restart one that failed. Return False if there is another one."""
    values = {"reason": reason, "created_at": dispute.created_at}
    added = await tx.execute(
        tx.dialect.insert_ignore(DISPUTES).values(
            session_id=dispute.session_id,
            user_id=dispute.user_id,
            status=dispute.status.value,
            **values,
        )
    )
    if added.rowcount == 1:
        return True
    restarted = await tx.execute(
        update(DISPUTES)
        .where(
            DISPUTES.c.session_id == dispute.session_id,
            DISPUTES.c.status == DisputeStatus.FAILED.value,
        )
        .values(status=dispute.status.value, failure_reason=None, finished_at=None, **values)
    )
    return restarted.rowcount == 1


async def find_dispute(tx: Transaction, session_id: UUID) -> Dispute | None:
    """Return the dispute of a session, or None."""
    row = await tx.fetch_one(select(DISPUTES).where(DISPUTES.c.session_id == session_id))
    return None if row is None else _dispute_from_row(row)


async def finish_dispute(
    tx: Transaction, session_id: UUID, second: Feedback, outcome: DisputeOutcome, *, at: datetime
) -> bool:
    """Store the second scoring. Return False if the dispute is finished or was deleted."""
    return await _finish(
        tx,
        session_id,
        status=DisputeStatus.DONE.value,
        second=json.dumps(asdict(second)),
        outcome=outcome.value,
        finished_at=at,
    )


async def fail_dispute(tx: Transaction, session_id: UUID, reason: str, *, at: datetime) -> bool:
    """Store why there is no second scoring. Return False if it is finished or was deleted."""
    return await _finish(
        tx,
        session_id,
        status=DisputeStatus.FAILED.value,
        failure_reason=reason,
        finished_at=at,
    )


async def count_disputes(tx: Transaction) -> tuple[int, int]:
    """Return the number of disputes, and of those whose second score differs.

    Disputes of users who have refused improvement are not counted.
    """
    rows = await tx.fetch_all(
        select(DISPUTES.c.outcome, func.count().label("count"))
        .where(DISPUTES.c.user_id.not_in(select_refusing_users()))
        .group_by(DISPUTES.c.outcome)
    )
    counts = {row["outcome"]: int(row["count"]) for row in rows}
    return sum(counts.values()), counts.get(DisputeOutcome.CHANGED.value, 0)


async def _finish(tx: Transaction, session_id: UUID, **values: object) -> bool:
    finished = await tx.execute(
        update(DISPUTES)
        .where(
            DISPUTES.c.session_id == session_id,
            DISPUTES.c.status == DisputeStatus.SCORING.value,
        )
        .values(**values)
    )
    return finished.rowcount == 1


def _dispute_from_row(row: RowMapping) -> Dispute:
    return Dispute(
        session_id=row["session_id"],
        user_id=row["user_id"],
        created_at=row["created_at"],
        status=DisputeStatus(row["status"]),
        second=None if row["second"] is None else _FEEDBACK.validate_json(row["second"]),
        failure_reason=row["failure_reason"],
    )
