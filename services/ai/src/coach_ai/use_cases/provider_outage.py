"""Why a job takes long: the cause is published while the provider does not respond."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from coach_ai.deps import Deps
from coach_ai.domain import Job
from coach_common import logs
from coach_common.errors import CoachError, Unavailable

log = logs.get_logger(__name__)

CHECK_INTERVAL_SECONDS = 5.0


@asynccontextmanager
async def report_outage(
    deps: Deps,
    job: Job,
    check: Callable[[], Awaitable[None]],
    report_failure: Callable[[Deps, Job, str, bool], Awaitable[None]],
) -> AsyncIterator[None]:
    """Publish the reason once if `check` of the provider fails while the block runs.

    The reason is published as a retryable failure. The work continues, and its result replaces it.
    """
    watch = asyncio.create_task(_watch(deps, job, check, report_failure))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.wait([watch])


async def _watch(
    deps: Deps,
    job: Job,
    check: Callable[[], Awaitable[None]],
    report_failure: Callable[[Deps, Job, str, bool], Awaitable[None]],
) -> None:
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
        await report_failure(deps, job, reason, False)
    except CoachError as error:
        # The reason is optional: the work continues without it.
        log.warning("job.delay_not_published", code=error.code)
