"""Every query of sessions: a transaction and values in, domain objects out."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, and_, delete, func, insert, or_, select, update

from coach_common.db.tombstones import has_tombstone, insert_tombstone
from coach_common.db.transaction import Transaction
from coach_sessions.domain import (
    Failure,
    Feedback,
    Recording,
    Session,
    SessionNotFound,
    SessionSummary,
    Stats,
)
from coach_sessions.tables import OUTBOX, RECORDINGS, SESSIONS, TOMBSTONES


async def add_session(tx: Transaction, session: Session) -> None:
    """Store a new session."""
    await tx.execute(
        insert(SESSIONS).values(
            id=session.id,
            user_id=session.user_id,
            title=session.title,
            question=session.question,
            created_at=session.created_at,
            **_mutable_columns(session),
        )
    )


async def get_session(tx: Transaction, session_id: UUID, *, user_id: UUID) -> Session:
    """Return the person's session; SessionNotFound also for somebody else's."""
    row = await tx.fetch_one(
        select(SESSIONS).where(SESSIONS.c.id == session_id, SESSIONS.c.user_id == user_id)
    )
    if row is None:
        raise SessionNotFound
    return _session(row, await _list_recordings(tx, session_id))


async def find_session_for_update(
    tx: Transaction, session_id: UUID, *, user_id: UUID
) -> Session | None:
    """Return the session with its row held until the commit: whoever comes next waits."""
    row = await tx.fetch_one(
        select(SESSIONS)
        .where(SESSIONS.c.id == session_id, SESSIONS.c.user_id == user_id)
        .with_for_update()
    )
    return None if row is None else _session(row, await _list_recordings(tx, session_id))


async def update_session(tx: Transaction, session: Session) -> None:
    """Store what may change of a held session, and what follows from it."""
    await tx.execute(
        update(SESSIONS).where(SESSIONS.c.id == session.id).values(**_mutable_columns(session))
    )


async def list_sessions(
    tx: Transaction, user_id: UUID, *, limit: int, position: tuple[datetime, UUID] | None
) -> list[SessionSummary]:
    """Return what the list shows, newest first."""
    columns = SESSIONS.c
    query = select(
        columns.id,
        columns.title,
        columns.created_at,
        columns.duration_seconds,
        columns.overall_score,
        columns.status,
    ).where(columns.user_id == user_id)
    if position is not None:
        at, session_id = position
        # Expanded: MariaDB takes a row constructor for no range at all. Forced: it thinks that
        # reading everything newer first (`ref`) costs the same as beginning here (`range`).
        query = query.where(
            columns.created_at <= at, or_(columns.created_at < at, columns.id < session_id)
        ).with_hint(SESSIONS, "FORCE INDEX (ix_sessions_user_id_created_at_id)", "mysql")
    rows = await tx.fetch_all(
        query.order_by(columns.created_at.desc(), columns.id.desc()).limit(limit)
    )
    return [SessionSummary(**row) for row in rows]


async def get_stats(tx: Transaction, user_id: UUID) -> Stats:
    """Return the statistics: `improvement` is the newer half's mean less the older half's."""
    by_owner = SESSIONS.c.user_id == user_id
    score = SESSIONS.c.overall_score
    row = await tx.fetch_one(
        select(
            func.count().label("total"),
            func.count(score).label("scored"),
            func.avg(score).label("average"),
        ).where(by_owner)
    )
    assert row is not None  # noqa: S101 # nosec B101 # an aggregate has a row
    half = row["scored"] // 2
    improvement = 0.0
    if half:
        newer = await _mean_score(tx, user_id, half, is_newest=True)
        older = await _mean_score(tx, user_id, half, is_newest=False)
        improvement = newer - older
    return Stats(row["total"], round(float(row["average"] or 0), 2), round(improvement, 2))


async def link_recording(
    tx: Transaction, *, key: str, user_id: UUID, session_id: UUID, link_id: UUID
) -> None:
    """Say which session a recording is for; a link once made is never changed."""
    await _lock_recording(tx, key, user_id)
    await tx.execute(
        update(RECORDINGS)
        .where(
            RECORDINGS.c.key == key,
            RECORDINGS.c.user_id == user_id,
            or_(
                RECORDINGS.c.session_id.is_(None),
                and_(RECORDINGS.c.session_id == session_id, RECORDINGS.c.link_id > link_id),
            ),
        )
        .values(session_id=session_id, link_id=link_id)
    )


async def record_transcript(
    tx: Transaction, *, key: str, user_id: UUID, transcript: str
) -> UUID | None:
    """Keep a recording's words; return the session it is linked to, if any yet."""
    await _lock_recording(tx, key, user_id)
    by_owner = and_(RECORDINGS.c.key == key, RECORDINGS.c.user_id == user_id)
    await tx.execute(update(RECORDINGS).where(by_owner).values(text=transcript))
    return await tx.scalar(select(RECORDINGS.c.session_id).where(by_owner))  # type: ignore[no-any-return]


async def record_delivery_metrics(
    tx: Transaction, *, key: str, user_id: UUID, metrics: dict[str, Any], is_complete: bool
) -> UUID | None:
    """Keep how a recording was spoken; return the session it is linked to, if any yet.

    What the sound alone told is replaced by the whole and never replaces it."""
    await _lock_recording(tx, key, user_id)
    by_owner = and_(RECORDINGS.c.key == key, RECORDINGS.c.user_id == user_id)
    target = by_owner if is_complete else and_(by_owner, RECORDINGS.c.delivery.is_(None))
    values = {"delivery": json.dumps(metrics), "delivery_is_complete": is_complete}
    await tx.execute(update(RECORDINGS).where(target).values(**values))
    return await tx.scalar(select(RECORDINGS.c.session_id).where(by_owner))  # type: ignore[no-any-return]


async def record_failure(
    tx: Transaction, *, key: str, user_id: UUID, failure: Failure
) -> UUID | None:
    """Keep why a recording has no words, if this failure counts; return its session, if any yet."""
    await _lock_recording(tx, key, user_id)
    by_owner = and_(RECORDINGS.c.key == key, RECORDINGS.c.user_id == user_id)
    row = await tx.fetch_one(select(RECORDINGS).where(by_owner))
    if row is None:
        return None
    prevailing = Failure.prevailing(_failure(row), failure)
    await tx.execute(update(RECORDINGS).where(by_owner).values(**_failure_columns(prevailing)))
    return row["session_id"]  # type: ignore[no-any-return]


async def clear_recordings(tx: Transaction, session_id: UUID) -> list[str]:
    """Forget what was said in a session's recordings; return their keys.

    The rows stay, empty: a late transcript must still find out that its session is gone.
    """
    linked = RECORDINGS.c.session_id == session_id
    rows = await tx.fetch_all(select(RECORDINGS.c.key).where(linked))
    await tx.execute(
        update(RECORDINGS).where(linked).values(text=None, delivery=None, **_failure_columns(None))
    )
    return [row["key"] for row in rows]


async def delete_session(tx: Transaction, session_id: UUID, *, user_id: UUID) -> bool:
    """Remove the person's session; tell whether it was there."""
    gone = await tx.execute(
        delete(SESSIONS).where(SESSIONS.c.id == session_id, SESSIONS.c.user_id == user_id)
    )
    return gone.rowcount == 1


async def delete_user_data(tx: Transaction, user_id: UUID) -> None:
    """Remove everything about a person."""
    for table in (SESSIONS, RECORDINGS, OUTBOX):
        await tx.execute(delete(table).where(table.c.user_id == user_id))


async def add_tombstone(tx: Transaction, deleted_id: UUID, *, at: datetime) -> None:
    """Remember that this user or session is gone."""
    await insert_tombstone(tx, TOMBSTONES, deleted_id, at=at)


async def is_deleted(tx: Transaction, *ids: UUID | None) -> bool:
    """Tell whether any of these users or sessions was deleted."""
    return await has_tombstone(tx, TOMBSTONES, *ids)


async def _mean_score(tx: Transaction, user_id: UUID, count: int, *, is_newest: bool) -> float:
    columns = SESSIONS.c
    order = (columns.created_at, columns.id)
    half = (
        select(columns.overall_score)
        .where(columns.user_id == user_id, columns.overall_score.is_not(None))
        .order_by(*(column.desc() if is_newest else column.asc() for column in order))
        .limit(count)
        .subquery()
    )
    return float(await tx.scalar(select(func.avg(half.c.overall_score))))


async def _list_recordings(tx: Transaction, session_id: UUID) -> tuple[Recording, ...]:
    rows = await tx.fetch_all(select(RECORDINGS).where(RECORDINGS.c.session_id == session_id))
    return tuple(
        Recording(
            key=row["key"],
            user_id=row["user_id"],
            session_id=row["session_id"],
            linked_by_event_id=row["link_id"],
            transcript=row["text"],
            failure=_failure(row),
            delivery_metrics=None if row["delivery"] is None else json.loads(row["delivery"]),
            delivery_metrics_complete=row["delivery_is_complete"] is not False,
        )
        for row in rows
    )


async def _lock_recording(tx: Transaction, key: str, user_id: UUID) -> None:
    """Make sure the row is there and ours until the commit, so that facts about it take turns.

    One statement that locks for writing at once: two facts that first both locked for reading,
    as INSERT IGNORE does, would each wait for the other.
    """
    values = {"key": key, "user_id": user_id}
    await tx.execute(tx.database.upsert(RECORDINGS, values, update={"key": key}))


def _session(row: RowMapping, recordings: tuple[Recording, ...]) -> Session:
    return Session(
        id=row["id"],
        user_id=row["user_id"],
        title=row["title"],
        question=row["question"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        completed_at=row["completed_at"],
        duration_seconds=row["duration_seconds"],
        client_transcript=row["client_transcript"],
        recordings=recordings,
        feedback=None if row["feedback"] is None else Feedback(**json.loads(row["feedback"])),
        failure=_failure(row),
        published_fingerprints=json.loads(row["announced"]),
    )


def _mutable_columns(session: Session) -> dict[str, object]:
    feedback = session.feedback
    return {
        "updated_at": session.updated_at,
        "completed_at": session.completed_at,
        "duration_seconds": session.duration_seconds,
        "client_transcript": session.client_transcript,
        "feedback": None if feedback is None else json.dumps(asdict(feedback)),
        "status": session.status.value,
        "overall_score": None if feedback is None else feedback.overall_score,
        "announced": json.dumps(dict(session.published_fingerprints)),
        **_failure_columns(session.failure),
    }


def _failure(row: RowMapping) -> Failure | None:
    if row["failure_id"] is None:
        return None
    return Failure(row["failure_id"], row["failure_reason"], row["failure_is_final"])


def _failure_columns(failure: Failure | None) -> dict[str, object]:
    return {
        "failure_id": None if failure is None else failure.id,
        "failure_reason": None if failure is None else failure.reason,
        "failure_is_final": None if failure is None else failure.is_final,
    }
