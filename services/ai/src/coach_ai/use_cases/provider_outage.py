"""Why a job takes long: the cause is published while the provider does not respond."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from coach_ai.deps import Deps
from coach_ai.domain import Job, JobFailure
from coach_ai.store import jobs
from coach_ai.use_cases.jobs import FailureWriter
from coach_common import logs
from coach_common.errors import CoachError, Unavailable

log = logs.get_logger(__name__)

CHECK_INTERVAL_SECONDS = 5.0

HealthCheck = Callable[[], Awaitable[None]]
"""Checks a provider. Raises Unavailable with the cause of an outage."""


@asynccontextmanager
async def report_outage(
    deps: Deps, job: Job, check: HealthCheck, write_failure: FailureWriter
) -> AsyncIterator[None]:
    """Publish the reason once if `check` of the provider fails while the block runs.

    The reason is published as a retryable failure. The work continues, and its result replaces it.
    """
    watch = asyncio.create_task(_watch(deps, job, check, write_failure))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.wait([watch])


async def _watch(deps: Deps, job: Job, check: HealthCheck, write_failure: FailureWriter) -> None:
    while True:
        await asyncio.sleep(CHECK_INTERVAL_SECONDS)
        try:
            await check()
        except Unavailable as error:
            reason = str(error)
            break
    if reason == job.reason:
        return
    log.warning("job.delayed", kind=job.kind, subject_id=str(job.subject_id), reason=reason)
    try:
        async with deps.db.transaction() as tx:
            if await jobs.renew_lease(tx, job):
                await write_failure(deps, tx, job, JobFailure(reason, is_final=False))
    except CoachError as error:
        # The reason is optional: the work continues without it.
        log.warning("job.delay_not_published", code=error.code)
