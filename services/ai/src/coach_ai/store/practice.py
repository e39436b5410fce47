"""Queries about the answers to each question, and when it is due again."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, select, update

from coach_ai.domain import Feedback, Question
from coach_ai.interview.model import Interview, Turn
from coach_ai.practice.schedule import (
    MAX_REVIEWS,
    Card,
    Review,
    Schedule,
    compute_schedule,
    list_gaps,
)
from coach_ai.store import questions
from coach_ai.tables import QUESTION_CARDS, QUESTION_REVIEWS, QUESTIONS
from coach_common.db.transaction import Transaction


async def record_answer(
    tx: Transaction,
    user_id: UUID,
    question: Question | None,
    feedback: Feedback,
    *,
    answer_id: UUID,
    at: datetime,
) -> None:
    """Store the score of an answer, and when its question is due again.

    A score of an answer that has one already replaces it, so that no answer counts twice. Does
    nothing without a score, without a question, or if the own question was deleted.
    """
    if question is None or feedback.overall_score is None:
        return
    if question.owner_id is not None and not await questions.lock_own_question(
        tx, UUID(question.id), user_id
    ):
        return
    found = {"score": feedback.overall_score, "gaps": json.dumps(list_gaps(feedback))}
    await tx.execute(
        tx.dialect.upsert(
            QUESTION_REVIEWS,
            {
                "user_id": user_id,
                "question_id": question.id,
                "answer_id": answer_id,
                "answered_at": at,
                **found,
            },
            update=found,
        )
    )
    reviews = await _lock_reviews(tx, user_id, question.id)
    if outdated := [one.answer_id for one in reviews[:-MAX_REVIEWS]]:
        await tx.execute(
            delete(QUESTION_REVIEWS).where(
                _is_review_of(user_id, question.id), QUESTION_REVIEWS.c.answer_id.in_(outdated)
            )
        )
        reviews = reviews[-MAX_REVIEWS:]
    columns = _schedule_columns(compute_schedule(reviews))
    columns["competence"] = question.competence
    await tx.execute(
        tx.dialect.upsert(
            QUESTION_CARDS,
            {"user_id": user_id, "question_id": question.id, **columns},
            update=columns,
        )
    )


async def record_interview_answer(tx: Transaction, interview: Interview, turn: Turn) -> None:
    """Store the score of an interview's answer, all its parts so far. See `record_answer`."""
    if turn.feedback is not None:
        question = interview.plan.questions[turn.question_number - 1].question
        await record_answer(
            tx,
            interview.user_id,
            question,
            turn.feedback,
            answer_id=interview.id,
            at=turn.created_at,
        )


async def erase_answer(tx: Transaction, answer_id: UUID, user_id: UUID) -> None:
    """Delete the scores of a session or an interview, and compute its questions' cards again."""
    is_of_answer = and_(
        QUESTION_REVIEWS.c.user_id == user_id, QUESTION_REVIEWS.c.answer_id == answer_id
    )
    rows = await tx.fetch_all(select(QUESTION_REVIEWS.c.question_id).where(is_of_answer))
    await tx.execute(delete(QUESTION_REVIEWS).where(is_of_answer))
    for row in rows:
        question_id = row["question_id"]
        reviews = await _lock_reviews(tx, user_id, question_id)
        if not reviews:
            await tx.execute(delete(QUESTION_CARDS).where(_is_card_of(user_id, question_id)))
            continue
        await tx.execute(
            update(QUESTION_CARDS)
            .where(_is_card_of(user_id, question_id))
            .values(_schedule_columns(compute_schedule(reviews)))
        )


async def erase_question(tx: Transaction, question_id: str, user_id: UUID) -> None:
    """Delete the card of a question and the scores of its answers."""
    await tx.execute(delete(QUESTION_REVIEWS).where(_is_review_of(user_id, question_id)))
    await tx.execute(delete(QUESTION_CARDS).where(_is_card_of(user_id, question_id)))


async def list_cards(tx: Transaction, user_id: UUID) -> dict[str, Card]:
    """Return the cards of a user by question. There is at most one per question."""
    columns = QUESTION_CARDS.c
    # The columns of a Card in its order. Reading all of them takes three times as long.
    rows = await tx.fetch_all(
        select(
            columns.question_id,
            columns.competence,
            columns.stability_days,
            columns.due_at,
            columns.reviewed_at,
            columns.last_score,
        ).where(columns.user_id == user_id)
    )
    return {card.question_id: card for card in (Card(*row.values()) for row in rows)}


async def list_last_reviews(
    tx: Transaction, user_id: UUID, question_ids: Collection[str], *, limit: int
) -> dict[str, list[Review]]:
    """Return the last `limit` reviews of each of these questions, oldest first."""
    found: dict[str, list[Review]] = {question_id: [] for question_id in question_ids}
    if not found:
        return found
    columns = QUESTION_REVIEWS.c
    age = func.row_number().over(
        partition_by=columns.question_id,
        order_by=(columns.answered_at.desc(), columns.answer_id.desc()),
    )
    ranked = (
        select(QUESTION_REVIEWS, age.label("age"))
        .where(columns.user_id == user_id, columns.question_id.in_(list(found)))
        .subquery()
    )
    rows = await tx.fetch_all(
        select(ranked).where(ranked.c.age <= limit).order_by(ranked.c.age.desc())
    )
    for row in rows:
        found[row["question_id"]].append(_review_from_row(row))
    return found


async def find_last_asked(tx: Transaction, user_id: UUID) -> str | None:
    """Return the question of the user's newest session, or None if it names none.

    Session ids are in the order of their creation.
    """
    question_id: str | None = await tx.scalar(
        select(QUESTIONS.c.question_id)
        .where(QUESTIONS.c.user_id == user_id)
        .order_by(QUESTIONS.c.session_id.desc())
        .limit(1)
    )
    return question_id


async def _lock_reviews(tx: Transaction, user_id: UUID, question_id: str) -> Sequence[Review]:
    """Return all reviews of a question, oldest first.

    The lock waits for transactions that store another one, so that none is left out of the card.
    """
    rows = await tx.fetch_all(
        select(QUESTION_REVIEWS)
        .where(_is_review_of(user_id, question_id))
        .order_by(QUESTION_REVIEWS.c.answered_at, QUESTION_REVIEWS.c.answer_id)
        .with_for_update()
    )
    return [_review_from_row(row) for row in rows]


def _is_review_of(user_id: UUID, question_id: str) -> ColumnElement[bool]:
    return and_(
        QUESTION_REVIEWS.c.user_id == user_id, QUESTION_REVIEWS.c.question_id == question_id
    )


def _is_card_of(user_id: UUID, question_id: str) -> ColumnElement[bool]:
    return and_(QUESTION_CARDS.c.user_id == user_id, QUESTION_CARDS.c.question_id == question_id)


def _schedule_columns(schedule: Schedule) -> dict[str, object]:
    return {
        "state": schedule.state,
        "step": schedule.step,
        "stability_days": schedule.stability_days,
        "difficulty": schedule.difficulty,
        "due_at": schedule.due_at,
        "reviewed_at": schedule.reviewed_at,
        "last_score": schedule.last_score,
    }


def _review_from_row(row: RowMapping) -> Review:
    return Review(
        row["answer_id"], row["answered_at"], row["score"], tuple(json.loads(row["gaps"]))
    )
