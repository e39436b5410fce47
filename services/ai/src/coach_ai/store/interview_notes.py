"""Queries about notes of real interviews, and about how many people noted a question.

Only notes of users who have agreed to improvement are counted. A transaction that changes notes or
the consent of a user locks the consent first, so that each note is counted once. It changes counts
after notes and consent, so that `recount` finds what was counted.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, select, update

from coach_ai.domain.interview_notes import PEOPLE_STEP, InterviewNote, round_people
from coach_ai.store.consents import lock_improvement_consent, select_improving_users
from coach_ai.tables import INTERVIEW_NOTES, QUESTION_COUNTS
from coach_common.db.transaction import Transaction


async def save_note(tx: Transaction, user_id: UUID, question_id: str, note: InterviewNote) -> bool:
    """Store a note of a user whose consent is locked. Return False if it replaces another one."""
    columns = {"asked_at": note.asked_at, "asked_by": note.asked_by}
    key = {"user_id": user_id, "question_id": question_id}
    added = await tx.execute(tx.dialect.insert_ignore(INTERVIEW_NOTES).values(**key, **columns))
    if added.rowcount == 0:
        await tx.execute(
            update(INTERVIEW_NOTES).where(_is_note(user_id, question_id)).values(columns)
        )
    return added.rowcount == 1


async def delete_note(tx: Transaction, user_id: UUID, question_id: str) -> bool:
    """Delete a note of a user whose consent is locked. Return False if there is none."""
    deleted = await tx.execute(delete(INTERVIEW_NOTES).where(_is_note(user_id, question_id)))
    return deleted.rowcount == 1


async def list_notes(tx: Transaction, user_id: UUID) -> dict[str, InterviewNote]:
    """Return the notes of a user by question."""
    rows = await tx.fetch_all(select(INTERVIEW_NOTES).where(INTERVIEW_NOTES.c.user_id == user_id))
    return {row["question_id"]: InterviewNote(row["asked_at"], row["asked_by"]) for row in rows}


async def list_shown_people(tx: Transaction) -> dict[str, int]:
    """Return the numbers of people that are shown by question. Others have none."""
    columns = QUESTION_COUNTS.c
    rows = await tx.fetch_all(select(QUESTION_COUNTS).where(columns.people >= PEOPLE_STEP))
    return {row["question_id"]: round_people(row["people"]) or 0 for row in rows}


async def change_people(tx: Transaction, question_ids: Collection[str], *, by: int) -> None:
    """Add to the number of people of these questions. Sorted, so that no two deadlock."""
    columns = QUESTION_COUNTS.c
    for question_id in sorted(question_ids):
        await tx.execute(
            tx.dialect.upsert(
                QUESTION_COUNTS,
                {"question_id": question_id, "people": max(by, 0)},
                update={"people": columns.people + by},
            )
        )


async def erase_user(tx: Transaction, user_id: UUID) -> None:
    """Delete the notes of a user, and count them no longer."""
    if await lock_improvement_consent(tx, user_id):
        await change_people(tx, await list_notes(tx, user_id), by=-1)
    await tx.execute(delete(INTERVIEW_NOTES).where(INTERVIEW_NOTES.c.user_id == user_id))


async def list_counted_questions(tx: Transaction) -> list[str]:
    """Return the ids of all questions with a count or a note."""
    ids = select(QUESTION_COUNTS.c.question_id).union(select(INTERVIEW_NOTES.c.question_id))
    return [row["question_id"] for row in await tx.fetch_all(ids)]


async def recount(tx: Transaction, question_id: str) -> bool:
    """Compute the number of people of a question again. Return whether it was wrong."""
    key = {"question_id": question_id}
    # The upsert locks the row: what is counted meanwhile waits.
    await tx.execute(tx.dialect.upsert(QUESTION_COUNTS, {**key, "people": 0}, update=key))
    stored = select(QUESTION_COUNTS.c.people).where(QUESTION_COUNTS.c.question_id == question_id)
    is_counted = and_(
        INTERVIEW_NOTES.c.question_id == question_id,
        INTERVIEW_NOTES.c.user_id.in_(select_improving_users()),
    )
    former = await tx.scalar(stored)
    people = await tx.scalar(select(func.count()).select_from(INTERVIEW_NOTES).where(is_counted))
    await tx.execute(
        update(QUESTION_COUNTS)
        .where(QUESTION_COUNTS.c.question_id == question_id)
        .values(people=people)
    )
    return bool(former != people)


def _is_note(user_id: UUID, question_id: str) -> ColumnElement[bool]:
    columns = INTERVIEW_NOTES.c
    return and_(columns.user_id == user_id, columns.question_id == question_id)
