"""Jobs: each recording is transcribed and each session scored once, for any order of events."""

import asyncio
import itertools
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from coach_ai.delivery import measure, measure_audio
from coach_ai.deps import Deps
from coach_ai.domain import (
    AcousticFeatures,
    AudioAnalysis,
    AudioCoverage,
    AudioGap,
    CannotScore,
    CannotTranscribe,
    GapReason,
    Job,
    JobKind,
    PitchWindow,
    Progress,
    Silence,
)
from coach_ai.store.jobs import finish_job, renew_lease
from coach_ai.tables import ANSWERS, BUDGETS, JOBS, METADATA, QUESTIONS, RECORDINGS, SCORING_USAGE
from coach_ai.use_cases import jobs
from coach_ai.use_cases.feedback import score_session
from coach_ai.use_cases.transcription import fail_transcription, transcribe_recording
from coach_common.db.migrate import schema_differences
from coach_common.errors import Unavailable
from coach_common.events.catalog import (
    DeliveryMeasured,
    FeedbackFailed,
    FeedbackGenerated,
    SessionCreated,
    SessionDeleted,
    TranscriptionCompleted,
    TranscriptionFailed,
    TranscriptionProgressed,
    UserDeleted,
)
from coach_common.ids import new_id
from coach_common.messaging.dispatch import Outcome
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock
from coach_common.testing.harness import deliver_event, emitted_events
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


async def test_migrations_match_the_declared_tables(service: Service) -> None:
    assert service.database is not None
    assert await schema_differences(service.database, "coach_ai", METADATA) == []


@pytest.mark.parametrize("is_linked", [True, False])
async def test_any_event_order_yields_one_transcript_and_one_feedback(
    service: Service, deps: Deps, user_id: UUID, is_linked: bool
) -> None:
    for order in itertools.permutations(("confirmed", "completed", "linked", "work")):
        case = Case(user_id)
        events = {
            "confirmed": case.confirmed(is_linked=is_linked),
            "completed": case.completed(),
            "linked": case.linked(),
        }
        for name in order:
            if name == "work":
                await run_jobs(deps)
                continue
            event_id = new_id()
            for _ in range(2):
                verdict = await deliver_event(service, events[name], event_id=event_id)
                assert verdict.outcome is Outcome.DONE
            await deliver_event(service, events[name])
        await run_jobs(deps)

        transcribed = await emitted_events(service.database, TranscriptionCompleted)
        scored = await emitted_events(service.database, FeedbackGenerated)
        assert [one.key for one in transcribed].count(case.key) == 1, order
        assert [one.session_id for one in scored].count(case.session_id) == 1, order


async def test_queued_job_wakes_the_workers_of_its_kind_and_no_others(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    def take_woken() -> set[JobKind]:
        woken = {kind for kind, workers in deps.idle_workers.items() if workers.has_news}
        for kind in woken:
            deps.idle_workers[kind].begin_search()
        return woken

    first, second = Case(user_id), Case(user_id)
    await deliver_event(service, first.confirmed())
    assert take_woken() == {JobKind.TRANSCRIPTION}
    await run_jobs(deps)
    assert take_woken() == set()  # No session waits for this transcript yet.
    await deliver_event(service, first.completed())
    assert take_woken() >= {JobKind.FEEDBACK}

    await deliver_event(service, second.completed())
    await deliver_event(service, second.confirmed())
    take_woken()
    await jobs.run_job(deps, await claim(deps), *WORK[JobKind.TRANSCRIPTION])
    assert take_woken() == {JobKind.FEEDBACK}


async def test_transcript_and_completion_that_are_stored_at_the_same_time_are_scored(
    service: Service, deps: Deps, user_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    job = await claim(deps)
    write_transcript = await transcribe_recording(deps, job)
    storing: list[asyncio.Task[None]] = []

    async def store_transcript() -> None:
        async with deps.db.transaction() as tx:
            assert await finish_job(tx, job)
            await write_transcript(tx)

    async def wait_for_the_other_transaction(*_: Any) -> None:
        """The session is stored, and not committed. The other one may have to wait for it."""
        storing.append(asyncio.create_task(store_transcript()))
        await asyncio.wait(storing, timeout=0.5)

    monkeypatch.setattr(
        "coach_ai.use_cases.events._restart_transcription", wait_for_the_other_transaction
    )
    await deliver_event(service, case.completed())
    await asyncio.gather(*storing)
    await run_jobs(deps)

    assert len(storing) == 1
    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1


async def test_transcript_that_arrives_while_the_scoring_ends_without_one_is_scored(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.completed(key=False, transcript="My own words."))
    scoring = await claim(deps, JobKind.FEEDBACK)
    # The session gets a recording, so its answer is the transcript that is still missing.
    await deliver_event(service, case.completed())
    write_result = await score_session(deps, scoring)
    await deliver_event(service, case.confirmed())
    await run_jobs(deps)
    async with deps.db.transaction() as tx:
        assert await finish_job(tx, scoring)
        await write_result(tx)
    await run_jobs(deps)

    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1


async def test_client_transcript_is_scored_without_a_recording(
    service: Service, deps: Deps, user_id: UUID, coach: Any
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.completed(key=False, transcript="My own words."))

    await run_jobs(deps)

    assert [answer.text for answer in coach.scored_answers] == ["My own words."]
    assert coach.scored_answers[0].words == ()


async def test_scorer_gets_transcript_with_word_times(
    service: Service, deps: Deps, user_id: UUID, coach: Any
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())

    await run_jobs(deps)

    (answer,) = coach.scored_answers
    assert answer.question == "Q?"
    assert (answer.words[1].text, answer.words[1].start) == ("year", 0.4)
    assert answer.silences[0].end == 2.5


async def test_delivery_metrics_are_emitted_with_the_transcript(
    service: Service, deps: Deps, user_id: UUID, coach: Any
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())

    await run_jobs(deps)

    (measured,) = await emitted_events(service.database, DeliveryMeasured)
    assert (measured.key, measured.session_id) == (case.key, case.session_id)
    assert measured.delivery.status == "not_measurable"
    assert measure(coach.scored_answers[0]) == measured.delivery.model_dump(mode="json")


async def test_accommodations_of_the_profile_reach_metrics_and_scorer(
    service: Service, deps: Deps, client: Any, user_id: UUID, coach: Any
) -> None:
    await client.post("/ai-interview/profile", json={"accommodations": ["pace"]})
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())

    await run_jobs(deps)

    (answer,) = coach.scored_answers
    assert answer.accommodations == ("pace",)


SOUND = AcousticFeatures(-25.0, -55.0, 0.0, (PitchWindow(0.0, 120.0, 24.0, 600),), ())
TRACK = AudioAnalysis(61.0, (Silence(10.0, 11.0),), SOUND)


async def test_acoustic_metrics_and_progress_precede_the_transcript(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    transcriber.progress = [TRACK, Progress(40.0, 61.0)]
    transcriber.failures = [Unavailable("Unavailable.")]
    case = Case(user_id)
    await deliver_event(service, case.confirmed())

    await run_jobs(deps)

    (early,) = await emitted_events(service.database, DeliveryMeasured)
    assert (early.key, early.session_id, early.is_complete) == (case.key, case.session_id, False)
    assert early.delivery.model_dump(mode="json") == measure_audio(TRACK)
    progress = await emitted_events(service.database, TranscriptionProgressed)
    assert [(one.key, one.done_seconds, one.duration_seconds) for one in progress] == [
        (case.key, 0.0, 0.0),
        (case.key, 40.0, 61.0),
    ]
    assert await emitted_events(service.database, TranscriptionCompleted) == []

    await make_due(deps)
    await run_jobs(deps)

    *_, whole = await emitted_events(service.database, DeliveryMeasured)
    assert whole.is_complete


async def test_worker_without_lease_emits_no_progress(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    late = await claim(deps)
    await make_due(deps)
    await run_jobs(deps)
    transcriber.progress = [TRACK, Progress(40.0, 61.0)]

    await jobs.run_job(deps, late, *WORK[JobKind.TRANSCRIPTION])

    assert [
        one.is_complete for one in await emitted_events(service.database, DeliveryMeasured)
    ] == [True]
    (start,) = await emitted_events(service.database, TranscriptionProgressed)
    assert start.duration_seconds == 0


async def test_transcript_without_acoustic_features_is_scored(
    service: Service, deps: Deps, user_id: UUID, coach: Any
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    await run_jobs(deps)
    async with deps.db.transaction() as tx:
        kept = json.loads(await tx.scalar(select(RECORDINGS.c.transcript)))
        del kept["acoustic_features"]
        await tx.execute(update(RECORDINGS).values(transcript=json.dumps(kept)))
    await deliver_event(service, case.completed())

    await run_jobs(deps)

    (answer,) = coach.scored_answers
    assert answer.acoustic_features is None
    assert answer.silences[0].end == 2.5


async def test_unavailable_provider_is_reported_once_and_retried(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    case = Case(user_id)
    transcriber.failures = [Unavailable("The AI provider is unavailable.")] * 3
    await deliver_event(service, case.confirmed())

    for _ in range(4):
        await run_jobs(deps)
        await make_due(deps)

    (failed,) = await emitted_events(service.database, TranscriptionFailed)
    assert (failed.reason, failed.retryable) == ("The AI provider is unavailable.", True)
    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1


async def test_backoff_grows_and_retries_end_after_a_day(
    service: Service, deps: Deps, user_id: UUID, coach: Any
) -> None:
    case = Case(user_id)
    coach.failures = [Unavailable("Unavailable.")] * 3
    await deliver_event(service, case.completed(key=False, transcript="Words."))
    delays = []
    for retried_hours in (None, 24, None):
        begin = await read_database_time(deps)
        await run_jobs(deps)
        end = await read_database_time(deps)
        for row in await read_jobs(deps):
            due_at = row["run_after"]
            delays.append(((due_at - begin).total_seconds(), (due_at - end).total_seconds()))
        await make_due(deps, retried_hours=retried_hours)

    (first_longest, first), (second_longest, second) = delays
    assert first_longest >= 1.5 and first <= 2
    assert second_longest >= 3 and second <= 4
    failures = await emitted_events(service.database, FeedbackFailed)
    assert [failure.retryable for failure in failures] == [True, False]
    assert failures[-1].restartable
    assert await run_jobs(deps) == 0


async def test_spent_budget_is_reported_and_answer_scored_next_day(
    service: Service, deps: Deps, user_id: UUID, coach: Any, clock: FakeClock
) -> None:
    coach.tokens = coach.max_tokens = deps.daily_tokens
    first, second, anothers = Case(user_id), Case(user_id), Case(new_id())
    await deliver_event(service, first.completed(key=False, transcript="Words."))
    await run_jobs(deps)
    await deliver_event(service, second.completed(key=False, transcript="More words."))
    await deliver_event(service, anothers.completed(key=False, transcript="Other words."))

    await run_jobs(deps)
    today = [one.session_id for one in await emitted_events(service.database, FeedbackGenerated)]
    clock.advance(24 * 3600)
    await make_due(deps)
    await run_jobs(deps)

    assert today == [first.session_id, anothers.session_id]
    (case,) = await emitted_events(service.database, FeedbackFailed)
    assert (case.session_id, case.retryable) == (second.session_id, True)
    assert "budget" in case.reason
    generated = await emitted_events(service.database, FeedbackGenerated)
    assert [one.session_id for one in generated] == [*today, second.session_id]


async def test_session_deletion_keeps_budget_and_user_deletion_clears_it(
    service: Service, deps: Deps, user_id: UUID, coach: Any
) -> None:
    coach.tokens = coach.max_tokens = 7
    case = Case(user_id)
    await deliver_event(service, case.completed(key=False, transcript="Words."))
    await run_jobs(deps)

    await deliver_event(service, SessionDeleted(session_id=case.session_id, user_id=user_id))
    async with deps.db.read_only() as tx:
        row = await tx.fetch_one(select(BUDGETS.c.tokens).where(BUDGETS.c.user_id == user_id))
    await deliver_event(service, UserDeleted(user_id=user_id))

    assert row is not None and row["tokens"] == 7
    async with deps.db.read_only() as tx:
        assert (
            await tx.fetch_all(select(SCORING_USAGE)) == await tx.fetch_all(select(BUDGETS)) == []
        )


async def test_repeated_completion_retries_at_once(
    service: Service, deps: Deps, user_id: UUID, coach: Any
) -> None:
    case = Case(user_id)
    coach.failures = [Unavailable("Unavailable.")]
    await deliver_event(service, case.completed(key=False, transcript="Words."))
    await run_jobs(deps)
    assert await run_jobs(deps) == 0

    await deliver_event(service, case.completed(key=False, transcript="Words."))

    assert await run_jobs(deps) == 1
    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1


@pytest.mark.parametrize("kind", ["transcription", "feedback"])
async def test_permanent_failure_fails_at_once_with_reason(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any, coach: Any, kind: str
) -> None:
    case = Case(user_id)
    transcriber.failures = [CannotTranscribe("No speech.")] if kind == "transcription" else []
    coach.failures = [CannotScore("Declined.")]
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())

    await run_jobs(deps)

    if kind == "transcription":
        (failed,) = await emitted_events(service.database, TranscriptionFailed)
        assert (failed.reason, failed.retryable) == ("No speech.", False)
        assert coach.scored_answers == []
    else:
        (refused,) = await emitted_events(service.database, FeedbackFailed)
        assert (refused.reason, refused.retryable) == ("Declined.", False)
    assert await emitted_events(service.database, FeedbackGenerated) == []


async def test_missing_object_fails_with_reason(
    service: Service, deps: Deps, user_id: UUID, objects: Any
) -> None:
    case = Case(user_id)
    objects.missing.add(case.key)
    await deliver_event(service, case.confirmed())

    await run_jobs(deps)

    (failed,) = await emitted_events(service.database, TranscriptionFailed)
    assert not failed.retryable


async def test_client_transcript_is_scored_if_recording_has_no_speech(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any, coach: Any
) -> None:
    case = Case(user_id)
    transcriber.failures = [CannotTranscribe("No speech.")]
    await deliver_event(service, case.completed(transcript="My own words."))
    await deliver_event(service, case.confirmed())

    await run_jobs(deps)

    assert [answer.text for answer in coach.scored_answers] == ["My own words."]


async def test_expired_lease_is_claimed_by_another_worker(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    await claim(deps)

    assert await run_jobs(deps) == 0
    await make_due(deps)

    assert await run_jobs(deps) == 1
    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1


async def test_result_of_lost_lease_is_dropped(service: Service, deps: Deps, user_id: UUID) -> None:
    await deliver_event(service, Case(user_id).confirmed())
    late = await claim(deps)
    await make_due(deps)
    await run_jobs(deps)

    await jobs.run_job(deps, late, *WORK[JobKind.TRANSCRIPTION])

    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1
    async with deps.db.transaction() as tx:
        assert not await renew_lease(tx, late)


async def test_shutdown_releases_the_job(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    begin_event, never = asyncio.Event(), asyncio.Event()

    async def hang(deps: Deps, job: Job) -> jobs.ResultWriter:
        begin_event.set()
        await never.wait()
        raise AssertionError

    await deliver_event(service, Case(user_id).confirmed())
    running = asyncio.create_task(jobs.run_job(deps, await claim(deps), hang, fail_transcription))
    await begin_event.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    job = await claim(deps)
    assert job.claims == 1


async def test_twenty_workers_claim_each_job_once(service: Service, deps: Deps) -> None:
    for _ in range(5):
        await deliver_event(service, Case(new_id()).confirmed())

    claimed = await asyncio.gather(
        *(another_replica().claim(deps, JobKind.TRANSCRIPTION) for _ in range(20))
    )

    ids = [job.id for job in claimed if job is not None]
    assert len(ids) == len(set(ids)) == 5


async def test_scheduler_serves_second_user_before_ten_uploads_of_first(
    service: Service, deps: Deps
) -> None:
    busy, patient = new_id(), new_id()
    for _ in range(10):
        await deliver_event(service, Case(busy).confirmed())
    await deliver_event(service, Case(patient).confirmed())
    turns = another_replica()
    order = []
    for _ in range(4):
        job = await turns.claim(deps, JobKind.TRANSCRIPTION)
        assert job is not None
        order.append(job.user_id)
        await jobs.run_job(deps, job, *WORK[JobKind.TRANSCRIPTION])

    assert order == [busy, patient, busy, busy]


async def test_schedulers_of_replicas_share_workers_between_users(
    service: Service, deps: Deps
) -> None:
    busy, patient = new_id(), new_id()
    for _ in range(10):
        await deliver_event(service, Case(busy).confirmed())
    replicas = [another_replica() for _ in range(3)]
    first = [await turns.claim(deps, JobKind.TRANSCRIPTION) for turns in replicas]
    await deliver_event(service, Case(patient).confirmed())

    # The first replica that is free takes the newcomer, and so would one that has just started.
    assert first[2] is not None
    await jobs.run_job(deps, first[2], *WORK[JobKind.TRANSCRIPTION])
    job = await replicas[2].claim(deps, JobKind.TRANSCRIPTION)

    assert job is not None and job.user_id == patient
    assert {one.user_id for one in first if one} == {busy}
    newcomer = Case(new_id())
    await deliver_event(service, newcomer.confirmed())
    started = await another_replica().claim(deps, JobKind.TRANSCRIPTION)
    assert started is not None and started.user_id == newcomer.user_id


@pytest.mark.parametrize("by", ["session", "key", "person"])
async def test_deletion_removes_all_rows_and_ignores_late_events(
    service: Service, deps: Deps, user_id: UUID, by: str
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed(is_linked=by != "key"))
    await deliver_event(service, case.completed())
    deleted = {
        "session": SessionDeleted(session_id=case.session_id, user_id=user_id),
        "key": SessionDeleted(session_id=case.session_id, user_id=user_id, keys=[case.key]),
        "person": UserDeleted(user_id=user_id),
    }[by]
    running = await claim(deps)

    await deliver_event(service, deleted)
    await jobs.run_job(deps, running, *WORK[JobKind.TRANSCRIPTION])
    await deliver_event(service, case.completed())

    assert await emitted_events(service.database, TranscriptionCompleted) == []
    async with deps.db.read_only() as tx:
        for table in (RECORDINGS, ANSWERS, JOBS):
            assert await tx.fetch_all(select(table)) == []


async def test_temporary_file_is_removed_after_any_outcome(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    transcriber.failures = [CannotTranscribe("No.")]
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    await run_jobs(deps)

    assert transcriber.received == [case.key.encode()]
    assert not [file for file in deps.downloads.path.iterdir() if _holds(file, case.key)]


def _holds(file: Any, key: str) -> bool:
    return bool(file.is_file() and file.stat().st_size == len(key) and file.read_text() == key)


async def test_question_of_a_new_session_reaches_the_recogniser(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    case = Case(user_id)
    await deliver_event(
        service,
        SessionCreated(
            session_id=case.session_id,
            user_id=user_id,
            title="T",
            question="How do you index a table?",
            role="Database engineer",
        ),
    )
    await deliver_event(service, case.confirmed())

    await run_jobs(deps)

    (prompt,) = transcriber.prompts
    assert "How do you index a table?" in prompt
    assert "Database engineer" in prompt
    assert "PostgreSQL" in prompt


async def test_question_of_a_deleted_session_is_not_kept(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    case, other = Case(user_id), Case(user_id)
    for one in (case, other):
        await deliver_event(
            service, SessionCreated(session_id=one.session_id, user_id=user_id, title="T")
        )
    await deliver_event(
        service, SessionDeleted(session_id=case.session_id, user_id=user_id, keys=[])
    )
    await deliver_event(
        service, SessionCreated(session_id=case.session_id, user_id=user_id, title="T")
    )
    async with deps.db.read_only() as tx:
        rows = await tx.fetch_all(select(QUESTIONS.c.session_id))
    assert [row["session_id"] for row in rows] == [other.session_id]

    await deliver_event(service, UserDeleted(user_id=user_id))

    async with deps.db.read_only() as tx:
        assert await tx.fetch_all(select(QUESTIONS.c.session_id)) == []


async def test_coverage_and_words_travel_with_transcript_and_feedback(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    transcriber.coverage = AudioCoverage(
        20.0,
        12.0,
        (
            AudioGap(1.0, 4.0, GapReason.OTHER_LANGUAGE, "de"),
            AudioGap(9.0, 14.0, GapReason.DAMAGED),
        ),
    )
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())

    await run_jobs(deps)

    (transcribed,) = await emitted_events(service.database, TranscriptionCompleted)
    assert [word.text for word in transcribed.words] == transcribed.text.split()
    assert transcribed.audio is not None
    assert transcribed.audio.model_dump() == {
        "duration_seconds": 20.0,
        "heard_seconds": 12.0,
        "gaps": [
            {"start": 1.0, "end": 4.0, "reason": "other_language", "language": "de"},
            {"start": 9.0, "end": 14.0, "reason": "damaged"},
        ],
    }
    (feedback,) = await emitted_events(service.database, FeedbackGenerated)
    assert feedback.audio == transcribed.audio
    assert "Not scored: 0:01 to 0:04 in German." in feedback.detailed_feedback
    assert "5.0 seconds (0:09 to 0:14) could not be transcribed." in feedback.detailed_feedback


async def test_results_are_emitted_again_for_a_stalled_session(
    service: Service, deps: Deps, user_id: UUID, clock: FakeClock
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())
    await run_jobs(deps)
    clock.advance(11)

    await deliver_event(service, case.stalled())

    for kind in (FeedbackGenerated, TranscriptionCompleted, DeliveryMeasured):
        first, again = await emitted_events(service.database, kind)
        assert again == first
    assert await run_jobs(deps) == 0


async def test_failure_is_emitted_again_with_its_reason(
    service: Service, deps: Deps, user_id: UUID, clock: FakeClock, transcriber: Any
) -> None:
    case = Case(user_id)
    transcriber.failures = [CannotTranscribe("No speech.")]
    await deliver_event(service, case.confirmed())
    await run_jobs(deps)
    clock.advance(11)

    await deliver_event(service, case.confirmed_again())

    first, again = await emitted_events(service.database, TranscriptionFailed)
    assert again == first
    assert (again.reason, again.retryable) == ("No speech.", False)
    assert await run_jobs(deps) == 0


async def test_repeated_events_leave_a_waiting_job_and_fresh_results_alone(
    service: Service, deps: Deps, user_id: UUID, transcriber: Any
) -> None:
    case = Case(user_id)
    transcriber.failures = [Unavailable("The provider is unavailable.")]
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())
    await run_jobs(deps)

    await deliver_event(service, case.confirmed_again())
    assert await run_jobs(deps) == 0
    await make_due(deps)
    await run_jobs(deps)
    await deliver_event(service, case.confirmed_again())
    await deliver_event(service, case.stalled())

    assert len(await emitted_events(service.database, TranscriptionCompleted)) == 1
    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1


async def test_repeated_events_queue_missing_jobs(
    service: Service, deps: Deps, user_id: UUID
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed_again())
    assert await run_jobs(deps) == 1

    await deliver_event(service, case.stalled())

    assert await run_jobs(deps) == 1
    assert len(await emitted_events(service.database, FeedbackGenerated)) == 1
