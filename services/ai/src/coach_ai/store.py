"""Every query of ai: a transaction and values in, domain objects out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, and_, delete, func, insert, or_, select, update

from coach_ai.domain import (
    LEASE,
    CompletedSession,
    Job,
    JobKind,
    Judgement,
    PastSession,
    Recording,
    Transcript,
)
from coach_ai.tables import (
    ANSWERS,
    CONVERSATIONS,
    JOBS,
    MESSAGES,
    OUTBOX,
    RECORDINGS,
    TOMBSTONES,
    USAGE,
)
from coach_common.db.database import database_now
from coach_common.db.tombstones import bury, is_buried
from coach_common.db.transaction import Transaction
from coach_common.ids import new_id

# --- recordings


async def add_recording(tx: Transaction, recording: Recording) -> None:
    """Store a recording; one that is there stays as it is."""
    await tx.execute(
        tx.database.insert_ignore(RECORDINGS).values(
            upload_id=recording.upload_id,
            user_id=recording.user_id,
            key=recording.key,
            session_id=recording.session_id,
            etag=recording.etag,
            size_bytes=recording.size_bytes,
            has_failed=False,
        )
    )


async def find_recording(tx: Transaction, upload_id: UUID) -> Recording | None:
    """Return a recording."""
    row = await tx.row(select(RECORDINGS).where(RECORDINGS.c.upload_id == upload_id))
    return None if row is None else _recording(row)


async def find_recording_by_key(tx: Transaction, key: str, *, user_id: UUID) -> Recording | None:
    """Return the person's recording under this key."""
    row = await tx.row(
        select(RECORDINGS).where(RECORDINGS.c.key == key, RECORDINGS.c.user_id == user_id)
    )
    return None if row is None else _recording(row)


async def mark_linked(tx: Transaction, upload_id: UUID, session_id: UUID) -> None:
    """Note which session a recording is for."""
    await tx.execute(
        update(RECORDINGS)
        .where(RECORDINGS.c.upload_id == upload_id, RECORDINGS.c.session_id.is_(None))
        .values(session_id=session_id)
    )


async def record_transcript(tx: Transaction, upload_id: UUID, transcript: Transcript) -> None:
    """Keep the words."""
    await tx.execute(
        update(RECORDINGS)
        .where(RECORDINGS.c.upload_id == upload_id)
        .values(transcript=json.dumps(asdict(transcript)), has_failed=False)
    )


async def mark_failed(tx: Transaction, upload_id: UUID) -> None:
    """This recording will never have words."""
    await tx.execute(
        update(RECORDINGS).where(RECORDINGS.c.upload_id == upload_id).values(has_failed=True)
    )


# --- answers


async def upsert_session(tx: Transaction, session: CompletedSession) -> None:
    """Keep a completed session; what was missing is filled in."""
    values = {
        "title": session.title,
        "question": session.question,
        "duration_seconds": session.duration_seconds,
        "audio_s3_key": session.audio_s3_key,
        "client_transcript": session.client_transcript,
    }
    known = {name: value for name, value in values.items() if value is not None}
    await tx.execute(
        tx.database.upsert(
            ANSWERS,
            {"session_id": session.session_id, "user_id": session.user_id, **values},
            update=known,
        )
    )


async def find_session(tx: Transaction, session_id: UUID) -> CompletedSession | None:
    """Return a completed session."""
    row = await tx.row(select(ANSWERS).where(ANSWERS.c.session_id == session_id))
    return None if row is None else _completed(row)


async def list_sessions_of_key(
    tx: Transaction, key: str, *, user_id: UUID
) -> list[CompletedSession]:
    """Return the completed sessions that wait for this recording's words."""
    rows = await tx.rows(
        select(ANSWERS).where(
            ANSWERS.c.audio_s3_key == key,
            ANSWERS.c.user_id == user_id,
            ANSWERS.c.judgement.is_(None),
        )
    )
    return [_completed(row) for row in rows]


async def record_judgement(
    tx: Transaction, session_id: UUID, judgement: Judgement, *, at: datetime
) -> bool:
    """Keep the one judgement of a session; tell whether this call did it."""
    judged = await tx.execute(
        update(ANSWERS)
        .where(ANSWERS.c.session_id == session_id, ANSWERS.c.judgement.is_(None))
        .values(judgement=json.dumps(asdict(judgement)), judged_at=at)
    )
    return judged.rowcount == 1


async def list_past_sessions(tx: Transaction, user_id: UUID, *, limit: int) -> list[PastSession]:
    """Return the person's judged sessions, newest first."""
    rows = await tx.rows(
        select(ANSWERS.c.title, ANSWERS.c.judgement)
        .where(ANSWERS.c.user_id == user_id, ANSWERS.c.judged_at.is_not(None))
        .order_by(ANSWERS.c.judged_at.desc())
        .limit(limit)
    )
    past = []
    for row in rows:
        judgement: dict[str, Any] = json.loads(row["judgement"])
        improvements = tuple(
            claim["text"] for claim in judgement["claims"] if claim["kind"] == "improvement"
        )
        past.append(PastSession(row["title"], judgement["overall_score"], improvements))
    return past


# --- jobs


async def add_job(
    tx: Transaction, kind: JobKind, subject_id: UUID, user_id: UUID, *, at: datetime
) -> None:
    """Have something done, once; what is queued already is tried now rather than later."""
    added = await tx.execute(
        tx.database.insert_ignore(JOBS).values(
            id=new_id(),
            kind=kind.value,
            subject_id=subject_id,
            user_id=user_id,
            created_at=at,
            run_after=at,
            claims=0,
            tries=0,
        )
    )
    if added.rowcount == 0:
        await hurry_job(tx, kind, subject_id, at=at)


async def hurry_job(tx: Transaction, kind: JobKind, subject_id: UUID, *, at: datetime) -> None:
    """Try a waiting job now, and for another 24 h."""
    await tx.execute(
        update(JOBS)
        .where(
            JOBS.c.kind == kind.value,
            JOBS.c.subject_id == subject_id,
            JOBS.c.lease_token.is_(None),
        )
        .values(run_after=at, created_at=at)
    )


async def add_usage(
    tx: Transaction,
    session_id: UUID,
    user_id: UUID,
    *,
    tokens: int,
    seconds: float,
    at: datetime,
) -> None:
    """Keep what a judgement took."""
    await tx.execute(
        insert(USAGE).values(
            session_id=session_id, user_id=user_id, judged_at=at, tokens=tokens, seconds=seconds
        )
    )


async def tokens_since(tx: Transaction, user_id: UUID, begin: datetime) -> int:
    """Return the tokens that a person's judgements took since then."""
    used = func.coalesce(func.sum(USAGE.c.tokens), 0).label("used")
    row = await tx.row(select(used).where(USAGE.c.user_id == user_id, USAGE.c.judged_at >= begin))
    return 0 if row is None else int(row["used"])


async def list_claimable(tx: Transaction, kind: JobKind, now: datetime) -> list[RowMapping]:
    """Return each person's first job that may be claimed, with how many of theirs are running.

    One job a person, so that ten uploads of one do not stand before another's first.
    """
    is_free = or_(JOBS.c.lease_until.is_(None), JOBS.c.lease_until < now)
    running = (
        select(JOBS.c.user_id, func.count().label("running"))
        .where(JOBS.c.kind == kind.value, JOBS.c.lease_until >= now)
        .group_by(JOBS.c.user_id)
        .subquery()
    )
    turn = func.row_number().over(
        partition_by=JOBS.c.user_id, order_by=(JOBS.c.run_after, JOBS.c.id)
    )
    first = (
        select(JOBS.c.id, JOBS.c.user_id, JOBS.c.run_after, turn.label("turn"))
        .where(JOBS.c.kind == kind.value, JOBS.c.run_after <= now, is_free)
        .subquery()
    )
    return await tx.rows(
        select(
            first.c.id,
            first.c.user_id,
            first.c.run_after,
            func.coalesce(running.c.running, 0).label("running"),
        )
        .select_from(first.outerjoin(running, running.c.user_id == first.c.user_id))
        .where(first.c.turn == 1)
        .order_by(first.c.run_after, first.c.id)
        .limit(100)
    )


async def claim_job(tx: Transaction, job_id: UUID) -> Job | None:
    """Take a job for 30 s of database time; None where somebody else was faster."""
    now = await database_now(tx)
    token = new_id()
    claimed = await tx.execute(
        update(JOBS)
        .where(
            JOBS.c.id == job_id,
            or_(JOBS.c.lease_until.is_(None), JOBS.c.lease_until < now),
        )
        .values(lease_token=token, lease_until=now + LEASE, claims=JOBS.c.claims + 1)
    )
    if claimed.rowcount == 0:
        return None
    row = await tx.row(select(JOBS).where(JOBS.c.id == job_id))
    return None if row is None else _job(row)


async def renew_lease(tx: Transaction, job: Job) -> bool:
    """Hold a job for another 30 s; tell whether it was still ours."""
    now = await database_now(tx)
    renewed = await tx.execute(update(JOBS).where(*_held(job)).values(lease_until=now + LEASE))
    return renewed.rowcount == 1


async def finish_job(tx: Transaction, job: Job) -> bool:
    """Remove a job that has its outcome; tell whether it was ours: if not, drop the result."""
    finished = await tx.execute(delete(JOBS).where(*_held(job)))
    return finished.rowcount == 1


async def postpone_job(tx: Transaction, job: Job, *, until: datetime, reason: str) -> bool:
    """Try a job again later; tell whether it was still ours."""
    postponed = await tx.execute(
        update(JOBS)
        .where(*_held(job))
        .values(
            run_after=until,
            lease_token=None,
            lease_until=None,
            claims=0,
            tries=JOBS.c.tries + 1,
            reason=reason,
        )
    )
    return postponed.rowcount == 1


async def release_job(tx: Transaction, job: Job) -> None:
    """Give a job back undone, as if it had not been claimed."""
    await tx.execute(
        update(JOBS)
        .where(*_held(job))
        .values(lease_token=None, lease_until=None, claims=JOBS.c.claims - 1)
    )


# --- deletion


async def erase_session(
    tx: Transaction, session_id: UUID, user_id: UUID, keys: Sequence[str]
) -> None:
    """Remove a session's answer, recordings and jobs."""
    which = and_(
        RECORDINGS.c.user_id == user_id,
        or_(RECORDINGS.c.session_id == session_id, RECORDINGS.c.key.in_(keys)),
    )
    uploads = [
        row["upload_id"] for row in await tx.rows(select(RECORDINGS.c.upload_id).where(which))
    ]
    await tx.execute(delete(JOBS).where(JOBS.c.subject_id.in_([session_id, *uploads])))
    await tx.execute(delete(RECORDINGS).where(which))
    await tx.execute(delete(ANSWERS).where(ANSWERS.c.session_id == session_id))


async def erase_user(tx: Transaction, user_id: UUID) -> None:
    """Remove everything about a person."""
    for table in (JOBS, RECORDINGS, ANSWERS, USAGE, MESSAGES, CONVERSATIONS, OUTBOX):
        await tx.execute(delete(table).where(table.c.user_id == user_id))


async def add_tombstone(tx: Transaction, deleted_id: UUID, *, at: datetime) -> None:
    """Remember that this user or session is gone."""
    await bury(tx, TOMBSTONES, deleted_id, at=at)


async def is_gone(tx: Transaction, *ids: UUID | None) -> bool:
    """Tell whether any of these users or sessions was deleted."""
    return await is_buried(tx, TOMBSTONES, *ids)


def _held(job: Job) -> tuple[Any, Any]:
    return (JOBS.c.id == job.id, JOBS.c.lease_token == job.lease_token)


def _job(row: RowMapping) -> Job:
    values: Mapping[str, Any] = {name: row[name] for name in Job.__slots__ if name != "kind"}
    return Job(**values, kind=JobKind(row["kind"]))


def _recording(row: RowMapping) -> Recording:
    stored = row["transcript"]
    return Recording(
        upload_id=row["upload_id"],
        user_id=row["user_id"],
        key=row["key"],
        session_id=row["session_id"],
        etag=row["etag"],
        size_bytes=row["size_bytes"],
        transcript=None if stored is None else Transcript.of(json.loads(stored)),
        has_failed=row["has_failed"],
    )


def _completed(row: RowMapping) -> CompletedSession:
    return CompletedSession(
        session_id=row["session_id"],
        user_id=row["user_id"],
        title=row["title"],
        question=row["question"],
        duration_seconds=row["duration_seconds"],
        audio_s3_key=row["audio_s3_key"],
        client_transcript=row["client_transcript"],
        is_judged=row["judgement"] is not None,
    )
