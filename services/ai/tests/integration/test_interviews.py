"""Interviews over HTTP: turns, recordings, repeated messages, failures, owners and deletion."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, select, text

from coach_ai.deps import Deps
from coach_ai.domain import CannotScore, Recording, Transcript
from coach_ai.interview.model import Intent, Turn
from coach_ai.store import interviews, recordings
from coach_ai.tables import DELETIONS, INTERVIEW_TURNS, INTERVIEWS, RECORDINGS
from coach_ai.use_cases import interview_history
from coach_common.db.database import Database
from coach_common.db.migrate import upgrade
from coach_common.errors import TransactionConflict, Unavailable
from coach_common.events.catalog import SessionDeleted, UploadConfirmed, UserDeleted
from coach_common.events.deletions import AiConfirmedDeletion, DeletionCompleted
from coach_common.events.interviews import (
    InterviewAssessed,
    InterviewDeleted,
    InterviewRecordingLinked,
    InterviewStarted,
)
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.session_kind import SessionKind
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event, emitted_events

PATH = "/ai-interview/sessions"
ANSWER = "I moved the build to a cache. It took two days."


async def _start(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    body = {"title": "Mock", "interview_type": "behavioral", "question_limit": 2} | more
    response = await client.post(PATH, json=body)
    assert response.status_code == 201, response.text
    return response.json()  # type: ignore[no-any-return]


async def _send(
    client: httpx.AsyncClient, session_id: str, key: str | None = None, **body: Any
) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await client.post(f"{PATH}/{session_id}/message", json=body, headers=headers)


async def _count(deps: Deps) -> tuple[int, int]:
    async with deps.db.read_only() as tx:
        interviews = await tx.scalar(select(func.count()).select_from(INTERVIEWS))
        turns = await tx.scalar(select(func.count()).select_from(INTERVIEW_TURNS))
    return interviews or 0, turns or 0


async def test_interview_runs_to_its_assessment(client: httpx.AsyncClient, coach: Any) -> None:
    started = await _start(client, persona={"manner": "demanding"}, difficulty_level="hard")
    path = f"{PATH}/{started['session_id']}"
    first = (await _send(client, started["session_id"], message=ANSWER)).json()
    running = (await client.get(path)).json()
    hint = (await _send(client, started["session_id"], message="A hint, please")).json()
    last = await _send(client, started["session_id"], message="skip")
    over = await _send(client, started["session_id"], message=ANSWER)
    assessed = (await client.post(f"{path}/complete")).json()
    read = (await client.get(path)).json()
    listed = (await client.get(PATH)).json()

    assert (started["status"], started["question_count"]) == ("in_progress", 1)
    assert "fixed rules" in started["response"]
    assert first["analysis"] == {
        "intent": "answer",
        "question_number": 1,
        "gap": None,
        "method": "rules",
    }
    assert (first["question_count"], hint["question_count"]) == (2, 2)
    assert (running["plan"], running["assessment"], len(running["turns"])) == (None, None, 2)
    assert (last.status_code, last.json()["status"]) == (200, "completed")
    assert (over.status_code, over.json()["code"]) == (409, "interview_over")
    assert (assessed["overall_score"], assessed["technical_score"]) == (70, None)
    assert [one["overall_score"] for one in assessed["answers"]] == [70, None]
    assert assessed["plan"]["questions"][0]["question"] in started["response"]
    assert read["assessment"] == assessed and read["plan"] == assessed["plan"]
    assert [turn["message"] for turn in read["turns"]] == [
        None, ANSWER, "A hint, please", "skip",
    ]  # fmt: skip
    assert [one["overall_score"] for one in listed["sessions"]] == [70]
    assert coach.scored_answers[0].question == read["plan"]["questions"][0]["question"]
    assert coach.scored_answers[0].seniority == "senior"


async def test_accommodations_apply_to_answers_and_to_a_new_assessment(
    client: httpx.AsyncClient, coach: Any
) -> None:
    await client.post("/ai-interview/profile", json={"accommodations": ["pauses"]})
    path = f"{PATH}/{(await _start(client))['session_id']}"
    await client.post(f"{path}/message", json={"message": ANSWER})
    await client.post(f"{path}/complete")

    await client.post(f"{path}/assess")

    assert [one.accommodations for one in coach.scored_answers] == [("pauses",)] * 2


async def test_company_style_is_shown_with_its_rounds_at_the_end(client: httpx.AsyncClient) -> None:
    started = await _start(client, company_style="finance", question_limit=None)
    path = f"{PATH}/{started['session_id']}"
    running = (await client.get(path)).json()
    plan = (await client.post(f"{path}/complete")).json()["plan"]
    unknown = await client.post(
        PATH, json={"title": "T", "interview_type": "case", "company_style": "circus"}
    )

    assert (running["company_style"], running["plan"]) == ("finance", None)
    assert plan["company_style"] == {
        "name": "finance",
        "title": "Bank or financial company",
        "values": ["accuracy", "responsibility", "risk"],
        "depth": 2,
    }
    rounds = ["Responsibility", "Responsibility", "Risk and decisions", "Risk and decisions"]
    assert [one["round"] for one in plan["questions"]] == [*rounds, "Deadlines"]
    assert unknown.status_code == 422


async def test_server_keeps_the_clock_of_each_question(
    client: httpx.AsyncClient, clock: FakeClock
) -> None:
    started_at = clock()
    started = await _start(client, time_limit_seconds=60)
    path = f"{PATH}/{started['session_id']}"
    fresh = (await client.get(path)).json()
    clock.advance(45.5)
    await _send(client, started["session_id"], message="Give me a moment")
    read = (await client.get(path)).json()
    clock.advance(30)
    over = (await client.get(path)).json()
    await _send(client, started["session_id"], message=ANSWER)
    following = (await client.get(path)).json()
    clock.advance(60)
    await _send(client, started["session_id"], message=ANSWER)
    ended = (await client.get(path)).json()

    due_at = started_at + timedelta(seconds=60)
    for shown, remaining in ((fresh, 60), (read, 14), (over, 0)):
        assert datetime.fromisoformat(shown["asked_at"]) == started_at
        assert datetime.fromisoformat(shown["answer_due_at"]) == due_at
        assert shown["remaining_seconds"] == remaining
    assert following["remaining_seconds"] == 60
    assert datetime.fromisoformat(following["asked_at"]) == started_at + timedelta(seconds=75.5)
    assert (ended["asked_at"], ended["answer_due_at"], ended["remaining_seconds"]) == (None,) * 3
    assert [(one["is_late"], one["late_seconds"]) for one in ended["turns"]] == [
        (False, 0), (False, 0), (True, 16), (False, 0),
    ]  # fmt: skip
    # A late answer counts.
    assert [one["overall_score"] for one in ended["assessment"]["answers"]] == [70, 70]
    assert ended["time_limit_seconds"] == 60


async def test_upload_that_started_in_time_is_not_late(
    client: httpx.AsyncClient, clock: FakeClock, deps: Deps, user_id: UUID
) -> None:
    session_id = (await _start(client, time_limit_seconds=30))["session_id"]
    clock.advance(29)
    key = f"uploads/{user_id}/{int(clock().timestamp() * 1000)}_0a1b2c3d.m4a"
    clock.advance(600)
    recording = Recording(new_id(), user_id, key, None, "e", 1)
    async with deps.db.transaction() as tx:
        await recordings.add_recording(tx, recording)
        transcript = Transcript(ANSWER, "en", 6.0, "scripted", "s1")
        await recordings.save_transcript(tx, recording.upload_id, transcript, at=deps.clock())
    await _send(client, session_id, audio_s3_key=key)

    (_, turn) = (await client.get(f"{PATH}/{session_id}")).json()["turns"]
    assert (turn["is_late"], turn["late_seconds"]) == (False, 0)


@pytest.mark.parametrize("seconds", [29, 3601, 0, "x"])
async def test_time_limit_out_of_range_is_422(client: httpx.AsyncClient, seconds: object) -> None:
    body = {"title": "T", "interview_type": "case", "time_limit_seconds": seconds}

    assert (await client.post(PATH, json=body)).status_code == 422


async def test_same_message_sent_twice_makes_one_turn(
    client: httpx.AsyncClient, deps: Deps
) -> None:
    session_id = (await _start(client))["session_id"]
    first = await _send(client, session_id, "k1", message=ANSWER)
    again = await _send(client, session_id, "k1", message=ANSWER)
    other = await _send(client, session_id, "k1", message="Something else.")

    assert first.json()["response"] == again.json()["response"]
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert await _count(deps) == (1, 2)


async def test_recording_is_answered_once_its_transcript_is_there(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, coach: Any
) -> None:
    session_id = (await _start(client))["session_id"]
    key = f"uploads/{user_id}/1795521600000_0a1b2c3d.m4a"
    pending = await _send(client, session_id, audio_s3_key=key)
    recording = Recording(new_id(), user_id, key, None, "e", 1)
    async with deps.db.transaction() as tx:
        await recordings.add_recording(tx, recording)
    transcribing = await _send(client, session_id, audio_s3_key=key)
    transcript = Transcript(ANSWER, "en", 6.0, "scripted", "s1")
    async with deps.db.transaction() as tx:
        await recordings.save_transcript(tx, recording.upload_id, transcript, at=deps.clock())
    done = await _send(client, session_id, audio_s3_key=key, audio_duration_seconds=6.2)
    again = await _send(client, session_id, audio_s3_key=key)
    elsewhere = await _send(client, (await _start(client))["session_id"], audio_s3_key=key)
    foreign = await _send(client, session_id, audio_s3_key=f"uploads/{new_id()}/x.m4a")

    assert [pending.json()["code"], transcribing.json()["code"]] == ["transcript_pending"] * 2
    assert {pending.status_code, transcribing.status_code} == {409}
    assert done.status_code == 200 and done.json() == again.json()
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "linked_elsewhere")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "recording_not_found")
    (scored,) = coach.scored_answers
    assert (scored.text, scored.language, scored.duration_seconds) == (ANSWER, "en", 6.0)


async def test_recording_in_two_turns_at_once_is_a_conflict(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID
) -> None:
    started = [UUID((await _start(client))["session_id"]) for _ in range(2)]
    turn = Turn(1, 1, Intent.ANSWER, ANSWER, "Thank you.", deps.clock(), audio_s3_key="uploads/k")
    async with deps.db.transaction() as tx:
        first, second = [
            await interviews.get_interview(tx, one, user_id=user_id) for one in started
        ]
        await interviews.add_turn(tx, first, turn)

    with pytest.raises(TransactionConflict):
        async with deps.db.transaction() as tx:
            await interviews.add_turn(tx, second, turn)


async def test_failed_recording_is_replaced_by_text(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID
) -> None:
    session_id = (await _start(client))["session_id"]
    key = f"uploads/{user_id}/1795521600000_0a1b2c3d.m4a"
    recording = Recording(new_id(), user_id, key, None, "e", 1)
    async with deps.db.transaction() as tx:
        await recordings.add_recording(tx, recording)
        await recordings.mark_failed(
            tx, recording.upload_id, "No speech.", is_restartable=False, at=deps.clock()
        )
    refused = await _send(client, session_id, audio_s3_key=key)
    accepted = await _send(client, session_id, audio_s3_key=key, message=ANSWER)

    assert (refused.status_code, refused.json()["code"]) == (422, "recording_failed")
    assert refused.json()["detail"] == "No speech."
    assert accepted.status_code == 200


async def test_failed_scoring_stores_no_turn(
    client: httpx.AsyncClient, coach: Any, deps: Deps
) -> None:
    session_id = (await _start(client))["session_id"]
    coach.failures = [Unavailable("unavailable", retry_after_seconds=7)]
    failed = await _send(client, session_id, "k1", message=ANSWER)
    stored = await _count(deps)
    repeated = await _send(client, session_id, "k1", message=ANSWER)

    assert (failed.status_code, failed.headers["retry-after"]) == (503, "7")
    assert stored == (1, 1)
    assert repeated.status_code == 200


async def test_acknowledgement_is_no_answer(client: httpx.AsyncClient, coach: Any) -> None:
    session_id = (await _start(client))["session_id"]
    reply = (await _send(client, session_id, message="Mhm. Okay.")).json()
    answered = (await _send(client, session_id, message=ANSWER)).json()

    assert (reply["analysis"]["intent"], reply["question_count"]) == ("acknowledgement", 1)
    assert reply["response"] == "I am listening."
    assert answered["analysis"]["intent"] == "answer"
    assert [one.text for one in coach.scored_answers] == [ANSWER]


async def test_spent_budget_is_429_and_stores_no_turn(
    client: httpx.AsyncClient, coach: Any, deps: Deps
) -> None:
    session_id = (await _start(client))["session_id"]
    coach.max_tokens = deps.daily_tokens + 1
    response = await _send(client, session_id, message=ANSWER)

    assert (response.status_code, response.json()["code"]) == (429, "budget_spent")
    assert await _count(deps) == (1, 1)


async def test_refused_answer_has_no_score_until_it_is_assessed_again(
    client: httpx.AsyncClient, coach: Any
) -> None:
    session_id = (await _start(client, question_limit=1))["session_id"]
    path = f"{PATH}/{session_id}"
    early = await client.post(f"{path}/assess")
    coach.failures = [CannotScore("The provider declined.")]
    await _send(client, session_id, message=ANSWER)
    first = (await client.post(f"{path}/complete")).json()
    again = (await client.post(f"{path}/assess")).json()

    assert (early.status_code, early.json()["code"]) == (409, "interview_not_over")
    assert (first["overall_score"], first["answers"][0]["reason"]) == (
        None,
        "The provider declined.",
    )
    assert again["overall_score"] == 70
    assert (await client.get(path)).json()["assessment"] == again


@pytest.mark.parametrize(
    "body", [{}, {"message": ""}, {"message": "  "}, {"message": "x" * 20_001}]
)
async def test_empty_or_oversized_message_is_422(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    session_id = (await _start(client))["session_id"]

    assert (await _send(client, session_id, **body)).status_code == 422


async def test_interview_of_another_user_is_404(
    client: httpx.AsyncClient, service: Service, issuer: TokenIssuer
) -> None:
    path = f"{PATH}/{(await _start(client))['session_id']}"
    async with client_for(service, headers=issuer.bearer(new_id())) as other:
        responses = [
            await other.get(path),
            await other.post(f"{path}/message", json={"message": ANSWER}),
            await other.post(f"{path}/complete"),
            await other.post(f"{path}/assess"),
            await other.delete(path),
            await other.get(f"{PATH}/x"),
        ]
        listed = (await other.get(PATH)).json()["sessions"]

    assert {(one.status_code, one.json()["code"]) for one in responses} == {
        (404, "interview_not_found")
    }
    assert listed == []


async def test_history_learns_of_start_recordings_and_assessments(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, service: Service
) -> None:
    started = await _start(client, title="Mock", question_limit=1)
    interview_id = started["session_id"]
    recording = await _transcribed_recording(deps, user_id)
    await _send(client, interview_id, audio_s3_key=recording.key)
    await _send(client, interview_id, message="skip")
    await client.post(f"{PATH}/{interview_id}/complete")
    await client.post(f"{PATH}/{interview_id}/assess")

    (start,) = await emitted_events(service.database, InterviewStarted)
    (link,) = await emitted_events(service.database, InterviewRecordingLinked)
    first, again = await emitted_events(service.database, InterviewAssessed)
    assert {str(one.interview_id) for one in (start, link, first, again)} == {interview_id}
    assert (start.title, start.interview_type, start.user_id) == ("Mock", "behavioral", user_id)
    assert link.key == recording.key and first.keys == [recording.key]
    assert (first.overall_score, first.technical_score, first.question_count) == (70, None, 1)
    assert (first.provider, first.model, first.rubric_version) == ("scripted", "s1", "1")
    assert again.assessed_at >= first.assessed_at
    assert first.created_at == start.created_at == link.created_at


async def test_pause_counts_at_most_ten_minutes(
    client: httpx.AsyncClient, service: Service, clock: FakeClock
) -> None:
    interview_id = (await _start(client, question_limit=1))["session_id"]
    for seconds, message in ((90, "hint"), (86_400, "skip")):
        clock.advance(seconds)
        await _send(client, interview_id, message=message)

    (assessed,) = await emitted_events(service.database, InterviewAssessed)
    assert assessed.duration_seconds == 90 + 600


async def test_deletion_names_all_recordings_of_the_interview_and_ends_in_a_receipt(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, service: Service
) -> None:
    interview_id = (await _start(client))["session_id"]
    answered = await _transcribed_recording(deps, user_id)
    await _send(client, interview_id, audio_s3_key=answered.key)
    pending = Recording(new_id(), user_id, f"uploads/{user_id}/2.m4a", None, "e", 1)
    await _add_recordings(deps, pending)
    await _send(client, interview_id, audio_s3_key=pending.key)
    named = Recording(new_id(), user_id, f"uploads/{user_id}/3.m4a", UUID(interview_id), "e", 1)
    free = Recording(new_id(), user_id, f"uploads/{user_id}/4.m4a", None, "e", 1)
    await _add_recordings(deps, named, free)

    deleted = await client.delete(f"{PATH}/{interview_id}")
    again = await client.delete(f"{PATH}/{interview_id}")
    late = UploadConfirmed(
        upload_id=pending.upload_id, user_id=user_id, key=pending.key, content_type="audio/m4a",
        size=1, etag="e",
    )  # fmt: skip
    await deliver_event(service, late)
    other = (await _start(client))["session_id"]
    reused = await _send(client, other, audio_s3_key=answered.key)

    (event,) = await emitted_events(service.database, InterviewDeleted)
    assert (deleted.status_code, again.status_code) == (204, 404)
    assert deleted.headers["location"] == f"/privacy/receipts/{event.receipt_id}"
    assert event.keys == sorted(one.key for one in (answered, pending, named))
    assert (reused.status_code, reused.json()["code"]) == (404, "recording_not_found")
    async with deps.db.read_only() as tx:
        rows = await tx.fetch_all(select(RECORDINGS.c.key))
        waiting = await tx.fetch_all(select(DELETIONS.c.id))
    assert [row["key"] for row in rows] == [free.key]
    assert [row["id"] for row in waiting] == [event.receipt_id]
    await deliver_event(service, DeletionCompleted(receipt_id=event.receipt_id))
    async with deps.db.read_only() as tx:
        assert await tx.fetch_all(select(DELETIONS.c.id)) == []


async def test_deletion_in_the_history_is_passed_on_with_its_receipt(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, service: Service
) -> None:
    interview_id = (await _start(client))["session_id"]
    answered = await _transcribed_recording(deps, user_id)
    await _send(client, interview_id, audio_s3_key=answered.key)
    elsewhere = Recording(new_id(), user_id, f"uploads/{user_id}/5.m4a", new_id(), "e", 1)
    await _add_recordings(deps, elsewhere)
    deletion = SessionDeleted(
        session_id=UUID(interview_id),
        user_id=user_id,
        keys=[f"uploads/{user_id}/6.m4a", elsewhere.key],
        receipt_id=uuid4(),
        kind=SessionKind.INTERVIEW.value,
    )
    for is_repeated in (False, True):
        await deliver_event(service, deletion.model_copy(update={"is_repeated": is_repeated}))

    (event,) = await emitted_events(service.database, InterviewDeleted)
    assert event.receipt_id == deletion.receipt_id
    assert event.keys == sorted([answered.key, deletion.keys[0]])
    confirmed = await emitted_events(service.database, AiConfirmedDeletion)
    assert [one.receipt_id for one in confirmed] == [deletion.receipt_id] * 2
    assert (await client.get(f"{PATH}/{interview_id}")).status_code == 404
    assert await _count(deps) == (0, 0)


async def test_answer_that_is_scored_during_the_deletion_is_not_stored(
    client: httpx.AsyncClient, deps: Deps, coach: Any, service: Service
) -> None:
    interview_id = (await _start(client, question_limit=1))["session_id"]
    score = coach.score

    async def delete_then_score(*args: Any) -> Any:
        await client.delete(f"{PATH}/{interview_id}")
        return await score(*args)

    coach.score = delete_then_score
    sent = await _send(client, interview_id, message=ANSWER)

    assert (sent.status_code, sent.json()["code"]) == (404, "interview_not_found")
    assert await _count(deps) == (0, 0)
    assert await emitted_events(service.database, InterviewAssessed) == []


async def _add_recordings(deps: Deps, *added: Recording) -> None:
    async with deps.db.transaction() as tx:
        for recording in added:
            await recordings.add_recording(tx, recording)


async def _transcribed_recording(deps: Deps, user_id: UUID) -> Recording:
    recording = Recording(new_id(), user_id, f"uploads/{user_id}/1.m4a", None, "e", 1)
    await _add_recordings(deps, recording)
    transcript = Transcript(ANSWER, "en", 6.0, "scripted", "s1")
    async with deps.db.transaction() as tx:
        await recordings.save_transcript(tx, recording.upload_id, transcript, at=deps.clock())
    return recording


async def test_deletion_of_interview_or_account_erases_all_rows(
    client: httpx.AsyncClient, service: Service, deps: Deps, user_id: UUID
) -> None:
    first = (await _start(client))["session_id"]
    await _start(client)
    deleted = await client.delete(f"{PATH}/{first}")
    remaining = await _count(deps)
    await deliver_event(service, UserDeleted(user_id=user_id))
    refused = await client.post(PATH, json={"title": "T", "interview_type": "case"})

    assert (deleted.status_code, remaining) == (204, (1, 1))
    assert await _count(deps) == (0, 0)
    assert (refused.status_code, refused.json()["code"]) == (401, "account_deleted")


async def test_list_is_paged_newest_first(client: httpx.AsyncClient) -> None:
    started = [(await _start(client))["session_id"] for _ in range(3)]
    first = (await client.get(PATH, params={"limit": 2})).json()
    second = (await client.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})).json()

    found = [one["session_id"] for one in first["sessions"] + second["sessions"]]
    assert found == started[::-1]
    assert second["next_cursor"] is None


async def _republish(deps: Deps) -> int:
    return await interview_history.republish_due(deps)


async def test_state_is_published_again_at_growing_intervals_for_thirty_days(
    client: httpx.AsyncClient, deps: Deps, clock: FakeClock
) -> None:
    started = await _start(client)
    due = []
    for minutes in (0.9, 0.2, 1, 2.9, 3, 60 * 24 * 31, 60 * 24 * 2):
        clock.advance(minutes * 60)
        due.append((await _republish(deps), await _republish(deps)))

    assert due == [(0, 0), (1, 0), (0, 0), (1, 0), (0, 0), (1, 0), (0, 0)]
    events = await emitted_events(deps.db, InterviewStarted)
    assert [one.is_repeated for one in events] == [False, True, True, True]
    assert {str(one.interview_id) for one in events} == {started["session_id"]}
    assert await emitted_events(deps.db, InterviewAssessed) == []


async def test_repeated_assessment_equals_the_first(
    client: httpx.AsyncClient, deps: Deps, clock: FakeClock
) -> None:
    started = await _start(client)
    path = f"{PATH}/{started['session_id']}"
    clock.advance(50)
    await client.post(f"{path}/message", json={"message": ANSWER})
    await client.post(f"{path}/complete")
    clock.advance(59)
    early = await _republish(deps)
    clock.advance(2)
    late = await _republish(deps)

    assert (early, late) == (0, 1)
    first, repeated = await emitted_events(deps.db, InterviewAssessed)
    assert (first.is_repeated, first.overall_score) == (False, 70)
    assert repeated == first.model_copy(update={"is_repeated": True})


async def test_all_interviews_are_published_again_on_request(
    client: httpx.AsyncClient, deps: Deps, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interview_history, "_BATCH_SIZE", 2)
    for _ in range(5):
        await _start(client)
    clock.advance(86_400 * 60)
    while await _republish(deps):
        pass
    before = len(await emitted_events(deps.db, InterviewStarted))

    answer = await interview_history.schedule_all(deps.db)

    assert answer == "Interviews that ai publishes again: 5."
    batches = [await _republish(deps) for _ in range(4)]
    assert batches == [2, 2, 1, 0]
    events = (await emitted_events(deps.db, InterviewStarted))[before:]
    assert len({one.interview_id for one in events if one.is_repeated}) == 5


async def test_deleted_interview_is_not_published_again(
    client: httpx.AsyncClient, deps: Deps, clock: FakeClock
) -> None:
    started = await _start(client)
    await client.delete(f"{PATH}/{started['session_id']}")
    clock.advance(61)

    assert await _republish(deps) == 0


async def test_due_interviews_are_found_with_an_index(deps: Deps) -> None:
    if not deps.db.is_sqlite:
        pytest.skip("the plan of an empty table says nothing in MariaDB")
    query = "SELECT id FROM interviews WHERE republish_after <= '2026-11-24'"
    async with deps.db.read_only() as tx:
        plan = await tx.fetch_all(text(f"EXPLAIN QUERY PLAN {query}"))

    assert any("ix_interviews_republish_after" in row["detail"] for row in plan)


async def test_migration_schedules_stored_interviews(database_url: str) -> None:
    database = Database(database_url, source="ai")
    await upgrade(database, "coach_ai", revision="2026_11_27_stories")
    async with database.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO interviews (id, user_id, setup, plan, status, question_number,"
                " turn_count, created_at, updated_at) VALUES (:id, :id, '{}', '{}', 'completed', 1,"
                " 1, '2026-11-24 12:00:00', '2026-11-24 12:30:00')"
            ),
            {"id": bytes(16)},
        )

    await upgrade(database, "coach_ai")

    async with database.engine.begin() as connection:
        due = await connection.execute(text("SELECT republish_after FROM interviews"))
        assert str(due.scalar_one()).startswith("2026-11-24 12:30:00")
    await database.close()
