"""The worker loops: jobs, one after the other, and what is published again."""

import asyncio
from functools import partial

from coach_ai.deps import Deps
from coach_ai.domain import Job, JobKind
from coach_ai.idle_workers import ClaimWriter
from coach_ai.scoring.language import load_language_model
from coach_ai.use_cases import interview_history, jobs
from coach_ai.use_cases.disputes import fail_disputed_answer, score_disputed_answer
from coach_ai.use_cases.feedback import fail_feedback, score_session
from coach_ai.use_cases.transcription import emit_start, fail_transcription, transcribe_recording
from coach_common import logs
from coach_common.batches import run_batches
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

_POLL_SECONDS = 1.0
_WARM_UP_RETRY_SECONDS = 30.0
_BACKLOG_SECONDS = 5.0


async def warm_up(deps: Deps) -> None:
    """Load the language and speech models, so that the first answer does not wait for them."""
    await asyncio.to_thread(load_language_model)
    try:
        if deps.voice is not None:
            await deps.voice.warm_up()
        await deps.transcriber.warm_up()
    except Unavailable as error:
        log.warning("speech.unavailable", reason=str(error))
        await asyncio.sleep(_WARM_UP_RETRY_SECONDS)
    else:
        await asyncio.Event().wait()


async def observe_backlog(deps: Deps) -> None:
    """Keep the metrics of waiting jobs current. Runs until cancelled."""
    while True:
        try:
            await jobs.observe_backlog(deps)
        except Unavailable as error:
            log.warning("worker.dependency_unavailable", kind="backlog", reason=str(error))
        await asyncio.sleep(_BACKLOG_SECONDS)


async def republish_interviews(deps: Deps) -> None:
    """Publish the state of due interviews again, once per repair delay, until cancelled."""
    republish = partial(interview_history.republish_due, deps)
    await run_batches(republish, idle_seconds=deps.repair_delay.total_seconds())


async def transcribe_recordings(deps: Deps, scheduler: jobs.FairScheduler) -> None:
    """Transcribe recordings, one at a time. Runs until cancelled."""
    await _run_jobs(
        deps,
        scheduler,
        JobKind.TRANSCRIPTION,
        transcribe_recording,
        fail_transcription,
        write_claim=emit_start,
    )


async def score_sessions(deps: Deps, scheduler: jobs.FairScheduler) -> None:
    """Score sessions, one at a time. Runs until cancelled."""
    await _run_jobs(deps, scheduler, JobKind.FEEDBACK, score_session, fail_feedback)


async def score_disputed_answers(deps: Deps, scheduler: jobs.FairScheduler) -> None:
    """Score disputed answers again, one at a time. Runs until cancelled."""
    await _run_jobs(deps, scheduler, JobKind.DISPUTE, score_disputed_answer, fail_disputed_answer)


async def _run_jobs(
    deps: Deps,
    scheduler: jobs.FairScheduler,
    kind: JobKind,
    handle: jobs.JobHandler,
    write_failure: jobs.FailureWriter,
    write_claim: ClaimWriter | None = None,
) -> None:
    """Run jobs of one kind: those that it finds, and those that it is given while it waits.

    After the shutdown has started it claims no job, and waits to be cancelled.
    """
    idle_workers = deps.idle_workers[kind]
    given: Job | None = None
    while given is not None or not deps.drain.is_closed:
        idle_workers.begin_search()
        try:
            with deps.drain.work():
                job = given or await scheduler.claim(deps, kind, write_claim)
                given = None
                if job is not None:
                    await jobs.run_job(deps, job, handle, write_failure)
                    continue
        except Unavailable as error:
            log.warning("worker.dependency_unavailable", kind=kind, reason=str(error))
        given = await idle_workers.wait(scheduler.instance_id, write_claim, seconds=_POLL_SECONDS)
        if given is not None:
            scheduler.record_served(given.user_id)
    await asyncio.Event().wait()
