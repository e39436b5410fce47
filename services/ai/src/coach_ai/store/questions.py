"""Queries about users' own questions, and about what sessions ask."""

from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import delete, insert, select, update

from coach_ai.domain import (
    MAX_OWN_QUESTIONS,
    AskedQuestion,
    Question,
    QuestionNotFound,
    Seniority,
    TooManyQuestions,
)
from coach_ai.tables import OWN_QUESTIONS, QUESTIONS
from coach_common.db.transaction import Transaction

_QUESTION = TypeAdapter(Question)


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
            reference=None if reference is None else _QUESTION.dump_json(reference).decode(),
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
        reference=None if reference is None else _QUESTION.validate_json(reference),
    )


async def add_own_question(
    tx: Transaction, question_id: UUID, user_id: UUID, question: Question, *, at: datetime
) -> None:
    """Insert a question of a user. Raises TooManyQuestions if the user has the maximum."""
    # The lock makes the limit exact for simultaneous requests.
    owned = await tx.fetch_all(
        select(OWN_QUESTIONS.c.id).where(OWN_QUESTIONS.c.user_id == user_id).with_for_update()
    )
    if len(owned) >= MAX_OWN_QUESTIONS:
        raise TooManyQuestions
    await tx.execute(
        insert(OWN_QUESTIONS).values(
            id=question_id,
            user_id=user_id,
            content=_QUESTION.dump_json(question).decode(),
            created_at=at,
            updated_at=at,
        )
    )


async def update_own_question(
    tx: Transaction, question_id: UUID, user_id: UUID, question: Question, *, at: datetime
) -> None:
    """Replace a question of a user. Raises QuestionNotFound if it is not the user's."""
    content = _QUESTION.dump_json(question).decode()
    updated = await tx.execute(
        update(OWN_QUESTIONS)
        .where(OWN_QUESTIONS.c.id == question_id, OWN_QUESTIONS.c.user_id == user_id)
        .values(content=content, updated_at=at)
    )
    if updated.rowcount == 0:
        raise QuestionNotFound


async def delete_own_question(tx: Transaction, question_id: UUID, user_id: UUID) -> None:
    """Delete a question of a user. Raises QuestionNotFound if it is not the user's."""
    deleted = await tx.execute(
        delete(OWN_QUESTIONS).where(
            OWN_QUESTIONS.c.id == question_id, OWN_QUESTIONS.c.user_id == user_id
        )
    )
    if deleted.rowcount == 0:
        raise QuestionNotFound


async def find_own_question(tx: Transaction, question_id: UUID, user_id: UUID) -> Question | None:
    """Return a question of a user, or None."""
    content: str | None = await tx.scalar(
        select(OWN_QUESTIONS.c.content).where(
            OWN_QUESTIONS.c.id == question_id, OWN_QUESTIONS.c.user_id == user_id
        )
    )
    return None if content is None else _QUESTION.validate_json(content)


async def lock_own_question(tx: Transaction, question_id: UUID, user_id: UUID) -> bool:
    """Lock a question of a user, so that it is not deleted meanwhile. Return False if it was."""
    row = await tx.fetch_one(
        select(OWN_QUESTIONS.c.id)
        .where(OWN_QUESTIONS.c.id == question_id, OWN_QUESTIONS.c.user_id == user_id)
        .with_for_update()
    )
    return row is not None


async def list_own_questions(tx: Transaction, user_id: UUID) -> list[Question]:
    """Return all questions of a user, newest first."""
    rows = await tx.fetch_all(
        select(OWN_QUESTIONS.c.content)
        .where(OWN_QUESTIONS.c.user_id == user_id)
        .order_by(OWN_QUESTIONS.c.id.desc())
    )
    return [_QUESTION.validate_json(row["content"]) for row in rows]
