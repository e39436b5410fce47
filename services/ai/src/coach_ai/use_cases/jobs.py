"""Jobs: claimed under a lease, renewed while they are done, finished in one transaction."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from prometheus_client import Counter, Histogram

from coach_ai.deps import Deps
from coach_ai.domain import MAX_CLAIMS, RENEWAL_SECONDS, RETRIED_FOR, Job, JobKind
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

GIVEN_UP = "We tried several times and could not process this recording."

_SERVED = 1000

Do = Callable[[Deps, Job], Awaitable[None]]
Fail = Callable[[Deps, Job, str, bool], Awaitable[None]]


class Turns:
    """Whose turn it is: people who were served longest ago come first."""

    def __init__(self) -> None:
        self._served: OrderedDict[UUID, float] = OrderedDict()

    async def claim(self, deps: Deps, kind: JobKind) -> Job | None:
        """Claim the next job; None where there is nothing to do now."""
        async with deps.db.read_only() as tx:
            rows = await jobs.list_claimable(tx, kind, await database_now(tx))
        rows.sort(key=lambda row: (row["running"], self._served.get(row["user_id"], 0.0)))
        for row in rows:
            async with deps.db.transaction() as tx:
                job = await jobs.claim_job(tx, row["id"])
            if job is not None:
                self._served[job.user_id] = time.monotonic()
                self._served.move_to_end(job.user_id)
                if len(self._served) > _SERVED:
                    self._served.popitem(last=False)
                return job
        return None


async def run(deps: Deps, job: Job, do: Do, fail: Fail) -> None:
    """Do a claimed job while its lease is held, and settle what came of it.

    Unavailable is tried again with growing pauses for 24 h; any other refusal is final. On the
    way down the lease is given back, so that a restart takes the job at once.
    """
    began = time.perf_counter()
    log.info("job.claimed", kind=job.kind, subject_id=str(job.subject_id), claims=job.claims)
    if job.claims > MAX_CLAIMS:
        JOBS.labels(job.kind, "given up").inc()
        await fail(deps, job, GIVEN_UP, True)
        return
    work = asyncio.ensure_future(do(deps, job))
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
        await _postpone(deps, job, str(error), fail)
    except CoachError as error:
        outcome = "failed"
        await fail(deps, job, str(error), True)
    finally:
        renewal.cancel()
        JOBS.labels(job.kind, outcome).inc()
        JOB_SECONDS.labels(job.kind).observe(time.perf_counter() - began)
        log.info("job.ended", kind=job.kind, subject_id=str(job.subject_id), outcome=outcome)


async def _renew(deps: Deps, job: Job, work: "asyncio.Future[None]") -> None:
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        try:
            async with deps.db.transaction() as tx:
                is_ours = await jobs.renew_lease(tx, job)
        except Unavailable:
            continue
        if not is_ours:
            log.warning("job.lost", kind=job.kind, subject_id=str(job.subject_id))
            work.cancel()
            return


async def _release(deps: Deps, job: Job) -> None:
    with suppress(CoachError):
        async with deps.db.transaction() as tx:
            await jobs.release_job(tx, job)


async def _postpone(deps: Deps, job: Job, reason: str, fail: Fail) -> None:
    now = deps.clock()
    if now - job.created_at >= RETRIED_FOR:
        await fail(deps, job, reason, True)
        return
    until = now + job.pause(random.random())  # noqa: S311 # nosec B311 # jitter, no secret
    async with deps.db.transaction() as tx:
        is_ours = await jobs.postpone_job(tx, job, until=until, reason=reason)
    if is_ours and reason != job.reason:
        await fail(deps, job, reason, False)
