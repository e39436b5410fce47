"""Queries about rewrites, and about the scored answers that they are made from."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import select

from coach_ai.domain import Answer, Feedback
from coach_ai.domain.rewrites import AnswerNotScored, FeedbackPending, Rewrite, SessionNotFound
from coach_ai.store import questions
from coach_ai.tables import ANSWERS, REWRITES
from coach_common.db.transaction import Transaction

_FEEDBACK = TypeAdapter(Feedback)
_REWRITE = TypeAdapter(Rewrite)


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer as it was scored, with its feedback. `digest` changes if either of them does."""

    answer: Answer
    feedback: Feedback
    digest: str


async def get_scored_answer(tx: Transaction, session_id: UUID, user_id: UUID) -> ScoredAnswer:
    """Return the scored answer of the user's session.

    Raises:
        SessionNotFound: If the session does not exist or belongs to another user.
        FeedbackPending: If it has no feedback yet.
        AnswerNotScored: If its feedback has no score.
    """
    row = await tx.fetch_one(
        select(ANSWERS).where(ANSWERS.c.session_id == session_id, ANSWERS.c.user_id == user_id)
    )
    asked = await questions.find_asked_question(tx, session_id, user_id=user_id)
    if row is None and asked is None:
        raise SessionNotFound
    if row is None or row["feedback"] is None:
        raise AnswerNotScored if row is not None and row["has_failed"] else FeedbackPending
    feedback = _FEEDBACK.validate_json(row["feedback"])
    text = row["scored_transcript"]
    if feedback.overall_score is None or text is None:
        raise AnswerNotScored
    answer = Answer(
        row["title"],
        row["question"],
        text,
        reference=None if asked is None else asked.reference,
        seniority=feedback.seniority,
    )
    digest = hashlib.sha256(f"{row['feedback']}\0{text}".encode()).hexdigest()
    return ScoredAnswer(answer, feedback, digest)


async def find_rewrite(tx: Transaction, session_id: UUID, *, digest: str) -> Rewrite | None:
    """Return the stored rewrite of this version of a session's feedback, or None."""
    row = await tx.fetch_one(
        select(REWRITES.c.content).where(
            REWRITES.c.session_id == session_id, REWRITES.c.source_digest == digest
        )
    )
    return None if row is None else _REWRITE.validate_json(row["content"])


async def save_rewrite(
    tx: Transaction,
    session_id: UUID,
    user_id: UUID,
    rewrite: Rewrite,
    *,
    digest: str,
    at: datetime,
) -> None:
    """Store a rewrite in the place of the session's earlier one.

    The answer stays locked until the transaction ends, so that its deletion deletes the rewrite.

    Raises:
        SessionNotFound: If the session was deleted.
    """
    is_kept = await tx.fetch_one(
        select(ANSWERS.c.session_id)
        .where(ANSWERS.c.session_id == session_id, ANSWERS.c.user_id == user_id)
        .with_for_update()
    )
    if is_kept is None:
        raise SessionNotFound
    content = {
        "source_digest": digest,
        "content": _REWRITE.dump_json(rewrite).decode(),
        "created_at": at,
    }
    await tx.execute(
        tx.dialect.upsert(
            REWRITES, {"session_id": session_id, "user_id": user_id, **content}, update=content
        )
    )
