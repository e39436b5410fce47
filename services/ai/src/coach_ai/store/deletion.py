"""Queries that delete data, and the tombstones of users, sessions and recordings."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, delete, or_, select

from coach_ai.store import interview_notes, practice
from coach_ai.tables import (
    ANSWERS,
    BOOKMARKS,
    BUDGETS,
    CONSENTS,
    CONVERSATIONS,
    DISPUTES,
    IMPROVEMENT_CONSENTS,
    INTERVIEW_TURNS,
    INTERVIEWS,
    JOBS,
    MESSAGES,
    OUTBOX,
    OWN_QUESTIONS,
    PROFILE_INDEXES,
    PROFILES,
    QUESTION_CARDS,
    QUESTION_REVIEWS,
    QUESTIONS,
    RECORDINGS,
    REWRITES,
    SCORING_USAGE,
    STORIES,
    TOMBSTONES,
)
from coach_common.db.tombstones import has_tombstone, insert_tombstone
from coach_common.db.transaction import Transaction


async def erase_session(
    tx: Transaction, session_id: UUID, user_id: UUID, keys: Sequence[str]
) -> None:
    """Delete a session's answer, scores and jobs, and its recordings, by session or by key."""
    of_session = and_(
        RECORDINGS.c.user_id == user_id,
        or_(RECORDINGS.c.session_id == session_id, RECORDINGS.c.key.in_(keys)),
    )
    uploads = [
        row["upload_id"]
        for row in await tx.fetch_all(select(RECORDINGS.c.upload_id).where(of_session))
    ]
    await tx.execute(delete(JOBS).where(JOBS.c.subject_id.in_([session_id, *uploads])))
    await tx.execute(delete(RECORDINGS).where(of_session))
    await tx.execute(delete(ANSWERS).where(ANSWERS.c.session_id == session_id))
    # After the answer, whose lock the writers of rewrites and disputes hold.
    await tx.execute(delete(DISPUTES).where(DISPUTES.c.session_id == session_id))
    await tx.execute(delete(REWRITES).where(REWRITES.c.session_id == session_id))
    await tx.execute(delete(QUESTIONS).where(QUESTIONS.c.session_id == session_id))
    await practice.erase_answer(tx, session_id, user_id)


async def erase_recording(tx: Transaction, upload_id: UUID) -> None:
    """Delete a recording, its transcript and its job."""
    await tx.execute(delete(JOBS).where(JOBS.c.subject_id == upload_id))
    await tx.execute(delete(RECORDINGS).where(RECORDINGS.c.upload_id == upload_id))


async def erase_user(tx: Transaction, user_id: UUID) -> None:
    """Delete all rows of a user, and count the notes no longer."""
    await interview_notes.erase_user(tx, user_id)
    for table in (
        JOBS,
        RECORDINGS,
        QUESTIONS,
        OWN_QUESTIONS,
        ANSWERS,
        DISPUTES,
        REWRITES,
        SCORING_USAGE,
        BUDGETS,
        MESSAGES,
        CONVERSATIONS,
        INTERVIEW_TURNS,
        INTERVIEWS,
        CONSENTS,
        IMPROVEMENT_CONSENTS,
        QUESTION_CARDS,
        QUESTION_REVIEWS,
        BOOKMARKS,
        PROFILES,
        PROFILE_INDEXES,
        STORIES,
        OUTBOX,
    ):
        await tx.execute_bulk(delete(table).where(table.c.user_id == user_id))


async def add_tombstone(tx: Transaction, deleted_id: UUID, *, at: datetime) -> bool:
    """Store that this user, session or recording was deleted. Return False if it was known."""
    return await insert_tombstone(tx, TOMBSTONES, deleted_id, at=at)


async def is_deleted(tx: Transaction, *ids: UUID | None) -> bool:
    """Return True if any of these users, sessions or recordings was deleted."""
    return await has_tombstone(tx, TOMBSTONES, *ids)
