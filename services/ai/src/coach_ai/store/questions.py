"""Queries about what sessions ask."""

from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import select

from coach_ai.domain import AskedQuestion, Question, Seniority
from coach_ai.tables import QUESTIONS
from coach_common.db.transaction import Transaction

_REFERENCE = TypeAdapter(Question)


async def save_asked_question(
    tx: Transaction, session_id: UUID, user_id: UUID, asked: AskedQuestion
) -> None:
    """Store what a session asks. Does nothing if it is stored already."""
    reference = asked.reference
    await tx.execute(
        tx.dialect.insert_ignore(QUESTIONS).values(
            session_id=session_id,
            user_id=user_id,
            question=asked.question,
            role=asked.role,
            question_id=asked.question_id,
            seniority=asked.seniority,
            reference=None if reference is None else _REFERENCE.dump_json(reference).decode(),
        )
    )


async def find_asked_question(
    tx: Transaction, session_id: UUID, *, user_id: UUID
) -> AskedQuestion | None:
    """Return what the user's session asks, or None if it is not known."""
    row = await tx.fetch_one(
        select(QUESTIONS).where(
            QUESTIONS.c.session_id == session_id, QUESTIONS.c.user_id == user_id
        )
    )
    if row is None:
        return None
    reference = row["reference"]
    return AskedQuestion(
        question=row["question"],
        role=row["role"],
        seniority=None if row["seniority"] is None else Seniority(row["seniority"]),
        question_id=row["question_id"],
        reference=None if reference is None else _REFERENCE.validate_json(reference),
    )
