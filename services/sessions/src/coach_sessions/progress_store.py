"""The queries of attempts and progress."""

from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, bindparam, or_, select

from coach_common.db.transaction import Transaction
from coach_sessions.attempts import Attempt, Result, build_question_key
from coach_sessions.domain import Session, Status
from coach_sessions.tables import SESSIONS

# Ignores unknown keys: a feedback has more, and a newer release may write others.
_RESULT = TypeAdapter(Result)

_LIST_FIRST_ATTEMPTS = (
    select(
        SESSIONS.c.id,
        SESSIONS.c.created_at,
        SESSIONS.c.completed_at,
        SESSIONS.c.status,
        SESSIONS.c.feedback,
    )
    .where(
        SESSIONS.c.user_id == bindparam("user_id"),
        SESSIONS.c.question_key == bindparam("question_key"),
    )
    .order_by(SESSIONS.c.created_at.desc(), SESSIONS.c.id.desc())
    .limit(bindparam("limit"))
)
_LIST_NEXT_ATTEMPTS = _LIST_FIRST_ATTEMPTS.where(
    SESSIONS.c.created_at <= bindparam("last_at"),
    or_(SESSIONS.c.created_at < bindparam("last_at"), SESSIONS.c.id < bindparam("last_id")),
).with_hint(SESSIONS, "FORCE INDEX (ix_sessions_attempts)", "mysql")
_LIST_EARLIER_SCORED = _LIST_NEXT_ATTEMPTS.where(SESSIONS.c.overall_score.is_not(None))


async def list_attempts(
    tx: Transaction,
    session: Session,
    *,
    limit: int,
    position: tuple[datetime, UUID] | None,
) -> list[Attempt]:
    """Return one page of the user's attempts at the question of a session, newest first."""
    key: dict[str, object] = _attempts_key(session) | {"limit": limit}
    if position is None:
        rows = await tx.fetch_all(_LIST_FIRST_ATTEMPTS, key)
    else:
        last_at, last_id = position
        rows = await tx.fetch_all(
            _LIST_NEXT_ATTEMPTS, key | {"last_at": last_at, "last_id": last_id}
        )
    return [_attempt(row) for row in rows]


async def find_scored_attempt_before(
    tx: Transaction, session: Session, position: tuple[datetime, UUID]
) -> Attempt | None:
    """Return the newest scored attempt that is older than a position in the list, or None."""
    key: dict[str, object] = _attempts_key(session) | {"limit": 1}
    last_at, last_id = position
    row = await tx.fetch_one(_LIST_EARLIER_SCORED, key | {"last_at": last_at, "last_id": last_id})
    return None if row is None else _attempt(row)


def _attempts_key(session: Session) -> dict[str, object]:
    question_key = build_question_key(session.id, session.question_id, session.question)
    return {"user_id": session.user_id, "question_key": question_key}


def _attempt(row: RowMapping) -> Attempt:
    is_ready = row["status"] == Status.READY and row["feedback"] is not None
    return Attempt(
        session_id=row["id"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
        status=row["status"],
        result=_RESULT.validate_json(row["feedback"]) if is_ready else None,
    )
