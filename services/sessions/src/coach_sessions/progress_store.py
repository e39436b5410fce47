"""The queries of attempts and progress."""

import json
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, bindparam, delete, exists, insert, or_, select, update

from coach_common.db.transaction import Transaction
from coach_sessions.attempts import Attempt, build_question_key
from coach_sessions.domain import Feedback, Session, Status
from coach_sessions.progress import (
    QUARTERS_PER_DAY,
    PracticeDay,
    PracticeTotals,
    ProgressEntry,
    ScoredAnswer,
    build_entry,
    count_days,
)
from coach_sessions.tables import PRACTICE_DAYS, PROGRESS_ENTRIES, PROGRESS_TOTALS, SESSIONS

# Adapters ignore unknown keys: a row may have been written by a newer release.
_FEEDBACK = TypeAdapter(Feedback)
_ANSWER = TypeAdapter(ScoredAnswer)
_QUARTERS = TypeAdapter(dict[int, int])

_GET_ENTRY = select(PROGRESS_ENTRIES).where(
    PROGRESS_ENTRIES.c.session_id == bindparam("session_id")
)
_LIST_SCORED = (
    select(PROGRESS_ENTRIES)
    .where(
        PROGRESS_ENTRIES.c.user_id == bindparam("user_id"),
        PROGRESS_ENTRIES.c.scored_at.is_not(None),
    )
    .order_by(PROGRESS_ENTRIES.c.scored_at.desc(), PROGRESS_ENTRIES.c.session_id.desc())
    .limit(bindparam("limit"))
)
_GET_TOTALS = select(PROGRESS_TOTALS.c.sessions, PROGRESS_TOTALS.c.seconds).where(
    PROGRESS_TOTALS.c.user_id == bindparam("user_id")
)
_OWN_DAYS = select(PRACTICE_DAYS).where(PRACTICE_DAYS.c.user_id == bindparam("user_id"))
_GET_DAY = _OWN_DAYS.where(PRACTICE_DAYS.c.day == bindparam("day"))
_LIST_DAYS = (
    _OWN_DAYS.where(PRACTICE_DAYS.c.day < bindparam("before_day"))
    .order_by(PRACTICE_DAYS.c.day.desc())
    .limit(bindparam("limit"))
)

_LIST_FIRST_ATTEMPTS = (
    select(
        SESSIONS.c.id,
        SESSIONS.c.created_at,
        SESSIONS.c.completed_at,
        SESSIONS.c.status,
        SESSIONS.c.feedback,
        SESSIONS.c.self_rating,
        SESSIONS.c.revealed_at,
    )
    .where(
        SESSIONS.c.user_id == bindparam("user_id"),
        SESSIONS.c.question_key == bindparam("question_key"),
    )
    .order_by(SESSIONS.c.created_at.desc(), SESSIONS.c.id.desc())
    .limit(bindparam("limit"))
)
_LIST_NEXT_ATTEMPTS = _LIST_FIRST_ATTEMPTS.where(
    SESSIONS.c.created_at <= bindparam("last_at"),
    or_(SESSIONS.c.created_at < bindparam("last_at"), SESSIONS.c.id < bindparam("last_id")),
).with_hint(SESSIONS, "FORCE INDEX (ix_sessions_attempts)", "mysql")
_LIST_EARLIER_SCORED = _LIST_NEXT_ATTEMPTS.where(SESSIONS.c.overall_score.is_not(None))


async def list_attempts(
    tx: Transaction,
    session: Session,
    *,
    limit: int,
    position: tuple[datetime, UUID] | None,
) -> list[Attempt]:
    """Return one page of the user's attempts at the question of a session, newest first."""
    key: dict[str, object] = _attempts_key(session) | {"limit": limit}
    if position is None:
        rows = await tx.fetch_all(_LIST_FIRST_ATTEMPTS, key)
    else:
        last_at, last_id = position
        rows = await tx.fetch_all(
            _LIST_NEXT_ATTEMPTS, key | {"last_at": last_at, "last_id": last_id}
        )
    return [_attempt(row) for row in rows]


async def find_scored_attempt_before(
    tx: Transaction, session: Session, position: tuple[datetime, UUID]
) -> Attempt | None:
    """Return the newest scored attempt that is older than a position in the list, or None."""
    key: dict[str, object] = _attempts_key(session) | {"limit": 1}
    last_at, last_id = position
    row = await tx.fetch_one(_LIST_EARLIER_SCORED, key | {"last_at": last_at, "last_id": last_id})
    return None if row is None else _attempt(row)


async def mark_revealed(tx: Transaction, session_ids: Sequence[UUID], *, at: datetime) -> None:
    """Save when these sessions' scores were first shown."""
    columns = SESSIONS.c
    await tx.execute(
        update(SESSIONS)
        .where(columns.id.in_(session_ids), columns.revealed_at.is_(None))
        .values(revealed_at=at)
    )


async def update_progress(tx: Transaction, session: Session) -> None:
    """Save the entry of a locked session, and count its practice. Idempotent."""
    entry = build_entry(session, _question_key(session))
    if entry is None:
        return
    stored = await _find_entry(tx, session.id)
    if stored == entry:
        return
    values = _entry_columns(entry)
    await tx.execute(tx.dialect.upsert(PROGRESS_ENTRIES, values, update=values))
    if stored is None:
        await _count(tx, entry, 1)
    elif (stored.quarter, stored.practice_seconds) != (entry.quarter, entry.practice_seconds):
        await _count(tx, stored, -1)
        await _count(tx, entry, 1)


async def delete_progress(tx: Transaction, session_id: UUID) -> None:
    """Delete the entry of a locked session, and its practice."""
    stored = await _find_entry(tx, session_id)
    if stored is None:
        return
    columns = PROGRESS_ENTRIES.c
    await tx.execute(delete(PROGRESS_ENTRIES).where(columns.session_id == session_id))
    await _count(tx, stored, -1)


async def list_scored_entries(tx: Transaction, user_id: UUID, *, limit: int) -> list[ProgressEntry]:
    """Return the entries of the user's newest scored sessions, newest first."""
    rows = await tx.fetch_all(_LIST_SCORED, {"user_id": user_id, "limit": limit})
    return [_entry(row) for row in rows]


async def get_practice_totals(tx: Transaction, user_id: UUID) -> PracticeTotals:
    """Return the user's completed sessions and their duration."""
    row = await tx.fetch_one(_GET_TOTALS, {"user_id": user_id})
    return PracticeTotals() if row is None else PracticeTotals(**row)


async def list_practice_days(
    tx: Transaction, user_id: UUID, *, before_day: int, limit: int
) -> list[PracticeDay]:
    """Return the user's newest practice days before a day, newest first."""
    parameters = {"user_id": user_id, "before_day": before_day, "limit": limit}
    return [_practice_day(row) for row in await tx.fetch_all(_LIST_DAYS, parameters)]


async def list_user_entries(tx: Transaction, user_id: UUID) -> list[ProgressEntry]:
    """Return all entries of a user, in no order. For a rebuild: it reads one row per session."""
    columns = PROGRESS_ENTRIES.c
    query = select(PROGRESS_ENTRIES).where(columns.user_id == user_id)
    return [_entry(row) for row in await tx.fetch_all(query)]


async def find_next_user(tx: Transaction, after: UUID) -> UUID | None:
    """Return the first user after this one who has sessions or progress, or None."""
    found = [
        await tx.scalar(
            select(table.c.user_id)
            .where(table.c.user_id > after)
            .order_by(table.c.user_id)
            .limit(1)
        )
        for table in (SESSIONS, PROGRESS_TOTALS)
    ]
    return min((one for one in found if one is not None), default=None)


async def list_session_ids(
    tx: Transaction, user_id: UUID, *, position: tuple[datetime, UUID] | None, limit: int
) -> list[tuple[datetime, UUID]]:
    """Return the positions of a batch of the user's sessions, oldest first."""
    columns = SESSIONS.c
    query = (
        select(columns.created_at, columns.id)
        .where(columns.user_id == user_id)
        .order_by(columns.created_at, columns.id)
        .limit(limit)
    )
    if position is not None:
        last_at, last_id = position
        query = query.where(
            columns.created_at >= last_at,
            or_(columns.created_at > last_at, columns.id > last_id),
        )
    return [(row["created_at"], row["id"]) for row in await tx.fetch_all(query)]


async def update_question_key(tx: Transaction, session: Session) -> None:
    """Save the question key of a locked session, which an older release did not write."""
    key = _question_key(session)
    await tx.execute(update(SESSIONS).where(SESSIONS.c.id == session.id).values(question_key=key))


async def recount_practice(tx: Transaction, user_id: UUID) -> None:
    """Compute the user's practice again from the entries. Deletes entries without a session."""
    await _lock_totals(tx, user_id)
    columns = PROGRESS_ENTRIES.c
    is_orphan = ~exists().where(SESSIONS.c.id == columns.session_id)
    # Found by a plain read: a DELETE with this condition would lock entries that events change.
    orphans = await tx.fetch_all(
        select(columns.session_id).where(columns.user_id == user_id, is_orphan)
    )
    if orphans:
        ids = [row["session_id"] for row in orphans]
        await tx.execute_bulk(delete(PROGRESS_ENTRIES).where(columns.session_id.in_(ids)))
    totals, days = count_days(await list_user_entries(tx, user_id))
    is_own = PROGRESS_TOTALS.c.user_id == user_id
    if totals.sessions:
        values = {"sessions": totals.sessions, "seconds": totals.seconds}
        await tx.execute(update(PROGRESS_TOTALS).where(is_own).values(values))
    else:
        # The user may have been deleted since the rebuild found them.
        await tx.execute(delete(PROGRESS_TOTALS).where(is_own))
    await tx.execute_bulk(delete(PRACTICE_DAYS).where(PRACTICE_DAYS.c.user_id == user_id))
    if days:
        await tx.execute(insert(PRACTICE_DAYS), [_day_columns(user_id, day) for day in days])


def _question_key(session: Session) -> UUID:
    return build_question_key(session.id, session.question_id, session.question)


def _attempts_key(session: Session) -> dict[str, object]:
    return {"user_id": session.user_id, "question_key": _question_key(session)}


def _attempt(row: RowMapping) -> Attempt:
    is_ready = row["status"] == Status.READY and row["feedback"] is not None
    return Attempt(
        id=row["id"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
        status=row["status"],
        feedback=_FEEDBACK.validate_json(row["feedback"]) if is_ready else None,
        self_rating=row["self_rating"],
        revealed_at=row["revealed_at"],
    )


async def _find_entry(tx: Transaction, session_id: UUID) -> ProgressEntry | None:
    row = await tx.fetch_one(_GET_ENTRY, {"session_id": session_id})
    return None if row is None else _entry(row)


async def _count(tx: Transaction, entry: ProgressEntry, count: int) -> None:
    """Add `count` times the practice of an entry to the totals and its day."""
    user_id, seconds = entry.user_id, entry.practice_seconds
    await _lock_totals(tx, user_id, sessions=count, seconds=count * seconds)
    number, quarter = divmod(entry.quarter, QUARTERS_PER_DAY)
    key = {"user_id": user_id, "day": number}
    row = await tx.fetch_one(_GET_DAY, key)
    day = PracticeDay(number, 0, {}) if row is None else _practice_day(row)
    changed = day.add(quarter, seconds, count)
    columns = PRACTICE_DAYS.c
    if not changed.quarters:
        await tx.execute(
            delete(PRACTICE_DAYS).where(columns.user_id == user_id, columns.day == number)
        )
        return
    values = _day_columns(user_id, changed)
    await tx.execute(tx.dialect.upsert(PRACTICE_DAYS, values, update=values))


async def _lock_totals(
    tx: Transaction, user_id: UUID, *, sessions: int = 0, seconds: int = 0
) -> None:
    """Add to the user's totals. This locks the row, so transactions of one user take turns."""
    first = {"user_id": user_id, "sessions": sessions, "seconds": seconds}
    columns = PROGRESS_TOTALS.c
    added = {"sessions": columns.sessions + sessions, "seconds": columns.seconds + seconds}
    await tx.execute(tx.dialect.upsert(PROGRESS_TOTALS, first, update=added))


def _entry(row: RowMapping) -> ProgressEntry:
    return ProgressEntry(
        session_id=row["session_id"],
        user_id=row["user_id"],
        created_at=row["created_at"],
        practised_at=row["practised_at"],
        practice_seconds=row["practice_seconds"],
        self_rating=row["self_rating"],
        answer=None if row["answer"] is None else _ANSWER.validate_json(row["answer"]),
    )


def _entry_columns(entry: ProgressEntry) -> dict[str, object]:
    answer = entry.answer
    return {
        "session_id": entry.session_id,
        "user_id": entry.user_id,
        "created_at": entry.created_at,
        "scored_at": None if answer is None else entry.created_at,
        "practised_at": entry.practised_at,
        "practice_seconds": entry.practice_seconds,
        "self_rating": entry.self_rating,
        "answer": None if answer is None else _ANSWER.dump_json(answer).decode(),
    }


def _practice_day(row: RowMapping) -> PracticeDay:
    return PracticeDay(row["day"], row["seconds"], _QUARTERS.validate_json(row["quarters"]))


def _day_columns(user_id: UUID, day: PracticeDay) -> dict[str, object]:
    return {
        "user_id": user_id,
        "day": day.day,
        "seconds": day.seconds,
        "quarters": json.dumps(day.quarters, separators=(",", ":")),
    }
