"""The workers: each takes a job, does it, takes the next; woken by the commit that queued it."""

import asyncio

from coach_ai.deps import Deps
from coach_ai.domain import JobKind
from coach_ai.use_cases import jobs
from coach_ai.use_cases.feedback import fail_feedback, judge_session
from coach_ai.use_cases.transcription import fail_transcription, transcribe_recording
from coach_common import logs
from coach_common.errors import Unavailable

log = logs.get_logger(__name__)

_POLL_SECONDS = 1.0
_COLD_SECONDS = 30.0


async def warm_up(deps: Deps) -> None:
    """Have the first recording wait for no model to load."""
    try:
        await deps.transcriber.warm_up()
    except Unavailable as error:
        log.warning("speech.away", reason=str(error))
        await asyncio.sleep(_COLD_SECONDS)
    else:
        await asyncio.Event().wait()


async def transcribe(deps: Deps, turns: jobs.Turns) -> None:
    """Transcribe, one recording at a time."""
    await _work(deps, turns, JobKind.TRANSCRIPTION, transcribe_recording, fail_transcription)


async def judge(deps: Deps, turns: jobs.Turns) -> None:
    """Judge, one session at a time."""
    await _work(deps, turns, JobKind.FEEDBACK, judge_session, fail_feedback)


async def _work(deps: Deps, turns: jobs.Turns, kind: JobKind, do: jobs.Do, fail: jobs.Fail) -> None:
    bell = deps.bells[kind]
    while True:
        bell.clear()
        try:
            job = await turns.claim(deps, kind)
            if job is not None:
                await jobs.run(deps, job, do, fail)
                continue
        except Unavailable as error:
            log.warning("worker.paused", kind=kind, reason=str(error))
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await bell.wait()
        except TimeoutError:
            pass
