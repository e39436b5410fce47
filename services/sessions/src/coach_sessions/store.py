"""The queries of sessions: a transaction and values in, domain objects out."""

import json
from dataclasses import asdict, fields
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import (
    ColumnElement,
    RowMapping,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from coach_common.db.leases import is_due
from coach_common.db.tombstones import has_tombstone, insert_tombstone
from coach_common.db.transaction import Transaction
from coach_common.events.feedback import DeliveryMetrics
from coach_common.repair import MAX_DELAY
from coach_sessions import stats_store
from coach_sessions.attempts import build_question_key
from coach_sessions.domain import (
    Failure,
    Feedback,
    PublishedFingerprints,
    Recording,
    RecordingRef,
    Session,
    SessionNotFound,
    SessionSummary,
)
from coach_sessions.kind import SessionKind
from coach_sessions.tables import (
    OUTBOX,
    PRACTICE_DAYS,
    PROGRESS_ENTRIES,
    PROGRESS_TOTALS,
    RECORDINGS,
    SESSION_STATS,
    SESSIONS,
    TOMBSTONES,
)

# Adapters ignore unknown keys: a row may have been written by a newer release.
_FEEDBACK = TypeAdapter(Feedback)
_FINGERPRINTS = TypeAdapter(PublishedFingerprints)


# Statements of busy routes are built once, because that takes longer than to run them in SQLite.
_IS_OWNED = and_(
    SESSIONS.c.id == bindparam("owned_id"), SESSIONS.c.user_id == bindparam("owner_id")
)
_GET_SESSION = select(SESSIONS).where(_IS_OWNED)
_LOCK_SESSION = _GET_SESSION.with_for_update()
_UPDATE_SESSION = update(SESSIONS).where(SESSIONS.c.id == bindparam("updated_id"))
_LIST_RECORDINGS = select(RECORDINGS).where(RECORDINGS.c.session_id == bindparam("session_id"))
_LIST_FIRST = (
    select(*(SESSIONS.c[item.name] for item in fields(SessionSummary)))
    .where(SESSIONS.c.user_id == bindparam("user_id"))
    .order_by(SESSIONS.c.created_at.desc(), SESSIONS.c.id.desc())
    .limit(bindparam("limit"))
)
_LIST_FIRST_OF_KIND = _LIST_FIRST.where(SESSIONS.c.kind == bindparam("kind"))
# MariaDB does not use the index for a row constructor, so the comparison is expanded. The hint is
# needed because its optimizer prefers to read all newer rows first.
_IS_AFTER = and_(
    SESSIONS.c.created_at <= bindparam("last_at"),
    or_(SESSIONS.c.created_at < bindparam("last_at"), SESSIONS.c.id < bindparam("last_id")),
)
_LIST_NEXT = _LIST_FIRST.where(_IS_AFTER).with_hint(
    SESSIONS, "FORCE INDEX (ix_sessions_user_id_created_at_id)", "mysql"
)
_LIST_NEXT_OF_KIND = _LIST_FIRST_OF_KIND.where(_IS_AFTER).with_hint(
    SESSIONS, "FORCE INDEX (ix_sessions_user_id_kind)", "mysql"
)
_INSERT_SESSION = insert(SESSIONS)


async def add_session(tx: Transaction, session: Session) -> None:
    """Insert a new session without a score and count it."""
    await tx.execute(_INSERT_SESSION, _new_row(session))
    await stats_store.count_session(tx, session.user_id)


async def add_missing_session(tx: Transaction, session: Session) -> bool:
    """Insert a session without a score and count it. Return False if its id is stored already."""
    row = _new_row(session)
    added = await tx.execute(tx.dialect.insert_ignore(SESSIONS).values(**row))
    if added.rowcount == 1:
        await stats_store.count_session(tx, session.user_id)
    return added.rowcount == 1


def _new_row(session: Session) -> dict[str, object]:
    return {
        "id": session.id,
        "kind": session.kind.value,
        "user_id": session.user_id,
        "title": session.title,
        "question": session.question,
        "question_id": session.question_id,
        "question_key": build_question_key(session.id, session.question_id, session.question),
        "seniority": session.seniority,
        "role": session.role,
        "created_at": session.created_at,
        **_mutable_columns(session),
    }


async def get_session(tx: Transaction, session_id: UUID, *, user_id: UUID) -> Session:
    """Return the user's session.

    Raises:
        SessionNotFound: If it does not exist or belongs to another user.
    """
    row = await tx.fetch_one(_GET_SESSION, {"owned_id": session_id, "owner_id": user_id})
    if row is None:
        raise SessionNotFound
    return _session(row, await _list_recordings(tx, session_id))


async def lock_session(tx: Transaction, session_id: UUID, *, user_id: UUID) -> Session | None:
    """Lock the row of the user's session until the commit and return the session, or None."""
    row = await tx.fetch_one(_LOCK_SESSION, {"owned_id": session_id, "owner_id": user_id})
    return None if row is None else _session(row, await _list_recordings(tx, session_id))


async def update_session(
    tx: Transaction, session: Session, *, repair_after: datetime | None
) -> None:
    """Save the mutable columns of a locked session, derived ones and statistics included.

    `repair_after` is when the repair sweep checks it, or None if it waits for nothing.
    """
    columns = _mutable_columns(session)
    await tx.execute(
        _UPDATE_SESSION, {"updated_id": session.id, **columns, "repair_after": repair_after}
    )
    if columns["overall_score"] != session.counted_score:
        await stats_store.refresh_stats(tx, session.user_id)


async def list_due_repairs(
    tx: Transaction, now: datetime, *, limit: int
) -> list[tuple[UUID, UUID, datetime]]:
    """Return id, user and due time of the sessions that the repair sweep checks, oldest first."""
    columns = SESSIONS.c
    rows = await tx.fetch_all(
        select(columns.id, columns.user_id, columns.repair_after)
        .where(is_due(columns.repair_after, now=now, latest=now + MAX_DELAY))
        .order_by(columns.repair_after)
        .limit(limit)
    )
    return [(row["id"], row["user_id"], row["repair_after"]) for row in rows]


async def claim_repair(
    tx: Transaction, session_id: UUID, *, due_at: datetime, next_repair_at: datetime | None
) -> bool:
    """Claim a due repair and schedule the next. Return False if another replica claimed it."""
    claimed = await tx.execute(
        update(SESSIONS)
        .where(SESSIONS.c.id == session_id, SESSIONS.c.repair_after == due_at)
        .values(repair_after=next_repair_at)
    )
    return claimed.rowcount == 1


async def list_sessions(
    tx: Transaction,
    user_id: UUID,
    *,
    limit: int,
    position: tuple[datetime, UUID] | None,
    kind: SessionKind | None = None,
) -> list[SessionSummary]:
    """Return one page of the user's sessions of a kind, or of all kinds, newest first."""
    first, following = _LIST_FIRST, _LIST_NEXT
    parameters: dict[str, object] = {"user_id": user_id, "limit": limit}
    if kind is not None:
        first, following = _LIST_FIRST_OF_KIND, _LIST_NEXT_OF_KIND
        parameters["kind"] = kind.value
    if position is None:
        rows = await tx.fetch_all(first, parameters)
    else:
        last_at, last_id = position
        rows = await tx.fetch_all(following, parameters | {"last_at": last_at, "last_id": last_id})
    return [SessionSummary(**row) for row in rows]


async def lock_recording(tx: Transaction, key: str, user_id: UUID) -> None:
    """Insert the row if it is missing and lock it until the commit.

    A single upsert takes the write lock at once. INSERT IGNORE would take a shared lock first, and
    two transactions that both hold it deadlock when they update the row.
    """
    values = {"key": key, "user_id": user_id}
    await tx.execute(tx.dialect.upsert(RECORDINGS, values, update={"key": key}))


async def find_linked_session(tx: Transaction, key: str, user_id: UUID) -> UUID | None:
    """Return the id of the session that a recording is linked to, or None."""
    session_id: UUID | None = await tx.scalar(
        select(RECORDINGS.c.session_id).where(_is_recording(key, user_id))
    )
    return session_id


async def lock_known_recording(tx: Transaction, key: str, user_id: UUID) -> RecordingRef | None:
    """Lock the row of a recording until the commit and return it, or None if there is none.

    If there is none, an event about this key in another transaction waits for this commit.
    """
    lookup = select(RECORDINGS.c.session_id).where(_is_recording(key, user_id)).with_for_update()
    row = await tx.fetch_one(lookup)
    if row is None:
        inserted = await tx.execute(
            tx.dialect.insert_ignore(RECORDINGS).values(key=key, user_id=user_id)
        )
        if inserted.rowcount:
            # The insert holds the lock of the key until the commit; no row remains.
            await delete_recording(tx, key, user_id)
            return None
        row = await tx.fetch_one(lookup)
    return None if row is None else RecordingRef(key, user_id, row["session_id"])


async def find_requesting_session(tx: Transaction, key: str, user_id: UUID) -> UUID | None:
    """Return the first session of the user for which the client named this key, or None."""
    session_id: UUID | None = await tx.scalar(
        select(SESSIONS.c.id)
        .where(SESSIONS.c.requested_key == key, SESSIONS.c.user_id == user_id)
        .order_by(SESSIONS.c.id)
        .limit(1)
    )
    return session_id


async def list_waiting_for_recordings(
    tx: Transaction, completed_before: datetime, *, limit: int
) -> list[tuple[UUID, UUID]]:
    """Return id and user of sessions with a client transcript that wait for a named recording."""
    columns = SESSIONS.c
    rows = await tx.fetch_all(
        select(columns.id, columns.user_id)
        .where(
            columns.requested_key.is_not(None),
            columns.client_transcript.is_not(None),
            columns.completed_at < completed_before,
        )
        .limit(limit)
    )
    return [(row["id"], row["user_id"]) for row in rows]


async def link_recording(
    tx: Transaction, *, key: str, user_id: UUID, session_id: UUID, link_id: UUID
) -> None:
    """Link a locked recording to a session. An existing link to another session is kept."""
    columns = RECORDINGS.c
    is_linkable = or_(
        columns.session_id.is_(None),
        and_(columns.session_id == session_id, columns.linked_by_event_id > link_id),
    )
    await tx.execute(
        update(RECORDINGS)
        .where(_is_recording(key, user_id), is_linkable)
        .values(session_id=session_id, linked_by_event_id=link_id)
    )


async def record_transcript(tx: Transaction, key: str, user_id: UUID, transcript: str) -> None:
    """Save the transcript of a locked recording."""
    await tx.execute(
        update(RECORDINGS).where(_is_recording(key, user_id)).values(transcript=transcript)
    )


async def record_delivery_metrics(
    tx: Transaction, key: str, user_id: UUID, metrics: DeliveryMetrics, *, is_complete: bool
) -> None:
    """Save the delivery metrics of a locked recording.

    Acoustic metrics (`is_complete` false) never replace metrics that are stored already.
    """
    target = _is_recording(key, user_id)
    if not is_complete:
        target = and_(target, RECORDINGS.c.delivery_metrics.is_(None))
    await tx.execute(
        update(RECORDINGS)
        .where(target)
        .values(delivery_metrics=metrics.model_dump_json(), delivery_metrics_complete=is_complete)
    )


async def record_failure(tx: Transaction, key: str, user_id: UUID, failure: Failure) -> None:
    """Save why the transcription of a locked recording failed, if this failure prevails."""
    row = await tx.fetch_one(select(RECORDINGS).where(_is_recording(key, user_id)))
    stored = None if row is None else _failure(row)
    prevailing = Failure.prevailing(stored, failure)
    await tx.execute(
        update(RECORDINGS).where(_is_recording(key, user_id)).values(**_failure_columns(prevailing))
    )


async def reopen_failure(tx: Transaction, key: str, user_id: UUID) -> None:
    """Save that a failed transcription is tried again."""
    await tx.execute(
        update(RECORDINGS).where(_is_recording(key, user_id)).values(failure_is_final=False)
    )


async def delete_recording(tx: Transaction, key: str, user_id: UUID) -> None:
    """Delete one recording."""
    await tx.execute(delete(RECORDINGS).where(_is_recording(key, user_id)))


async def delete_recordings(tx: Transaction, session_id: UUID) -> list[str]:
    """Delete the recordings of a session and return their keys."""
    linked = RECORDINGS.c.session_id == session_id
    rows = await tx.fetch_all(select(RECORDINGS.c.key).where(linked).with_for_update())
    await tx.execute(delete(RECORDINGS).where(linked))
    return [row["key"] for row in rows]


async def delete_session(tx: Transaction, session: Session) -> None:
    """Delete a locked session and update the statistics."""
    await tx.execute(delete(SESSIONS).where(SESSIONS.c.id == session.id))
    await stats_store.refresh_stats(tx, session.user_id)


async def delete_user_data(tx: Transaction, user_id: UUID) -> None:
    """Delete all rows of a user, unpublished events included.

    Deletions of sessions stay until media and ai have confirmed them.
    """
    for table in (
        SESSIONS, SESSION_STATS, RECORDINGS, PROGRESS_ENTRIES, PROGRESS_TOTALS, PRACTICE_DAYS,
        OUTBOX,
    ):  # fmt: skip
        await tx.execute_bulk(delete(table).where(table.c.user_id == user_id))


async def add_tombstone(tx: Transaction, deleted_id: UUID, *, at: datetime) -> bool:
    """Record that this user, session or recording was deleted. Return False if it was known."""
    return await insert_tombstone(tx, TOMBSTONES, deleted_id, at=at)


async def is_deleted(tx: Transaction, *ids: UUID | None) -> bool:
    """Return whether any of these users, sessions or recordings was deleted."""
    return await has_tombstone(tx, TOMBSTONES, *ids)


async def _list_recordings(tx: Transaction, session_id: UUID) -> tuple[Recording, ...]:
    rows = await tx.fetch_all(_LIST_RECORDINGS, {"session_id": session_id})
    return tuple(
        Recording(
            key=row["key"],
            user_id=row["user_id"],
            session_id=row["session_id"],
            linked_by_event_id=row["linked_by_event_id"],
            transcript=row["transcript"],
            failure=_failure(row),
            delivery_metrics=None
            if row["delivery_metrics"] is None
            else DeliveryMetrics.model_validate_json(row["delivery_metrics"]),
            delivery_metrics_complete=row["delivery_metrics_complete"] is not False,
        )
        for row in rows
    )


def _is_recording(key: str, user_id: UUID) -> ColumnElement[bool]:
    return and_(RECORDINGS.c.key == key, RECORDINGS.c.user_id == user_id)


def _session(row: RowMapping, recordings: tuple[Recording, ...]) -> Session:
    return Session(
        id=row["id"],
        user_id=row["user_id"],
        kind=SessionKind(row["kind"]),
        title=row["title"],
        question=row["question"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        question_id=row["question_id"],
        seniority=row["seniority"],
        role=row["role"],
        completed_at=row["completed_at"],
        duration_seconds=row["duration_seconds"],
        client_transcript=row["client_transcript"],
        requested_key=row["requested_key"],
        recordings=recordings,
        feedback=None if row["feedback"] is None else _FEEDBACK.validate_json(row["feedback"]),
        failure=_failure(row),
        published_fingerprints=_FINGERPRINTS.validate_json(row["published_fingerprints"]),
        counted_score=row["overall_score"],
        self_rating=row["self_rating"],
        self_rated_at=row["self_rated_at"],
        revealed_at=row["revealed_at"],
    ).with_facts_joined()


def _mutable_columns(session: Session) -> dict[str, object]:
    feedback, final = session.feedback, session.final_feedback
    return {
        "updated_at": session.updated_at,
        "completed_at": session.completed_at,
        "duration_seconds": session.duration_seconds,
        "client_transcript": session.client_transcript,
        "requested_key": session.requested_key,
        "feedback": None if feedback is None else _FEEDBACK.dump_json(feedback).decode(),
        "status": session.status.value,
        "overall_score": None if final is None else final.overall_score,
        "published_fingerprints": json.dumps(asdict(session.published_fingerprints)),
        "self_rating": session.self_rating,
        "self_rated_at": session.self_rated_at,
        **_failure_columns(session.failure),
    }


def _failure(row: RowMapping) -> Failure | None:
    if row["failure_id"] is None:
        return None
    return Failure(
        row["failure_id"],
        row["failure_reason"],
        row["failure_is_final"],
        is_restartable=bool(row["failure_is_restartable"]),
    )


def _failure_columns(failure: Failure | None) -> dict[str, object]:
    return {
        "failure_id": None if failure is None else failure.id,
        "failure_reason": None if failure is None else failure.reason,
        "failure_is_final": None if failure is None else failure.is_final,
        "failure_is_restartable": None if failure is None else failure.is_restartable,
    }
