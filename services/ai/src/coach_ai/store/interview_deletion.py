"""Queries that delete an interview."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import and_, delete, or_, select

from coach_ai.tables import INTERVIEW_TURNS, INTERVIEWS, RECORDINGS
from coach_common.db.transaction import Transaction


async def erase_interview(
    tx: Transaction, interview_id: UUID, user_id: UUID, *, keys: Iterable[str]
) -> list[str]:
    """Delete the rows of the user's interview and its turns. Does nothing if there are none.

    Returns:
        The keys of its recordings: `keys`, those of its turns, and those that are linked to it.
        Recordings that are linked to another session are left out.
    """
    # First the row that a turn changes when it is stored, so that no turn is stored after this.
    await tx.execute(
        delete(INTERVIEWS).where(INTERVIEWS.c.id == interview_id, INTERVIEWS.c.user_id == user_id)
    )
    of_interview = and_(
        INTERVIEW_TURNS.c.interview_id == interview_id, INTERVIEW_TURNS.c.user_id == user_id
    )
    turns = await tx.fetch_all(select(INTERVIEW_TURNS.c.audio_s3_key).where(of_interview))
    await tx.execute(delete(INTERVIEW_TURNS).where(of_interview))
    named = {*keys, *(row["audio_s3_key"] for row in turns if row["audio_s3_key"] is not None)}
    known = await tx.fetch_all(
        select(RECORDINGS.c.key, RECORDINGS.c.session_id).where(
            RECORDINGS.c.user_id == user_id,
            or_(RECORDINGS.c.session_id == interview_id, RECORDINGS.c.key.in_(named)),
        )
    )
    elsewhere = {row["key"] for row in known if row["session_id"] not in (None, interview_id)}
    return sorted((named | {row["key"] for row in known}) - elsewhere)
