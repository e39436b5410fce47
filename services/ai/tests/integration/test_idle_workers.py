"""Workers that wait for a job get it claimed, in the transaction that queues it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from coach_ai.deps import Deps
from coach_ai.domain import Job, JobKind
from coach_ai.idle_workers import ClaimWriter
from coach_ai.use_cases import jobs
from coach_ai.use_cases.transcription import emit_start
from coach_ai.workers import transcribe_recordings
from coach_common.db.transaction import Transaction
from coach_common.errors import Unavailable
from coach_common.events.catalog import TranscriptionCompleted, TranscriptionProgressed
from coach_common.messaging.dispatch import Outcome
from coach_common.service import Service
from coach_common.testing.harness import deliver_event, emitted_events, wait_until
from support.ai_jobs import WORK, Case, another_replica, read_jobs, run_jobs

REPLICA = "replica-1"


@asynccontextmanager
async def _waiting_worker(
    deps: Deps, write_claim: ClaimWriter | None = emit_start
) -> AsyncIterator[asyncio.Task[Job | None]]:
    workers = deps.idle_workers[JobKind.TRANSCRIPTION]
    workers.begin_search()
    task = asyncio.create_task(workers.wait(REPLICA, write_claim, seconds=60))
    await asyncio.sleep(0)
    yield task
    task.cancel()


async def test_waiting_worker_gets_a_new_job_that_no_other_replica_can_claim(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    case = Case(user_id)
    async with _waiting_worker(deps) as worker:
        await deliver_event(service, case.confirmed())

        job = await asyncio.wait_for(worker, 60)
        assert job is not None and job.subject_id == case.upload_id
        assert await run_jobs(deps, another_replica()) == 0
        [row] = await read_jobs(deps)
        assert (row["lease_owner"], row["lease_token"], row["claims"]) == (
            REPLICA, job.lease_token, 1,
        )  # fmt: skip
        assert len(await emitted_events(service.database, TranscriptionProgressed)) == 1

        await jobs.run_job(deps, job, *WORK[JobKind.TRANSCRIPTION])

    assert await read_jobs(deps) == []
    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1


async def test_job_of_a_given_worker_that_died_is_claimed_again_by_its_successor(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    async with _waiting_worker(deps) as worker:
        await deliver_event(service, Case(user_id).confirmed())
        assert await asyncio.wait_for(worker, 60) is not None

    assert await run_jobs(deps, jobs.FairScheduler(REPLICA)) == 1


async def test_second_job_waits_for_any_worker(service: Service, deps: Deps, user_id: UUID) -> None:
    async with _waiting_worker(deps) as worker:
        for _ in range(2):
            await deliver_event(service, Case(user_id).confirmed())
        assert await asyncio.wait_for(worker, 60) is not None

    assert deps.idle_workers[JobKind.TRANSCRIPTION].has_news
    assert await run_jobs(deps) == 1


async def test_worker_looks_for_a_job_that_was_queued_before(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    async with _waiting_worker(deps) as worker:
        await deliver_event(service, case.confirmed())

        assert await asyncio.wait_for(worker, 60) is None

    assert await run_jobs(deps) == 1


async def test_worker_looks_for_a_job_if_the_transaction_fails(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    async def fail(tx: Transaction, job: Job) -> None:
        raise Unavailable("test")

    case = Case(user_id)
    async with _waiting_worker(deps, fail) as worker:
        result = await deliver_event(service, case.confirmed())

        assert result.outcome is Outcome.RETRY
        assert await asyncio.wait_for(worker, 60) is None
        assert await read_jobs(deps) == []

    await deliver_event(service, case.confirmed())
    assert await run_jobs(deps) == 1


async def test_no_job_is_claimed_during_shutdown(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    async with _waiting_worker(deps) as worker:
        await deps.drain.close()
        await deliver_event(service, Case(user_id).confirmed())

        assert await asyncio.wait_for(worker, 60) is None

    [row] = await read_jobs(deps)
    assert row["lease_token"] is None


@pytest.mark.parametrize("recordings", [1, 5])
async def test_running_worker_transcribes_what_it_is_given_and_what_it_finds(
    service: Service, deps: Deps, user_id: UUID, recordings: int
) -> None:
    task = asyncio.create_task(transcribe_recordings(deps, another_replica()))
    try:
        for _ in range(recordings):
            await deliver_event(service, Case(user_id).confirmed())

        async def is_done() -> bool:
            return not await read_jobs(deps)

        await wait_until(is_done, description="the transcription of all recordings")
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert len(await emitted_events(service.database, TranscriptionCompleted)) == recordings
