"""Queries about the questions of sessions, which help the recogniser."""

from uuid import UUID

from sqlalchemy import select

from coach_ai.tables import QUESTIONS
from coach_common.db.transaction import Transaction


async def save_question(
    tx: Transaction, session_id: UUID, user_id: UUID, *, question: str | None, role: str | None
) -> None:
    """Store the question and role of a session. Safe to repeat."""
    values = {"question": question, "role": role}
    await tx.execute(
        tx.dialect.upsert(
            QUESTIONS, {"session_id": session_id, "user_id": user_id, **values}, update=values
        )
    )


async def find_question(
    tx: Transaction, session_id: UUID, *, user_id: UUID
) -> tuple[str | None, str | None] | None:
    """Return question and role of the user's session, or None if it is not known."""
    row = await tx.fetch_one(
        select(QUESTIONS.c.question, QUESTIONS.c.role).where(
            QUESTIONS.c.session_id == session_id, QUESTIONS.c.user_id == user_id
        )
    )
    return None if row is None else (row["question"], row["role"])
