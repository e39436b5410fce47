"""Jobs: claimed under a lease, renewed while they run, finished in one transaction.

An attempt counts only if the job itself ended it. If the process dies, the database is unavailable
or the speech process is killed from outside, the attempt does not count.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from prometheus_client import Counter, Gauge, Histogram

from coach_ai.consent import ConsentRequired
from coach_ai.deps import Deps
from coach_ai.domain import (
    INTERRUPTION_DELAY,
    LEASE_RENEWAL_SECONDS,
    Job,
    JobFailure,
    JobInterrupted,
    JobKind,
    interruption_backoff,
)
from coach_ai.idle_workers import ClaimWriter
from coach_ai.store import jobs
from coach_ai.use_cases.consent import apply_consent
from coach_common import fault_injection, logs, telemetry, tracing
from coach_common.db.database import database_now
from coach_common.db.transaction import Transaction
from coach_common.errors import CoachError, DatabaseUnavailable, Unavailable

log = logs.get_logger(__name__)

JOBS = Counter("coach_ai_jobs", "Jobs by outcome.", ["kind", "outcome"])
JOB_SECONDS = Histogram(
    "coach_ai_job_seconds",
    "Time from claim to outcome.",
    ["kind"],
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300),
)
JOBS_WAITING = Gauge("coach_ai_jobs_waiting", "Jobs that are due and not running.", ["kind"])
OLDEST_JOB_SECONDS = Gauge(
    "coach_ai_oldest_waiting_job_seconds", "Time since the oldest of them became due.", ["kind"]
)
LEASES_RECLAIMED = Counter(
    "coach_ai_leases_reclaimed",
    "Leases that a new process released for its predecessor of the same instance id.",
)

INTERRUPTED_MESSAGE = "Processing was interrupted each time it was tried."
CRASHED_MESSAGE = "An unexpected error occurred. It will be tried again."

_MAX_TRACKED_USERS = 1000
_MIN_SAVE_RETRY_SECONDS = 0.1
_MAX_SAVE_RETRY_SECONDS = 1.0

ResultWriter = Callable[[Transaction], Awaitable[None]]
"""Stores a job's result. It may run again in a new transaction if the first was not committed."""
JobHandler = Callable[[Deps, Job], Awaitable[ResultWriter]]
"""Does a job's work. The returned writer runs in the transaction that removes the job."""
FailureWriter = Callable[[Deps, Transaction, Job, JobFailure], Awaitable[None]]
"""Stores and emits a job's failure, in the transaction that removes or postpones the job."""


class FairScheduler:
    """Claims jobs so that users who were served longest ago come first.

    The workers of a process share one. Users are ordered by their running jobs, then by the time
    their last job was claimed in this process. Before its first claim it releases the leases that
    a stopped process with the same instance id still holds.
    """

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id
        self._last_served_at: OrderedDict[UUID, float] = OrderedDict()
        self._reclaim_lock = asyncio.Lock()
        self._has_reclaimed = False

    async def claim(
        self, deps: Deps, kind: JobKind, write_claim: ClaimWriter | None = None
    ) -> Job | None:
        """Claim the next job, or return None if there is none."""
        await self._reclaim_leases(deps)
        async with deps.db.read_only() as tx:
            claimable = await jobs.list_claimable(tx, kind, await database_now(tx))
        claimable.sort(key=lambda job: (job.running, self._last_served_at.get(job.user_id, 0.0)))
        for candidate in claimable:
            # A claim that is lost in a power failure is made again.
            async with deps.db.transaction(is_durable=False) as tx:
                job = await jobs.claim_job(tx, candidate.id, owner=self.instance_id)
                telemetry.current_traceparent.set(None if job is None else job.traceparent)
                if job is not None and write_claim is not None:
                    await write_claim(tx, job)
            if job is not None:
                self.record_served(job.user_id)
                return job
        return None

    def record_served(self, user_id: UUID) -> None:
        """Note that a job of this user was claimed in this process."""
        self._last_served_at[user_id] = time.monotonic()
        self._last_served_at.move_to_end(user_id)
        if len(self._last_served_at) > _MAX_TRACKED_USERS:
            self._last_served_at.popitem(last=False)

    async def _reclaim_leases(self, deps: Deps) -> None:
        if self._has_reclaimed:
            return
        async with self._reclaim_lock:
            if self._has_reclaimed:
                return
            async with deps.db.transaction() as tx:
                released = await jobs.release_jobs_of(tx, self.instance_id)
            self._has_reclaimed = True
        if released:
            LEASES_RECLAIMED.inc(released)
            log.warning("job.leases_reclaimed", instance_id=self.instance_id, jobs=released)


async def run_job(deps: Deps, job: Job, handle: JobHandler, write_failure: FailureWriter) -> None:
    """Run a claimed job while renewing its lease, and store its outcome.

    Unavailable, ConsentRequired and unexpected exceptions are retried with backoff for 24 h. Any
    other CoachError is final. If the task is cancelled at shutdown, the lease is released, so that
    another worker can claim the job at once.
    """
    started_at = time.perf_counter()
    log.info("job.claimed", kind=job.kind, subject_id=str(job.subject_id), claims=job.claims)
    attempt = _Attempt(deps, job, handle, write_failure)
    span = tracing.start_span(
        "ai", f"job {job.kind}", tracing.Kind.CONSUMER, parent=job.traceparent
    )
    telemetry.current_traceparent.set(span.traceparent)
    work = asyncio.ensure_future(attempt.run())
    renewal = asyncio.create_task(_renew(deps, job, work))
    outcome = "crashed"
    try:
        outcome = await work
    except asyncio.CancelledError:
        if renewal.done():
            outcome = "lost"
        else:
            outcome = "released"
            await asyncio.shield(_release(deps, job))
            raise
    finally:
        renewal.cancel()
        JOBS.labels(job.kind, outcome).inc()
        JOB_SECONDS.labels(job.kind).observe(time.perf_counter() - started_at)
        span.end({"coach.outcome": outcome}, error="" if outcome == "done" else outcome)
        log.info("job.ended", kind=job.kind, subject_id=str(job.subject_id), outcome=outcome)


async def observe_backlog(deps: Deps) -> None:
    """Set the metrics of waiting jobs."""
    for kind in JobKind:
        async with deps.db.read_only() as tx:
            backlog = await jobs.measure_backlog(tx, kind)
        JOBS_WAITING.labels(kind).set(backlog.jobs)
        OLDEST_JOB_SECONDS.labels(kind).set(backlog.oldest_seconds)


class _Attempt:
    """One attempt of a job. Nothing is written if the lease was lost meanwhile."""

    def __init__(
        self, deps: Deps, job: Job, handle: JobHandler, write_failure: FailureWriter
    ) -> None:
        self._deps, self._job = deps, job
        self._handle, self._write_failure = handle, write_failure
        self._started_at = time.monotonic()

    async def run(self) -> str:
        """Run the attempt and store its outcome. Returns the outcome as a label of the metric."""
        job = self._job
        if job.has_spent_interruptions and job.is_retry_window_over:
            return await self._fail(
                JobFailure(INTERRUPTED_MESSAGE, is_final=True, is_restartable=True), "gave_up"
            )
        try:
            await apply_consent(self._deps, job.user_id)
            write_result = await self._handle(self._deps, job)
            fault_injection.crash_point("job.worked")
            return await self._finish(write_result, "done")
        except JobInterrupted as error:
            return await self._interrupt(str(error))
        except DatabaseUnavailable as error:
            log.warning("job.database_unavailable", kind=job.kind, reason=str(error))
            return await self._release()
        except (Unavailable, ConsentRequired) as error:
            return await self._postpone(str(error), "postponed")
        except CoachError as error:
            return await self._fail(JobFailure(str(error), is_final=True), "failed")
        except Exception:
            log.exception("job.crashed", kind=job.kind, subject_id=str(job.subject_id))
            return await self._postpone(CRASHED_MESSAGE, "crashed")

    async def _finish(self, write: ResultWriter, outcome: str) -> str:
        async def finish(tx: Transaction) -> bool:
            if not await jobs.finish_job(tx, self._job):
                return False
            await write(tx)
            return True

        return await self._save(finish, outcome)

    async def _fail(self, failure: JobFailure, outcome: str) -> str:
        return await self._finish(
            lambda tx: self._write_failure(self._deps, tx, self._job, failure), outcome
        )

    async def _postpone(self, reason: str, outcome: str) -> str:
        """Schedule the next try, or fail the job after 24 h. A new reason is emitted once."""
        job = self._job
        spent_seconds = time.monotonic() - self._started_at
        if job.is_retry_window_over:
            return await self._fail(
                JobFailure(reason, is_final=True, is_restartable=True), "failed"
            )
        delay = job.backoff(random.random())  # noqa: S311 # jitter, no secret

        async def postpone(tx: Transaction) -> bool:
            is_owned = await jobs.postpone_job(
                tx, job, delay=delay, spent_seconds=spent_seconds, reason=reason
            )
            if is_owned and reason != job.reason:
                await self._write_failure(self._deps, tx, job, JobFailure(reason, is_final=False))
            return is_owned

        return await self._save(postpone, outcome)

    async def _interrupt(self, reason: str) -> str:
        """Release the job without counting a try. The reason is emitted if it happens often."""
        job = self._job
        is_frequent = job.has_spent_interruptions
        delay = max(INTERRUPTION_DELAY, interruption_backoff(job.claims))

        async def interrupt(tx: Transaction) -> bool:
            is_owned = await jobs.interrupt_job(
                tx, job, delay=delay, reason=reason if is_frequent else job.reason
            )
            if is_owned and is_frequent and reason != job.reason:
                await self._write_failure(self._deps, tx, job, JobFailure(reason, is_final=False))
            return is_owned

        return await self._save(interrupt, "interrupted")

    async def _release(self) -> str:
        async def release(tx: Transaction) -> bool:
            return await jobs.release_job(tx, self._job, delay=INTERRUPTION_DELAY)

        return await self._save(release, "released")

    async def _save(self, write: Callable[[Transaction], Awaitable[bool]], outcome: str) -> str:
        """Commit an outcome. While the database is unavailable, keep it and try again.

        Returns `lost` if the job has another owner meanwhile.
        """
        delay_seconds = _MIN_SAVE_RETRY_SECONDS
        while True:
            try:
                async with self._deps.db.transaction() as tx:
                    is_owned = await write(tx)
                return outcome if is_owned else "lost"
            except DatabaseUnavailable as error:
                log.warning("job.outcome_not_saved", kind=self._job.kind, reason=str(error))
            await asyncio.sleep(delay_seconds)
            delay_seconds = min(_MAX_SAVE_RETRY_SECONDS, 2 * delay_seconds)


async def _renew(deps: Deps, job: Job, work: "asyncio.Future[str]") -> None:
    """Renew the lease until it is lost; then cancel the work."""
    while True:
        await asyncio.sleep(LEASE_RENEWAL_SECONDS)
        try:
            async with deps.db.transaction() as tx:
                is_owned = await jobs.renew_lease(tx, job)
        except Exception as error:
            log.warning("job.lease_not_renewed", kind=job.kind, error=type(error).__name__)
            continue
        if not is_owned:
            log.warning("job.lease_lost", kind=job.kind, subject_id=str(job.subject_id))
            work.cancel()
            return


async def _release(deps: Deps, job: Job) -> None:
    with suppress(CoachError):
        async with deps.db.transaction() as tx:
            await jobs.release_job(tx, job)
