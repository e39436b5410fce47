"""Queries about jobs: queued once, claimed under a lease of database time, ended by its holder."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, func, or_, select, update

from coach_ai.domain import LEASE, Job, JobKind
from coach_ai.tables import JOBS
from coach_common.db.database import database_now
from coach_common.db.transaction import Transaction
from coach_common.ids import new_id


async def add_job(
    tx: Transaction, kind: JobKind, subject_id: UUID, user_id: UUID, *, at: datetime
) -> None:
    """Have something done, once; what is queued already is tried now rather than later."""
    added = await tx.execute(
        tx.dialect.insert_ignore(JOBS).values(
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
    return await tx.fetch_all(
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
    row = await tx.fetch_one(select(JOBS).where(JOBS.c.id == job_id))
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


def _held(job: Job) -> tuple[Any, Any]:
    return (JOBS.c.id == job.id, JOBS.c.lease_token == job.lease_token)


def _job(row: RowMapping) -> Job:
    values: Mapping[str, Any] = {name: row[name] for name in Job.__slots__ if name != "kind"}
    return Job(**values, kind=JobKind(row["kind"]))
