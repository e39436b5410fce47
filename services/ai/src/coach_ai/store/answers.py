"""Queries about completed sessions and their feedback."""

import json
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, select, update

from coach_ai.domain import CompletedSession, Feedback, PastSession, ScoredText, StoredFeedback
from coach_ai.tables import ANSWERS
from coach_common.db.transaction import Transaction

_FEEDBACK = TypeAdapter(Feedback)


async def upsert_session(tx: Transaction, session: CompletedSession) -> None:
    """Store a completed session. If it exists, update the fields that are given."""
    values = {
        "title": session.title,
        "question": session.question,
        "duration_seconds": session.duration_seconds,
        "audio_s3_key": session.audio_s3_key,
        "client_transcript": session.client_transcript,
    }
    given = {name: value for name, value in values.items() if value is not None}
    await tx.execute(
        tx.dialect.upsert(
            ANSWERS,
            {"session_id": session.session_id, "user_id": session.user_id, **values},
            update=given,
        )
    )


async def find_session(tx: Transaction, session_id: UUID) -> CompletedSession | None:
    """Return a completed session, or None."""
    row = await tx.fetch_one(select(ANSWERS).where(ANSWERS.c.session_id == session_id))
    return None if row is None else _session_from_row(row)


async def lock_session(tx: Transaction, session_id: UUID) -> None:
    """Lock a completed session until the transaction ends, if it is stored."""
    await tx.fetch_one(
        select(ANSWERS.c.session_id).where(ANSWERS.c.session_id == session_id).with_for_update()
    )


async def list_unscored_sessions(
    tx: Transaction, key: str, *, user_id: UUID
) -> list[CompletedSession]:
    """Return the user's completed sessions with this recording that have no feedback.

    They stay locked until the transaction ends. Sessions that another transaction is storing are
    waited for.
    """
    rows = await tx.fetch_all(
        select(ANSWERS)
        .where(
            ANSWERS.c.audio_s3_key == key,
            ANSWERS.c.user_id == user_id,
            ANSWERS.c.feedback.is_(None),
        )
        .with_for_update()
    )
    return [_session_from_row(row) for row in rows]


async def set_failed(tx: Transaction, session_id: UUID, has_failed: bool) -> None:
    """Store whether scoring has failed because of the answer itself."""
    await tx.execute(
        update(ANSWERS).where(ANSWERS.c.session_id == session_id).values(has_failed=has_failed)
    )


async def save_feedback(
    tx: Transaction, session_id: UUID, feedback: Feedback, *, scored: ScoredText, at: datetime
) -> bool:
    """Store a session's feedback with the text that was scored.

    Return False if it has feedback already or was deleted.
    """
    saved = await tx.execute(
        update(ANSWERS)
        .where(ANSWERS.c.session_id == session_id, ANSWERS.c.feedback.is_(None))
        .values(
            feedback=json.dumps(asdict(feedback)),
            scored_at=at,
            scored_transcript=scored.transcript,
            scored_key=scored.key,
        )
    )
    return saved.rowcount == 1


async def find_feedback(tx: Transaction, session_id: UUID) -> StoredFeedback | None:
    """Return a session's feedback, or None while it has none."""
    columns = ANSWERS.c
    row = await tx.fetch_one(
        select(
            columns.feedback, columns.scored_at, columns.scored_transcript, columns.scored_key
        ).where(columns.session_id == session_id, columns.feedback.is_not(None))
    )
    if row is None:
        return None
    text = row["scored_transcript"]
    scored = None if text is None else ScoredText(text, row["scored_key"])
    return StoredFeedback(_FEEDBACK.validate_json(row["feedback"]), scored, row["scored_at"])


async def list_past_sessions(tx: Transaction, user_id: UUID, *, limit: int) -> list[PastSession]:
    """Return the user's sessions with feedback, newest first."""
    rows = await tx.fetch_all(
        select(ANSWERS.c.title, ANSWERS.c.feedback)
        .where(ANSWERS.c.user_id == user_id, ANSWERS.c.scored_at.is_not(None))
        .order_by(ANSWERS.c.scored_at.desc())
        .limit(limit)
    )
    past = []
    for row in rows:
        feedback = _FEEDBACK.validate_json(row["feedback"])
        improvements = tuple(
            remark.text for remark in feedback.remarks if remark.kind == "improvement"
        )
        past.append(PastSession(row["title"], feedback.overall_score, improvements))
    return past


def _session_from_row(row: RowMapping) -> CompletedSession:
    return CompletedSession(
        session_id=row["session_id"],
        user_id=row["user_id"],
        title=row["title"],
        question=row["question"],
        duration_seconds=row["duration_seconds"],
        audio_s3_key=row["audio_s3_key"],
        client_transcript=row["client_transcript"],
        is_scored=row["feedback"] is not None,
        has_failed=row["has_failed"],
    )
