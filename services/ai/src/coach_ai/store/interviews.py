"""Queries about interviews and their turns."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, RowMapping, and_, insert, select, update

from coach_ai.interview.assessment import Assessment
from coach_ai.interview.model import Interview, InterviewPlan, InterviewSetup, InterviewStatus, Turn
from coach_ai.tables import INTERVIEW_TURNS, INTERVIEWS
from coach_common.db import republication
from coach_common.db.transaction import Transaction
from coach_common.errors import NotFound, TransactionConflict

_SETUP = TypeAdapter(InterviewSetup)
_PLAN = TypeAdapter(InterviewPlan)
_TURN = TypeAdapter(Turn)
_ASSESSMENT = TypeAdapter(Assessment)


class InterviewNotFound(NotFound):
    """The interview does not exist or belongs to another user."""

    code = "interview_not_found"

    def __init__(self) -> None:
        super().__init__("Interview not found")


async def add_interview(tx: Transaction, interview: Interview) -> None:
    """Insert an interview without its turns."""
    await tx.execute(
        insert(INTERVIEWS).values(
            id=interview.id,
            user_id=interview.user_id,
            setup=_SETUP.dump_json(interview.setup).decode(),
            plan=_PLAN.dump_json(interview.plan).decode(),
            status=interview.status.value,
            question_number=interview.question_number,
            turn_count=interview.turn_count,
            created_at=interview.created_at,
            updated_at=interview.updated_at,
        )
    )


async def get_interview(tx: Transaction, interview_id: UUID, *, user_id: UUID) -> Interview:
    """Return the user's interview. Raises InterviewNotFound if there is none."""
    row = await tx.fetch_one(select(INTERVIEWS).where(_is_owned(interview_id, user_id)))
    if row is None:
        raise InterviewNotFound
    return _interview_from_row(row)


async def lock_interview(tx: Transaction, interview: Interview) -> bool:
    """Lock the row of an interview until the commit. Return False if it was deleted."""
    query = select(INTERVIEWS.c.id).where(_is_owned(interview.id, interview.user_id))
    return await tx.fetch_one(query.with_for_update()) is not None


async def list_interviews(
    tx: Transaction, user_id: UUID, *, limit: int, before: UUID | None = None
) -> list[tuple[Interview, Assessment | None]]:
    """Return the user's interviews with their assessments, newest first."""
    query = select(INTERVIEWS).where(INTERVIEWS.c.user_id == user_id)
    if before is not None:
        query = query.where(INTERVIEWS.c.id < before)
    rows = await tx.fetch_all(query.order_by(INTERVIEWS.c.id.desc()).limit(limit))
    return [(_interview_from_row(row), _assessment_from_row(row)) for row in rows]


async def update_progress(tx: Transaction, interview: Interview, *, turn_count: int) -> bool:
    """Store the state of an interview that still has `turn_count` turns.

    Return False if it has more turns by now, is completed or was deleted.
    """
    updated = await tx.execute(
        update(INTERVIEWS)
        .where(
            _is_owned(interview.id, interview.user_id),
            INTERVIEWS.c.turn_count == turn_count,
            INTERVIEWS.c.status == InterviewStatus.IN_PROGRESS.value,
        )
        .values(
            status=interview.status.value,
            question_number=interview.question_number,
            turn_count=interview.turn_count,
            updated_at=interview.updated_at,
            completed_at=interview.completed_at,
        )
    )
    return updated.rowcount == 1


async def save_assessment(
    tx: Transaction, interview: Interview, assessment: Assessment, *, at: datetime
) -> None:
    """Store the assessment of an interview. It replaces an earlier one."""
    await tx.execute(
        update(INTERVIEWS)
        .where(_is_owned(interview.id, interview.user_id))
        .values(assessment=_ASSESSMENT.dump_json(assessment).decode(), updated_at=at)
    )


async def find_assessment(
    tx: Transaction, interview_id: UUID, *, user_id: UUID
) -> Assessment | None:
    """Return the assessment of the user's interview, or None if it is not assessed."""
    row = await tx.fetch_one(
        select(INTERVIEWS.c.assessment).where(_is_owned(interview_id, user_id))
    )
    return None if row is None else _assessment_from_row(row)


async def schedule_republication(tx: Transaction, interview_id: UUID, *, at: datetime) -> None:
    """Store when the state of an interview is published again."""
    await tx.execute(
        update(INTERVIEWS).where(INTERVIEWS.c.id == interview_id).values(republish_after=at)
    )


async def schedule_batch(
    tx: Transaction, *, after: UUID | None, limit: int, at: datetime
) -> tuple[int, UUID | None]:
    """Schedule the publication of the interviews that follow `after` in the order of their ids.

    Return how many they are, and the last one, or None if there are no more.
    """
    query = select(INTERVIEWS.c.id).order_by(INTERVIEWS.c.id).limit(limit)
    if after is not None:
        query = query.where(INTERVIEWS.c.id > after)
    ids = [row["id"] for row in await tx.fetch_all(query)]
    await tx.execute(update(INTERVIEWS).where(INTERVIEWS.c.id.in_(ids)).values(republish_after=at))
    return len(ids), ids[-1] if len(ids) == limit else None


async def list_due(
    tx: Transaction, now: datetime, *, limit: int
) -> list[tuple[Interview, datetime]]:
    """Return the interviews to publish again, each with its due time, oldest first."""
    rows = await republication.list_due_rows(tx, INTERVIEWS, now, limit=limit)
    return [(_interview_from_row(row), row["republish_after"]) for row in rows]


async def claim_republication(
    tx: Transaction, interview_id: UUID, *, due_at: datetime, republish_after: datetime | None
) -> bool:
    """Store the next due time. Return False if another replica or a new state was first."""
    key = {"id": interview_id}
    return await republication.claim_row(
        tx, INTERVIEWS, key, due_at=due_at, republish_after=republish_after
    )


async def add_turn(tx: Transaction, interview: Interview, turn: Turn) -> None:
    """Insert a turn.

    Raises:
        TransactionConflict: If another replica stored a turn with its number, key or recording.
    """
    added = await tx.execute(
        tx.dialect.insert_ignore(INTERVIEW_TURNS).values(
            interview_id=interview.id,
            number=turn.number,
            user_id=interview.user_id,
            idempotency_key=turn.idempotency_key,
            audio_s3_key=turn.audio_s3_key,
            content=_TURN.dump_json(turn).decode(),
        )
    )
    if added.rowcount == 0:
        raise TransactionConflict("Another message was answered first. Please try again.")


async def update_turn(tx: Transaction, interview: Interview, turn: Turn) -> None:
    """Replace a turn. Lock the interview before the turn is read."""
    await tx.execute(
        update(INTERVIEW_TURNS)
        .where(
            INTERVIEW_TURNS.c.interview_id == interview.id, INTERVIEW_TURNS.c.number == turn.number
        )
        .values(content=_TURN.dump_json(turn).decode())
    )


async def list_turns(tx: Transaction, interview_id: UUID) -> Sequence[Turn]:
    """Return the turns of an interview, oldest first."""
    rows = await tx.fetch_all(
        select(INTERVIEW_TURNS.c.content)
        .where(INTERVIEW_TURNS.c.interview_id == interview_id)
        .order_by(INTERVIEW_TURNS.c.number)
    )
    return [_TURN.validate_json(row["content"]) for row in rows]


async def find_interview_of_recording(tx: Transaction, key: str) -> UUID | None:
    """Return the interview with a turn from this recording, or None."""
    interview_id: UUID | None = await tx.scalar(
        select(INTERVIEW_TURNS.c.interview_id).where(INTERVIEW_TURNS.c.audio_s3_key == key)
    )
    return interview_id


def _is_owned(interview_id: UUID, user_id: UUID) -> ColumnElement[bool]:
    return and_(INTERVIEWS.c.id == interview_id, INTERVIEWS.c.user_id == user_id)


def _interview_from_row(row: RowMapping) -> Interview:
    return Interview(
        id=row["id"],
        user_id=row["user_id"],
        setup=_SETUP.validate_json(row["setup"]),
        plan=_PLAN.validate_json(row["plan"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        status=InterviewStatus(row["status"]),
        question_number=row["question_number"],
        turn_count=row["turn_count"],
        completed_at=row["completed_at"],
    )


def _assessment_from_row(row: RowMapping) -> Assessment | None:
    stored = row["assessment"]
    return None if stored is None else _ASSESSMENT.validate_json(stored)
