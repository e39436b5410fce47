"""The events of a recording and its session, and functions that run the jobs they queue."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, select, update

from coach_ai.deps import Deps
from coach_ai.domain import Job, JobKind
from coach_ai.tables import JOBS
from coach_ai.use_cases import jobs
from coach_ai.use_cases.disputes import fail_disputed_answer, score_disputed_answer
from coach_ai.use_cases.feedback import fail_feedback, score_session
from coach_ai.use_cases.transcription import emit_start, fail_transcription, transcribe_recording
from coach_common.db.database import database_now
from coach_common.events.catalog import (
    SessionCompleted,
    SessionStalled,
    UploadConfirmed,
    UploadLinked,
)
from coach_common.ids import new_id

WORK = {
    JobKind.TRANSCRIPTION: (transcribe_recording, fail_transcription),
    JobKind.FEEDBACK: (score_session, fail_feedback),
    JobKind.DISPUTE: (score_disputed_answer, fail_disputed_answer),
}
CLAIM_WRITERS = {JobKind.TRANSCRIPTION: emit_start}


class Case:
    """The events of one recording and one session."""

    def __init__(self, user_id: UUID) -> None:
        self.user_id, self.upload_id, self.session_id = user_id, new_id(), new_id()
        self.key = f"uploads/{user_id}/{self.upload_id}.m4a"

    def confirmed(self, *, is_linked: bool = True) -> UploadConfirmed:
        return UploadConfirmed(
            upload_id=self.upload_id, user_id=self.user_id, key=self.key,
            content_type="audio/m4a", size=9, etag="e",
            session_id=self.session_id if is_linked else None,
        )  # fmt: skip

    def linked(self) -> UploadLinked:
        return UploadLinked(
            upload_id=self.upload_id, user_id=self.user_id, key=self.key, etag="e",
            session_id=self.session_id,
        )  # fmt: skip

    def completed(self, *, key: bool = True, transcript: str | None = None) -> SessionCompleted:
        return SessionCompleted(
            session_id=self.session_id, user_id=self.user_id, title="T", question="Q?",
            duration_seconds=6, audio_s3_key=self.key if key else None, transcript=transcript,
        )  # fmt: skip

    def confirmed_again(self) -> UploadConfirmed:
        return self.confirmed().model_copy(update={"is_repeated": True})

    def stalled(self) -> SessionStalled:
        return SessionStalled(**self.completed().model_dump(), status="scoring")


def another_replica() -> jobs.FairScheduler:
    """Return the scheduler of another replica."""
    return jobs.FairScheduler(str(new_id()))


async def run_jobs(deps: Deps, scheduler: jobs.FairScheduler | None = None) -> int:
    """Run all due jobs, and return their number."""
    scheduler = scheduler or another_replica()
    done = 0
    for kind in (*JobKind, *JobKind):
        while (job := await scheduler.claim(deps, kind, CLAIM_WRITERS.get(kind))) is not None:
            await jobs.run_job(deps, job, *WORK[kind])
            done += 1
    return done


async def claim(
    deps: Deps, kind: JobKind = JobKind.TRANSCRIPTION, *, instance_id: str | None = None
) -> Job:
    """Claim a job as a process that has just started. Fails the test if there is none."""
    job = await jobs.FairScheduler(instance_id or str(new_id())).claim(deps, kind)
    assert job is not None
    return job


async def make_due(deps: Deps, *, retried_hours: float | None = None) -> None:
    """Make all jobs due and all leases expired, by database time.

    With `retried_hours` they were retried for that long.
    """
    past = deps.clock().replace(year=2020)
    async with deps.db.transaction() as tx:
        await tx.execute(update(JOBS).values(run_after=past))
        await tx.execute(
            update(JOBS).where(JOBS.c.lease_until.is_not(None)).values(lease_until=past)
        )
        if retried_hours is not None:
            await tx.execute(update(JOBS).values(retried_seconds=retried_hours * 3600))


async def read_database_time(deps: Deps) -> datetime:
    """Return the time of the database's clock."""
    async with deps.db.read_only() as tx:
        return await database_now(tx)


async def read_jobs(deps: Deps) -> list[RowMapping]:
    """Return the rows of all jobs."""
    async with deps.db.read_only() as tx:
        return await tx.fetch_all(select(JOBS).order_by(JOBS.c.id))
