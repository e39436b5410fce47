"""Jobs: claimed under a lease, renewed while they run, finished in one transaction."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from prometheus_client import Counter, Histogram

from coach_ai.deps import Deps
from coach_ai.domain import LEASE_RENEWAL_SECONDS, MAX_CLAIMS, RETRY_WINDOW, Job, JobKind
from coach_ai.store import jobs
from coach_common import logs
from coach_common.db.database import database_now
from coach_common.errors import CoachError, Unavailable

log = logs.get_logger(__name__)

JOBS = Counter("coach_ai_jobs", "Jobs by outcome.", ["kind", "outcome"])
JOB_SECONDS = Histogram(
    "coach_ai_job_seconds",
    "Time from claim to outcome.",
    ["kind"],
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300),
)

GAVE_UP_MESSAGE = "We tried several times and could not process this recording."

_MAX_TRACKED_USERS = 1000

JobHandler = Callable[[Deps, Job], Awaitable[None]]
"""Does a job and removes it together with storing its result."""
FailureHandler = Callable[[Deps, Job, str, bool], Awaitable[None]]
"""Publishes a job's failure: (deps, job, reason, is_final). Removes the job if it is final."""


class FairScheduler:
    """Claims jobs so that users who were served longest ago come first.

    The workers of a process share one. Users are ordered by their running jobs, then by the time
    their last job was claimed in this process.
    """

    def __init__(self) -> None:
        self._last_served_at: OrderedDict[UUID, float] = OrderedDict()

    async def claim(self, deps: Deps, kind: JobKind) -> Job | None:
        """Claim the next job, or return None if there is none."""
        async with deps.db.read_only() as tx:
            claimable = await jobs.list_claimable(tx, kind, await database_now(tx))
        claimable.sort(key=lambda job: (job.running, self._last_served_at.get(job.user_id, 0.0)))
        for candidate in claimable:
            async with deps.db.transaction() as tx:
                job = await jobs.claim_job(tx, candidate.id)
            if job is not None:
                self._last_served_at[job.user_id] = time.monotonic()
                self._last_served_at.move_to_end(job.user_id)
                if len(self._last_served_at) > _MAX_TRACKED_USERS:
                    self._last_served_at.popitem(last=False)
                return job
        return None


async def run_job(deps: Deps, job: Job, handle: JobHandler, handle_failure: FailureHandler) -> None:
    """Run a claimed job while renewing its lease, and record its outcome.

    Unavailable is retried with backoff for 24 h; any other CoachError is final. If the task is
    cancelled at shutdown, the lease is released, so that another worker can claim the job at once.
    """
    started_at = time.perf_counter()
    log.info("job.claimed", kind=job.kind, subject_id=str(job.subject_id), claims=job.claims)
    if job.claims > MAX_CLAIMS:
        JOBS.labels(job.kind, "gave_up").inc()
        await handle_failure(deps, job, GAVE_UP_MESSAGE, True)
        return
    work = asyncio.ensure_future(handle(deps, job))
    renewal = asyncio.create_task(_renew(deps, job, work))
    outcome = "done"
    try:
        await work
    except asyncio.CancelledError:
        outcome = "released"
        await asyncio.shield(_release(deps, job))
        if not renewal.done():
            raise
    except Unavailable as error:
        outcome = "postponed"
        await _postpone(deps, job, str(error), handle_failure)
    except CoachError as error:
        outcome = "failed"
        await handle_failure(deps, job, str(error), True)
    finally:
        renewal.cancel()
        JOBS.labels(job.kind, outcome).inc()
        JOB_SECONDS.labels(job.kind).observe(time.perf_counter() - started_at)
        log.info("job.ended", kind=job.kind, subject_id=str(job.subject_id), outcome=outcome)


async def _renew(deps: Deps, job: Job, work: "asyncio.Future[None]") -> None:
    """Renew the lease until it is lost; then cancel the work."""
    while True:
        await asyncio.sleep(LEASE_RENEWAL_SECONDS)
        try:
            async with deps.db.transaction() as tx:
                is_owned = await jobs.renew_lease(tx, job)
        except Unavailable:
            continue
        if not is_owned:
            log.warning("job.lease_lost", kind=job.kind, subject_id=str(job.subject_id))
            work.cancel()
            return


async def _release(deps: Deps, job: Job) -> None:
    with suppress(CoachError):
        async with deps.db.transaction() as tx:
            await jobs.release_job(tx, job)


async def _postpone(deps: Deps, job: Job, reason: str, handle_failure: FailureHandler) -> None:
    """Schedule the next try, or fail the job after 24 h. A new reason is published once."""
    now = deps.clock()
    if now - job.created_at >= RETRY_WINDOW:
        await handle_failure(deps, job, reason, True)
        return
    until = now + job.backoff(random.random())  # noqa: S311 # nosec B311 # jitter, no secret
    async with deps.db.transaction() as tx:
        is_owned = await jobs.postpone_job(tx, job, until=until, reason=reason)
    if is_owned and reason != job.reason:
        await handle_failure(deps, job, reason, False)
