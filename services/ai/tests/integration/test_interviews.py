"""Interviews over HTTP: turns, recordings, repeated messages, failures, owners and deletion."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from coach_ai.deps import Deps
from coach_ai.domain import CannotScore, Recording, Transcript
from coach_ai.interview.model import Intent, Turn
from coach_ai.store import interviews, recordings
from coach_ai.tables import INTERVIEW_TURNS, INTERVIEWS
from coach_common.errors import TransactionConflict, Unavailable
from coach_common.events.catalog import UserDeleted
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event

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
