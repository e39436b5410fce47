"""Queries about jobs: queued once, claimed under a lease, ended by its owner.

All times are of the database's clock, so that replicas with wrong clocks agree.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    delete,
    func,
    select,
    update,
)

from coach_ai.domain import (
    LEASE_DURATION,
    MAX_BACKOFF,
    ClaimableJob,
    Job,
    JobKind,
    interruption_backoff,
)
from coach_ai.tables import JOBS
from coach_common import telemetry
from coach_common.db.database import database_now
from coach_common.db.leases import is_due, is_lease_free, is_lease_held
from coach_common.db.tables import UtcDateTime
from coach_common.db.transaction import Transaction
from coach_common.ids import new_id

_MAX_CLAIMABLE = 100

# The statements of idle workers are built once, because that takes longer than to run them.
_NOW: BindParameter[datetime] = bindparam("now", type_=UtcDateTime)
_LATEST_LEASE: BindParameter[datetime] = bindparam("latest_lease", type_=UtcDateTime)
_LATEST_DUE: BindParameter[datetime] = bindparam("latest_due", type_=UtcDateTime)
_IS_OF_KIND = JOBS.c.kind == bindparam("kind")
_IS_CLAIMABLE = and_(
    _IS_OF_KIND,
    is_due(
        JOBS.c.run_after,
        now=_NOW,
        latest=_LATEST_DUE,
        is_undelayed=JOBS.c.run_after == JOBS.c.created_at,
    ),
    is_lease_free(JOBS.c.lease_until, now=_NOW, latest=_LATEST_LEASE),
)
_MEASURE_BACKLOG = select(
    func.count().label("jobs"), func.min(JOBS.c.run_after).label("oldest")
).where(_IS_CLAIMABLE)
_RUNNING = (
    select(JOBS.c.user_id, func.count().label("running"))
    .where(_IS_OF_KIND, is_lease_held(JOBS.c.lease_until, now=_NOW, latest=_LATEST_LEASE))
    .group_by(JOBS.c.user_id)
    .subquery()
)
_POSITION = func.row_number().over(
    partition_by=JOBS.c.user_id, order_by=(JOBS.c.run_after, JOBS.c.id)
)
_FIRST = (
    select(JOBS.c.id, JOBS.c.user_id, JOBS.c.run_after, _POSITION.label("position"))
    .where(_IS_CLAIMABLE)
    .subquery()
)
_LIST_CLAIMABLE = (
    select(_FIRST.c.id, _FIRST.c.user_id, func.coalesce(_RUNNING.c.running, 0).label("running"))
    .select_from(_FIRST.outerjoin(_RUNNING, _RUNNING.c.user_id == _FIRST.c.user_id))
    .where(_FIRST.c.position == 1)
    .order_by(_FIRST.c.run_after, _FIRST.c.id)
    .limit(_MAX_CLAIMABLE)
)
_GET_JOB = select(JOBS).where(JOBS.c.id == bindparam("job_id"))


@dataclass(frozen=True, slots=True)
class Backlog:
    """The jobs of a kind that are due and not running."""

    jobs: int
    oldest_seconds: float
    """Time since the oldest of them became due."""


async def add_job(tx: Transaction, kind: JobKind, subject_id: UUID, user_id: UUID) -> None:
    """Queue a job. If it is queued already, reschedule it to run now."""
    if not await add_missing_job(tx, kind, subject_id, user_id):
        await reschedule_now(tx, kind, subject_id)


async def add_missing_job(tx: Transaction, kind: JobKind, subject_id: UUID, user_id: UUID) -> bool:
    """Queue a job. Return False if it is queued already; it is not changed then."""
    return await _insert(tx, _new_row(kind, subject_id, user_id, await database_now(tx)))


async def add_claimed_job(
    tx: Transaction, kind: JobKind, subject_id: UUID, user_id: UUID, *, owner: str
) -> Job | None:
    """Queue a job and claim it. Return None if it is queued already; it is not changed then."""
    now = await database_now(tx)
    row = _new_row(kind, subject_id, user_id, now)
    token, claims = new_id(), 1
    claim = {"lease_token": token, "lease_until": now + LEASE_DURATION, "lease_owner": owner}
    is_new = await _insert(tx, row | claim | {"claims": claims})
    return _job_from_row(row, token=token, claims=claims) if is_new else None


def _new_row(kind: JobKind, subject_id: UUID, user_id: UUID, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "kind": kind.value,
        "subject_id": subject_id,
        "user_id": user_id,
        "created_at": now,
        "run_after": now,
        "claims": 0,
        "tries": 0,
        "retried_seconds": 0.0,
        "reason": None,
        "traceparent": telemetry.current_traceparent.get(),
    }


async def _insert(tx: Transaction, row: dict[str, Any]) -> bool:
    added = await tx.execute(tx.dialect.insert_ignore(JOBS).values(row))
    return added.rowcount == 1


async def reschedule_now(tx: Transaction, kind: JobKind, subject_id: UUID) -> None:
    """Run a waiting job now, and restart its 24 h retry window. A running job is not changed."""
    await _reschedule_now(tx, and_(JOBS.c.kind == kind.value, JOBS.c.subject_id == subject_id))


async def reschedule_all_now(tx: Transaction, user_id: UUID) -> None:
    """Run all waiting jobs of a user now, and restart their 24 h retry window."""
    await _reschedule_now(tx, JOBS.c.user_id == user_id)


async def _reschedule_now(tx: Transaction, condition: ColumnElement[bool]) -> None:
    now = await database_now(tx)
    await tx.execute(
        update(JOBS)
        .where(condition, JOBS.c.lease_token.is_(None))
        .values(
            run_after=now,
            created_at=now,
            tries=0,
            retried_seconds=0.0,
            traceparent=telemetry.current_traceparent.get(),
        )
    )


async def release_jobs_of(tx: Transaction, owner: str) -> int:
    """Release the leases that this owner holds. Return their number."""
    released = await tx.execute(
        update(JOBS)
        .where(JOBS.c.lease_owner == owner, JOBS.c.lease_token.is_not(None))
        .values(lease_token=None, lease_until=None, lease_owner=None)
    )
    return released.rowcount


async def measure_backlog(tx: Transaction, kind: JobKind) -> Backlog:
    """Return how many jobs of a kind wait for a worker, and for how long the oldest does."""
    now = await database_now(tx)
    row = await tx.fetch_one(_MEASURE_BACKLOG, _claimable_parameters(kind, now))
    if row is None or row["oldest"] is None:
        return Backlog(0, 0.0)
    return Backlog(row["jobs"], max(0.0, (now - row["oldest"]).total_seconds()))


async def list_claimable(tx: Transaction, kind: JobKind, now: datetime) -> list[ClaimableJob]:
    """Return each user's first claimable job, the longest waiting first.

    One job per user, so that a user with many uploads does not delay the first of another user.
    """
    rows = await tx.fetch_all(_LIST_CLAIMABLE, _claimable_parameters(kind, now))
    return [ClaimableJob(row["id"], row["user_id"], row["running"]) for row in rows]


async def claim_job(tx: Transaction, job_id: UUID, *, owner: str) -> Job | None:
    """Claim a job for 30 s of database time. Return None if another worker claimed it first.

    If many claims in a row were interrupted, the claim also delays the next one.
    """
    now = await database_now(tx)
    row = await tx.fetch_one(_GET_JOB, {"job_id": job_id})
    if row is None:
        return None
    token, claims = new_id(), row["claims"] + 1
    delay = interruption_backoff(claims)
    claimed = await tx.execute(
        update(JOBS)
        .where(
            JOBS.c.id == job_id,
            JOBS.c.claims == row["claims"],
            is_lease_free(JOBS.c.lease_until, now=now, latest=now + LEASE_DURATION),
        )
        .values(
            lease_token=token,
            lease_until=now + LEASE_DURATION,
            lease_owner=owner,
            claims=claims,
            run_after=now + delay if delay else row["run_after"],
            retried_seconds=JOBS.c.retried_seconds + delay.total_seconds(),
        )
    )
    return _job_from_row(dict(row), token=token, claims=claims) if claimed.rowcount else None


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


async def postpone_job(
    tx: Transaction, job: Job, *, delay: timedelta, spent_seconds: float, reason: str
) -> bool:
    """Count a try and schedule the next one. Return False if the lease was lost."""
    now = await database_now(tx)
    return await _release(
        tx,
        job,
        run_after=now + delay,
        claims=0,
        tries=JOBS.c.tries + 1,
        retried_seconds=JOBS.c.retried_seconds + spent_seconds + delay.total_seconds(),
        reason=reason,
    )


async def interrupt_job(tx: Transaction, job: Job, *, delay: timedelta, reason: str | None) -> bool:
    """Release a job whose work was interrupted, without counting a try.

    Return False if the lease was lost.
    """
    now = await database_now(tx)
    return await _release(tx, job, run_after=now + delay, reason=reason)


async def release_job(tx: Transaction, job: Job, *, delay: timedelta = timedelta()) -> bool:
    """Release a job as if it had not been claimed. Return False if the lease was lost."""
    if not delay:
        return await _release(tx, job, claims=JOBS.c.claims - 1)
    now = await database_now(tx)
    return await _release(tx, job, claims=JOBS.c.claims - 1, run_after=now + delay)


async def _release(tx: Transaction, job: Job, **values: object) -> bool:
    released = await tx.execute(
        update(JOBS)
        .where(*_owned_lease(job))
        .values(lease_token=None, lease_until=None, lease_owner=None, **values)
    )
    return released.rowcount == 1


def _claimable_parameters(kind: JobKind, now: datetime) -> dict[str, object]:
    return {
        "kind": kind.value,
        "now": now,
        "latest_lease": now + LEASE_DURATION,
        "latest_due": now + MAX_BACKOFF,
    }


def _owned_lease(job: Job) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (JOBS.c.id == job.id, JOBS.c.lease_token == job.lease_token)


def _job_from_row(row: dict[str, Any], *, token: UUID, claims: int) -> Job:
    return Job(
        id=row["id"],
        kind=JobKind(row["kind"]),
        subject_id=row["subject_id"],
        user_id=row["user_id"],
        created_at=row["created_at"],
        lease_token=token,
        claims=claims,
        tries=row["tries"],
        retried_seconds=row["retried_seconds"],
        reason=row["reason"],
        traceparent=row["traceparent"],
    )
