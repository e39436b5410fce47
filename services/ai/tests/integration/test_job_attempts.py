"""What counts as an attempt of a job: deaths, outages and clock steps do not."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select, update

from coach_ai.deps import Deps
from coach_ai.domain import (
    FREE_CLAIMS,
    CannotScore,
    CannotTranscribe,
    JobInterrupted,
    JobKind,
    interruption_backoff,
)
from coach_ai.tables import JOBS, RECORDINGS
from coach_ai.use_cases import jobs
from coach_common.db.database import Database
from coach_common.db.transaction import Transaction
from coach_common.errors import DatabaseUnavailable, Unavailable
from coach_common.events.catalog import (
    FeedbackDisputed,
    FeedbackFailed,
    FeedbackGenerated,
    SessionDeleted,
    TranscriptionCompleted,
    TranscriptionFailed,
    TranscriptionProgressed,
)
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock
from coach_common.testing.harness import deliver_event, emitted_events, wait_until
from support.ai_jobs import (
    WORK,
    Case,
    another_replica,
    claim,
    make_due,
    read_database_time,
    read_jobs,
    run_jobs,
)

ANSWER = "My own words about a broken build."


class Outage:
    """Makes the transactions of a database fail while `is_on`."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on = False
        self.failed_transactions = 0
        open_transaction = database.transaction

        @asynccontextmanager
        async def transaction(**options: Any) -> AsyncIterator[Transaction]:
            if self.is_on:
                self.failed_transactions += 1
                raise DatabaseUnavailable("The database is temporarily unavailable.")
            async with open_transaction(**options) as tx:
                yield tx

        monkeypatch.setattr(database, "transaction", transaction)


@pytest.fixture
def outage(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> Outage:
    return Outage(deps.db, monkeypatch)


def _outcomes(outcome: str, kind: JobKind = JobKind.TRANSCRIPTION) -> float:
    labels = {"kind": kind.value, "outcome": outcome}
    return REGISTRY.get_sample_value("coach_ai_jobs_total", labels) or 0.0


async def test_recording_survives_ten_deaths_of_its_process(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    for _ in range(10):
        await claim(deps)
        await make_due(deps)

    await run_jobs(deps)

    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1
    assert await emitted_events(service.database, TranscriptionFailed) == []


async def test_new_process_takes_over_leases_of_its_instance_only(
    service: Service, deps: Deps
) -> None:
    for _ in range(2):
        await deliver_event(service, Case(new_id()).confirmed())
    own = await claim(deps, instance_id="replica-1")
    await claim(deps, instance_id="replica-2")

    restarted = jobs.FairScheduler("replica-1")
    job = await restarted.claim(deps, JobKind.TRANSCRIPTION)

    assert job is not None and job.id == own.id
    assert await restarted.claim(deps, JobKind.TRANSCRIPTION) is None


async def test_result_of_a_process_that_was_taken_over_is_dropped(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    frozen = await claim(deps, instance_id="replica-1")
    await run_jobs(deps, jobs.FairScheduler("replica-1"))

    await jobs.run_job(deps, frozen, *WORK[JobKind.TRANSCRIPTION])

    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1


async def test_claims_of_a_job_that_kills_its_process_are_delayed(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    for number in range(1, FREE_CLAIMS + 3):
        await claim(deps, instance_id="replica-1")
        (row,) = await read_jobs(deps)
        expected = interruption_backoff(number)
        delay = row["run_after"] - await read_database_time(deps)
        if number <= FREE_CLAIMS:
            assert delay <= timedelta()
        else:
            assert expected - timedelta(seconds=5) <= delay <= expected
            async with deps.db.transaction() as tx:
                await tx.execute(update(JOBS).values(run_after=deps.clock().replace(year=2020)))


async def test_job_that_was_interrupted_for_a_day_fails_and_can_be_restarted(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    for _ in range(FREE_CLAIMS):
        await claim(deps)
        await make_due(deps, retried_hours=24)

    await run_jobs(deps)

    (failed,) = await emitted_events(service.database, TranscriptionFailed)
    assert (failed.reason, failed.retryable, failed.restartable) == (
        jobs.INTERRUPTED_MESSAGE,
        False,
        True,
    )
    await deliver_event(service, case.completed())
    await run_jobs(deps)
    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1


@pytest.mark.parametrize("kind", list(JobKind))
async def test_outage_of_the_database_at_the_end_keeps_the_result(
    service: Service,
    deps: Deps,
    user_id: UUID,
    transcriber: Any,
    coach: Any,
    outage: Outage,
    client: httpx.AsyncClient,
    kind: JobKind,
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())
    if kind is JobKind.FEEDBACK:
        await jobs.run_job(deps, await claim(deps), *WORK[JobKind.TRANSCRIPTION])
    if kind is JobKind.DISPUTE:
        await run_jobs(deps)
        response = await client.post(f"/sessions/{case.session_id}/dispute", json={})
        assert response.status_code == 202
    job = await claim(deps, kind)
    handle, write_failure = WORK[kind]

    async def handle_then_lose_database(deps: Deps, job: Any) -> jobs.ResultWriter:
        write = await handle(deps, job)
        outage.is_on = True
        return write

    running = asyncio.create_task(jobs.run_job(deps, job, handle_then_lose_database, write_failure))
    await wait_until(_is_true(lambda: outage.failed_transactions >= 3), description="a retry")
    outage.is_on = False
    await running
    await run_jobs(deps)

    assert len(transcriber.received) == 1
    assert len(coach.scored_answers) == (2 if kind is JobKind.DISPUTE else 1)
    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1
    disputed = await emitted_events(service.database, FeedbackDisputed)
    assert [one.dispute.status for one in disputed] == (
        ["scoring", "done"] if kind is JobKind.DISPUTE else []
    )
    assert await emitted_events(service.database, TranscriptionFailed) == []
    assert await emitted_events(service.database, FeedbackFailed) == []


@pytest.mark.parametrize("error", [Unavailable("Down."), CannotTranscribe("No speech.")])
async def test_outage_of_the_database_at_a_failure_keeps_the_reason(
    service: Service,
    deps: Deps,
    user_id: UUID,
    transcriber: Any,
    outage: Outage,
    error: Exception,
) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    job = await claim(deps)

    async def fail(deps: Deps, job: Any) -> jobs.ResultWriter:
        outage.is_on = True
        raise error

    running = asyncio.create_task(jobs.run_job(deps, job, fail, WORK[JobKind.TRANSCRIPTION][1]))
    await wait_until(_is_true(lambda: outage.failed_transactions >= 3), description="a retry")
    outage.is_on = False
    await running

    (failed,) = await emitted_events(service.database, TranscriptionFailed)
    assert failed.reason == str(error)


async def test_outage_of_the_database_in_a_job_uses_up_no_try(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    await deliver_event(service, Case(user_id).confirmed())

    async def fail(deps: Deps, job: Any) -> jobs.ResultWriter:
        raise DatabaseUnavailable("The database is temporarily unavailable.")

    before = _outcomes("released")
    for _ in range(8):
        job = await claim(deps)
        await jobs.run_job(deps, job, fail, WORK[JobKind.TRANSCRIPTION][1])
        (row,) = await read_jobs(deps)
        assert (row["claims"], row["tries"], row["reason"]) == (0, 0, None)
        assert row["run_after"] - await read_database_time(deps) <= timedelta(seconds=1)
        await make_due(deps)

    assert _outcomes("released") == before + 8
    assert await emitted_events(service.database, TranscriptionFailed) == []


async def test_shutdown_during_an_outage_of_the_database_ends_at_once(
    service: Service, deps: Deps, user_id: UUID, outage: Outage
) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    job = await claim(deps)

    async def fail(deps: Deps, job: Any) -> jobs.ResultWriter:
        outage.is_on = True
        raise Unavailable("Down.")

    running = asyncio.create_task(jobs.run_job(deps, job, fail, WORK[JobKind.TRANSCRIPTION][1]))
    await wait_until(_is_true(lambda: outage.failed_transactions >= 2), description="a retry")
    running.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(running, return_exceptions=True)

    assert running.cancelled()


async def test_interruptions_use_up_no_try_and_are_retried_within_seconds(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    transcriber.failures = [JobInterrupted("Transcription was interrupted.")] * FREE_CLAIMS
    await deliver_event(service, Case(user_id).confirmed())
    for _ in range(FREE_CLAIMS):
        assert await run_jobs(deps) == 1
        (row,) = await read_jobs(deps)
        assert (row["tries"], row["reason"]) == (0, None)
        assert row["run_after"] - await read_database_time(deps) <= timedelta(seconds=1)
        await make_due(deps)

    await run_jobs(deps)

    assert await emitted_events(service.database, TranscriptionFailed) == []
    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1


async def test_frequent_interruptions_are_reported_and_end_after_a_day(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    transcriber.failures = [JobInterrupted("Transcription was interrupted.")] * 100
    await deliver_event(service, Case(user_id).confirmed())
    for _ in range(FREE_CLAIMS + 3):
        await run_jobs(deps)
        await make_due(deps)

    (reported,) = await emitted_events(service.database, TranscriptionFailed)
    assert (reported.reason, reported.retryable) == ("Transcription was interrupted.", True)

    await make_due(deps, retried_hours=24)
    await run_jobs(deps)

    *_, failed = await emitted_events(service.database, TranscriptionFailed)
    assert (failed.reason, failed.retryable) == (jobs.INTERRUPTED_MESSAGE, False)


@pytest.mark.parametrize("error", [TypeError("secret"), OSError(28, "No space"), MemoryError()])
async def test_crash_of_a_job_counts_as_a_crash_and_is_retried(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any, error: BaseException
) -> None:
    transcriber.failures = [error]
    await deliver_event(service, Case(user_id).confirmed())
    crashed, done = _outcomes("crashed"), _outcomes("done")

    await run_jobs(deps)

    assert (_outcomes("crashed"), _outcomes("done")) == (crashed + 1, done)
    (failed,) = await emitted_events(service.database, TranscriptionFailed)
    assert (failed.reason, failed.retryable) == (jobs.CRASHED_MESSAGE, True)
    await make_due(deps)
    await run_jobs(deps)
    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1


async def test_two_days_without_a_process_do_not_end_the_retries(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    transcriber.failures = [Unavailable("Down.")] * 2
    await deliver_event(service, Case(user_id).confirmed())
    await run_jobs(deps)
    async with deps.db.transaction() as tx:
        earlier = await read_database_time(deps) - timedelta(days=2)
        await tx.execute(update(JOBS).values(created_at=earlier, run_after=earlier))

    await run_jobs(deps)
    await make_due(deps)
    await run_jobs(deps)

    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1


async def test_job_queued_while_the_clock_was_five_minutes_ahead_runs_at_once(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    ahead = await read_database_time(deps) + timedelta(minutes=5)
    async with deps.db.transaction() as tx:
        await tx.execute(update(JOBS).values(created_at=ahead, run_after=ahead))

    assert await run_jobs(deps) == 1


@pytest.mark.parametrize("column", ["run_after", "lease_until"])
async def test_job_scheduled_by_a_clock_that_was_ahead_runs_at_once(
    service: Service, deps: Deps, user_id: UUID, column: str
) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    if column == "lease_until":
        await claim(deps)
    ahead = await read_database_time(deps) + timedelta(days=1)
    async with deps.db.transaction() as tx:
        await tx.execute(update(JOBS).values({column: ahead}))

    assert await run_jobs(deps) == 1
    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1


@pytest.mark.parametrize("seconds", [600, -600])
async def test_due_times_do_not_depend_on_the_clock_of_the_process(
    service: Service, deps: Deps, user_id: UUID, clock: FakeClock, transcriber: Any, seconds: int
) -> None:
    clock.advance(seconds)
    transcriber.failures = [Unavailable("Down.")]
    case = Case(user_id)
    await deliver_event(service, case.confirmed())

    assert await run_jobs(deps) == 1
    (row,) = await read_jobs(deps)
    assert timedelta() < row["run_after"] - await read_database_time(deps) <= timedelta(seconds=2)
    await deliver_event(service, case.completed())
    assert await run_jobs(deps) == 2
    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1


async def test_start_of_each_attempt_is_emitted(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    case = Case(user_id)
    transcriber.failures = [Unavailable("Down.")]
    await deliver_event(service, case.confirmed())
    for _ in range(2):
        await run_jobs(deps)
        await make_due(deps)

    starts = await emitted_events(service.database, TranscriptionProgressed)
    assert [(one.upload_id, one.done_seconds, one.duration_seconds) for one in starts] == [
        (case.upload_id, 0.0, 0.0)
    ] * 2


# --- what a completion starts again


async def test_completion_restarts_a_transcription_that_failed_for_the_provider(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    case = Case(user_id)
    transcriber.failures = [Unavailable("Down.")] * 2
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())
    await run_jobs(deps)
    await make_due(deps, retried_hours=24)
    await run_jobs(deps)
    assert await read_jobs(deps) == []

    await deliver_event(service, case.completed())
    await run_jobs(deps)

    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1
    progress = await emitted_events(service.database, TranscriptionProgressed)
    assert [event.is_restart for event in progress].count(True) == 1


async def test_completion_restarts_no_transcription_that_failed_for_the_recording(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    case = Case(user_id)
    transcriber.failures = [CannotTranscribe("No speech.")]
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())
    await run_jobs(deps)

    await deliver_event(service, case.completed())

    assert await run_jobs(deps) == 0
    (failed,) = await emitted_events(service.database, TranscriptionFailed)
    assert (failed.retryable, failed.restartable) == (False, False)


async def test_completion_scores_a_refused_answer_only_if_it_changed(
    service: Service, deps: Deps, user_id: UUID, coach: Any
) -> None:
    case = Case(user_id)
    coach.failures = [CannotScore("Declined.")]
    await deliver_event(service, case.completed(key=False, transcript=ANSWER))
    await run_jobs(deps)
    await deliver_event(service, case.completed(key=False, transcript=ANSWER))
    assert await run_jobs(deps) == 0

    await deliver_event(service, case.completed(key=False, transcript=f"{ANSWER} And more."))
    await run_jobs(deps)

    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1


async def test_completion_restarts_scoring_that_failed_for_the_provider(
    service: Service, deps: Deps, user_id: UUID, coach: Any
) -> None:
    case = Case(user_id)
    coach.failures = [Unavailable("Down.")] * 2
    await deliver_event(service, case.completed(key=False, transcript=ANSWER))
    await run_jobs(deps)
    await make_due(deps, retried_hours=24)
    await run_jobs(deps)

    await deliver_event(service, case.completed(key=False, transcript=ANSWER))
    await run_jobs(deps)

    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1


# --- late events of deleted sessions


async def test_late_events_of_a_deleted_session_keep_no_recording(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    for order in itertools.permutations(("confirmed", "deleted", "linked", "work")):
        case = Case(user_id)
        # Sessions names the recordings that were linked before the deletion.
        keys = [case.key] if order.index("linked") < order.index("deleted") else []
        events = {
            "confirmed": case.confirmed(is_linked=False),
            "deleted": SessionDeleted(session_id=case.session_id, user_id=user_id, keys=keys),
            "linked": case.linked(),
        }
        for name in order:
            if name == "work":
                await run_jobs(deps)
            else:
                await deliver_event(service, events[name])
        await run_jobs(deps)

        async with deps.db.read_only() as tx:
            assert await tx.fetch_all(select(RECORDINGS.c.key)) == [], order
        assert await read_jobs(deps) == []


async def test_confirm_of_a_recording_whose_key_was_deleted_keeps_nothing(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    case = Case(user_id)
    await deliver_event(
        service, SessionDeleted(session_id=case.session_id, user_id=user_id, keys=[case.key])
    )

    await deliver_event(service, case.confirmed(is_linked=False))

    assert await run_jobs(deps, another_replica()) == 0
    async with deps.db.read_only() as tx:
        assert await tx.fetch_all(select(RECORDINGS.c.key)) == []


async def test_metrics_count_waiting_jobs(service: Service, deps: Deps) -> None:
    for _ in range(3):
        await deliver_event(service, Case(new_id()).confirmed())
    await claim(deps)
    async with deps.db.transaction() as tx:
        earlier = await read_database_time(deps) - timedelta(seconds=100)
        await tx.execute(update(JOBS).values(run_after=earlier))

    await jobs.observe_backlog(deps)

    labels = {"kind": "transcription"}
    assert REGISTRY.get_sample_value("coach_ai_jobs_waiting", labels) == 2
    seconds = REGISTRY.get_sample_value("coach_ai_oldest_waiting_job_seconds", labels)
    assert seconds is not None and 100 <= seconds < 200


def _is_true(condition: Callable[[], bool]) -> Callable[[], Any]:
    async def probe() -> bool:
        return condition()

    return probe
