"""Queries about completed sessions and the one judgement of each."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, update

from coach_ai.domain import CompletedSession, Judgement, PastSession
from coach_ai.tables import ANSWERS
from coach_common.db.transaction import Transaction


async def upsert_session(tx: Transaction, session: CompletedSession) -> None:
    """Keep a completed session; what was missing is filled in."""
    values = {
        "title": session.title,
        "question": session.question,
        "duration_seconds": session.duration_seconds,
        "audio_s3_key": session.audio_s3_key,
        "client_transcript": session.client_transcript,
    }
    known = {name: value for name, value in values.items() if value is not None}
    await tx.execute(
        tx.dialect.upsert(
            ANSWERS,
            {"session_id": session.session_id, "user_id": session.user_id, **values},
            update=known,
        )
    )


async def find_session(tx: Transaction, session_id: UUID) -> CompletedSession | None:
    """Return a completed session."""
    row = await tx.fetch_one(select(ANSWERS).where(ANSWERS.c.session_id == session_id))
    return None if row is None else _completed(row)


async def list_sessions_of_key(
    tx: Transaction, key: str, *, user_id: UUID
) -> list[CompletedSession]:
    """Return the completed sessions that wait for this recording's words."""
    rows = await tx.fetch_all(
        select(ANSWERS).where(
            ANSWERS.c.audio_s3_key == key,
            ANSWERS.c.user_id == user_id,
            ANSWERS.c.judgement.is_(None),
        )
    )
    return [_completed(row) for row in rows]


async def record_judgement(
    tx: Transaction, session_id: UUID, judgement: Judgement, *, at: datetime
) -> bool:
    """Keep the one judgement of a session; tell whether this call did it."""
    judged = await tx.execute(
        update(ANSWERS)
        .where(ANSWERS.c.session_id == session_id, ANSWERS.c.judgement.is_(None))
        .values(judgement=json.dumps(asdict(judgement)), judged_at=at)
    )
    return judged.rowcount == 1


async def list_past_sessions(tx: Transaction, user_id: UUID, *, limit: int) -> list[PastSession]:
    """Return the person's judged sessions, newest first."""
    rows = await tx.fetch_all(
        select(ANSWERS.c.title, ANSWERS.c.judgement)
        .where(ANSWERS.c.user_id == user_id, ANSWERS.c.judged_at.is_not(None))
        .order_by(ANSWERS.c.judged_at.desc())
        .limit(limit)
    )
    past = []
    for row in rows:
        judgement: dict[str, Any] = json.loads(row["judgement"])
        improvements = tuple(
            claim["text"] for claim in judgement["claims"] if claim["kind"] == "improvement"
        )
        past.append(PastSession(row["title"], judgement["overall_score"], improvements))
    return past


def _completed(row: RowMapping) -> CompletedSession:
    return CompletedSession(
        session_id=row["session_id"],
        user_id=row["user_id"],
        title=row["title"],
        question=row["question"],
        duration_seconds=row["duration_seconds"],
        audio_s3_key=row["audio_s3_key"],
        client_transcript=row["client_transcript"],
        is_judged=row["judgement"] is not None,
    )
