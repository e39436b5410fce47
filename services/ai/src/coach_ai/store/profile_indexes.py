"""Queries about the indexes of profiles, and about the answers that they are compared with."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import delete, select

from coach_ai.interview.model import Intent, Turn
from coach_ai.profile.index import ProfileIndex
from coach_ai.profile.passages import Passage
from coach_ai.profile.similarity import dump_vectors, load_vectors
from coach_ai.tables import ANSWERS, INTERVIEW_TURNS, PROFILE_INDEXES
from coach_common.db.transaction import Transaction

_PASSAGES = TypeAdapter(tuple[Passage, ...])
_TURN = TypeAdapter(Turn)


async def save_index(tx: Transaction, user_id: UUID, index: ProfileIndex, *, at: datetime) -> None:
    """Store the index of the user's profile. It replaces an earlier one."""
    values = {
        "digest": index.digest,
        "passages": _PASSAGES.dump_json(index.passages).decode(),
        "vectors": dump_vectors(index.vectors),
        "indexed_at": at,
    }
    await tx.execute(
        tx.dialect.upsert(PROFILE_INDEXES, {"user_id": user_id, **values}, update=values)
    )


async def find_index(tx: Transaction, user_id: UUID, *, digest: str) -> ProfileIndex | None:
    """Return the index of the user's profile, or None if it is of other texts."""
    row = await tx.fetch_one(
        select(PROFILE_INDEXES).where(
            PROFILE_INDEXES.c.user_id == user_id, PROFILE_INDEXES.c.digest == digest
        )
    )
    if row is None:
        return None
    passages = _PASSAGES.validate_json(row["passages"])
    return ProfileIndex(row["digest"], passages, load_vectors(row["vectors"], len(passages)))


async def erase_index(tx: Transaction, user_id: UUID, *, except_digest: str = "") -> None:
    """Delete the index of the user's profile, unless it has this digest."""
    await tx.execute(
        delete(PROFILE_INDEXES).where(
            PROFILE_INDEXES.c.user_id == user_id, PROFILE_INDEXES.c.digest != except_digest
        )
    )


async def list_scored_answers(
    tx: Transaction, user_id: UUID, *, limit: int
) -> Sequence[tuple[UUID, str]]:
    """Return the session and the text of the user's scored answers, newest first."""
    rows = await tx.fetch_all(
        select(ANSWERS.c.session_id, ANSWERS.c.scored_transcript)
        .where(
            ANSWERS.c.user_id == user_id,
            ANSWERS.c.scored_at.is_not(None),
            ANSWERS.c.scored_transcript.is_not(None),
        )
        .order_by(ANSWERS.c.scored_at.desc())
        .limit(limit)
    )
    return [(row["session_id"], row["scored_transcript"]) for row in rows]


async def list_interview_answers(
    tx: Transaction, user_id: UUID, *, limit: int
) -> Sequence[tuple[UUID, str]]:
    """Return the interview and the text of the answers in the user's latest turns."""
    rows = await tx.fetch_all(
        select(INTERVIEW_TURNS.c.interview_id, INTERVIEW_TURNS.c.content)
        .where(INTERVIEW_TURNS.c.user_id == user_id, INTERVIEW_TURNS.c.number > 0)
        .order_by(INTERVIEW_TURNS.c.interview_id.desc(), INTERVIEW_TURNS.c.number.desc())
        .limit(limit)
    )
    turns = [(row["interview_id"], _TURN.validate_json(row["content"])) for row in rows]
    return [
        (interview_id, turn.message)
        for interview_id, turn in turns
        if turn.intent is Intent.ANSWER and turn.message
    ]
