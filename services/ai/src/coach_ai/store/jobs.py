"""Queries about jobs: queued once, claimed under a lease of database time, ended by its owner."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, delete, func, or_, select, update

from coach_ai.domain import LEASE_DURATION, ClaimableJob, Job, JobKind
from coach_ai.tables import JOBS
from coach_common.db.database import database_now
from coach_common.db.transaction import Transaction
from coach_common.ids import new_id

_MAX_CLAIMABLE = 100


async def add_job(
    tx: Transaction, kind: JobKind, subject_id: UUID, user_id: UUID, *, at: datetime
) -> None:
    """Queue a job. If it is queued already, reschedule it to run now."""
    if not await add_missing_job(tx, kind, subject_id, user_id, at=at):
        await reschedule_now(tx, kind, subject_id, at=at)


async def add_missing_job(
    tx: Transaction, kind: JobKind, subject_id: UUID, user_id: UUID, *, at: datetime
) -> bool:
    """Queue a job. Return False if it is queued already; it is not changed then."""
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
    return added.rowcount == 1


async def reschedule_now(tx: Transaction, kind: JobKind, subject_id: UUID, *, at: datetime) -> None:
    """Run a waiting job now, and restart its 24 h retry window. A running job is not changed."""
    await tx.execute(
        update(JOBS)
        .where(
            JOBS.c.kind == kind.value,
            JOBS.c.subject_id == subject_id,
            JOBS.c.lease_token.is_(None),
        )
        .values(run_after=at, created_at=at)
    )


async def list_claimable(tx: Transaction, kind: JobKind, now: datetime) -> list[ClaimableJob]:
    """Return each user's first claimable job, the longest waiting first.

    One job per user, so that a user with many uploads does not delay the first of another user.
    """
    is_free = or_(JOBS.c.lease_until.is_(None), JOBS.c.lease_until < now)
    running = (
        select(JOBS.c.user_id, func.count().label("running"))
        .where(JOBS.c.kind == kind.value, JOBS.c.lease_until >= now)
        .group_by(JOBS.c.user_id)
        .subquery()
    )
    position = func.row_number().over(
        partition_by=JOBS.c.user_id, order_by=(JOBS.c.run_after, JOBS.c.id)
    )
    first = (
        select(JOBS.c.id, JOBS.c.user_id, JOBS.c.run_after, position.label("position"))
        .where(JOBS.c.kind == kind.value, JOBS.c.run_after <= now, is_free)
        .subquery()
    )
    rows = await tx.fetch_all(
        select(first.c.id, first.c.user_id, func.coalesce(running.c.running, 0).label("running"))
        .select_from(first.outerjoin(running, running.c.user_id == first.c.user_id))
        .where(first.c.position == 1)
        .order_by(first.c.run_after, first.c.id)
        .limit(_MAX_CLAIMABLE)
    )
    return [ClaimableJob(row["id"], row["user_id"], row["running"]) for row in rows]


async def claim_job(tx: Transaction, job_id: UUID) -> Job | None:
    """Claim a job for 30 s of database time. Return None if another worker claimed it first."""
    now = await database_now(tx)
    token = new_id()
    claimed = await tx.execute(
        update(JOBS)
        .where(
            JOBS.c.id == job_id,
            or_(JOBS.c.lease_until.is_(None), JOBS.c.lease_until < now),
        )
        .values(lease_token=token, lease_until=now + LEASE_DURATION, claims=JOBS.c.claims + 1)
    )
    if claimed.rowcount == 0:
        return None
    row = await tx.fetch_one(select(JOBS).where(JOBS.c.id == job_id))
    return None if row is None else _job_from_row(row)


async def renew_lease(tx: Transaction, job: Job) -> bool:
    """Extend the lease by another 30 s. Return False if the lease was lost."""
    now = await database_now(tx)
    renewed = await tx.execute(
        update(JOBS).where(*_owned_lease(job)).values(lease_until=now + LEASE_DURATION)
    )
    return renewed.rowcount == 1


async def finish_job(tx: Transaction, job: Job) -> bool:
    """Remove a job. Return False if the lease was lost: the caller must drop its result."""
    finished = await tx.execute(delete(JOBS).where(*_owned_lease(job)))
    return finished.rowcount == 1


async def postpone_job(tx: Transaction, job: Job, *, until: datetime, reason: str) -> bool:
    """Schedule a job's next try and release its lease. Return False if the lease was lost."""
    postponed = await tx.execute(
        update(JOBS)
        .where(*_owned_lease(job))
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
    """Release a job's lease as if the job had not been claimed."""
    await tx.execute(
        update(JOBS)
        .where(*_owned_lease(job))
        .values(lease_token=None, lease_until=None, claims=JOBS.c.claims - 1)
    )


def _owned_lease(job: Job) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (JOBS.c.id == job.id, JOBS.c.lease_token == job.lease_token)


def _job_from_row(row: RowMapping) -> Job:
    return Job(
        id=row["id"],
        kind=JobKind(row["kind"]),
        subject_id=row["subject_id"],
        user_id=row["user_id"],
        created_at=row["created_at"],
        lease_token=row["lease_token"],
        claims=row["claims"],
        tries=row["tries"],
        reason=row["reason"],
    )
