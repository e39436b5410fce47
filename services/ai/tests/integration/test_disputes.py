"""Disputes over HTTP: the second scoring, its event, crashes, failures, owners and deletion."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from coach_ai.deps import Deps
from coach_ai.domain import CannotScore, JobKind
from coach_ai.tables import DISPUTES, IMPROVEMENT_CONSENTS
from coach_common.errors import Unavailable
from coach_common.events.catalog import FeedbackDisputed, SessionDeleted, UserDeleted
from coach_common.events.consents import ConsentChanged
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import client_for, deliver_event, emitted_events
from support.ai_jobs import Case, claim, make_due, read_jobs, run_jobs

ANSWER = "Last year I fixed a broken build. I measured every step. It took two days."
REASON = "I named the result and the figure."


async def _practise(service: Service, user_id: UUID, *, transcript: str = ANSWER) -> UUID:
    case = Case(user_id)
    await deliver_event(service, case.completed(key=False, transcript=transcript))
    await run_jobs(service.deps)
    return case.session_id


async def _dispute(client: httpx.AsyncClient, session_id: object, **body: Any) -> tuple[int, Any]:
    response = await client.post(f"/sessions/{session_id}/dispute", json=body)
    found = response.json()
    return response.status_code, found.get("code", found)


async def _decide_improvement(service: Service, user_id: UUID, *, is_given: bool) -> None:
    decision = ConsentChanged(
        user_id=user_id,
        purpose="improvement",
        is_given=is_given,
        version="2026-11",
        changed_at=service.deps.clock() + timedelta(seconds=is_given),
    )
    await deliver_event(service, decision)


async def _count(deps: Deps) -> int:
    async with deps.db.read_only() as tx:
        return await tx.scalar(select(func.count()).select_from(DISPUTES)) or 0


async def test_disputed_answer_is_scored_again_without_the_reason(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID, coach: Any
) -> None:
    session_id = await _practise(service, user_id)

    status, opened = await _dispute(client, session_id, reason=REASON)
    again = await _dispute(client, session_id)
    await run_jobs(deps)

    assert (status, opened["status"], opened["second_scores"]) == (202, "scoring", None)
    assert again == (409, "already_disputed")
    assert await _dispute(client, session_id) == (409, "already_disputed")
    first, second = coach.scored_answers
    assert first == second
    assert REASON not in repr(second)
    scoring, done = await emitted_events(service.database, FeedbackDisputed)
    assert (scoring.dispute.status, done.dispute.status) == ("scoring", "done")
    assert done.dispute.created_at == scoring.dispute.created_at
    assert done.dispute.second_scores is not None
    assert done.dispute.second_scores.overall_score == 76
    assert (done.dispute.difference, done.dispute.outcome) == (6, "confirmed")
    quality = (await client.get("/quality")).json()
    assert quality["disputes"] == {"total": 1, "changed": 0}


async def test_recording_is_scored_again_with_its_words(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID, coach: Any
) -> None:
    case = Case(user_id)
    await deliver_event(service, case.confirmed())
    await deliver_event(service, case.completed())
    await run_jobs(deps)
    coach.second_score = 20

    await _dispute(client, case.session_id)
    await run_jobs(deps)

    first, second = coach.scored_answers
    assert first == second and second.words
    (_, done) = await emitted_events(service.database, FeedbackDisputed)
    assert (done.dispute.difference, done.dispute.outcome) == (-50, "changed")
    assert (await client.get("/quality")).json()["disputes"] == {"total": 1, "changed": 1}


async def test_dispute_survives_a_crash(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _practise(service, user_id)
    await _dispute(client, session_id)
    await claim(deps, JobKind.DISPUTE)

    await make_due(deps)
    await run_jobs(deps)

    assert await read_jobs(deps) == []
    assert len(await emitted_events(service.database, FeedbackDisputed)) == 2


async def test_failed_dispute_names_the_reason_and_can_be_repeated(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID, coach: Any
) -> None:
    session_id = await _practise(service, user_id)
    coach.failures = [Unavailable("Later."), CannotScore("Declined.")]
    await _dispute(client, session_id)
    await run_jobs(deps)
    assert await _dispute(client, session_id) == (409, "already_disputed")
    await make_due(deps)
    await run_jobs(deps)

    events = await emitted_events(service.database, FeedbackDisputed)
    assert [one.dispute.status for one in events] == ["scoring", "failed"]
    assert events[-1].dispute.text == "Declined."
    assert (await _dispute(client, session_id))[0] == 202
    await run_jobs(deps)
    events = await emitted_events(service.database, FeedbackDisputed)
    assert events[-1].dispute.outcome == "confirmed"


async def test_spent_budget_delays_the_second_scoring(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID, coach: Any
) -> None:
    session_id = await _practise(service, user_id)
    coach.max_tokens = deps.daily_tokens + 1
    await _dispute(client, session_id)
    await run_jobs(deps)

    (job,) = await read_jobs(deps)
    assert "budget" in job["reason"]
    coach.max_tokens = 0
    await make_due(deps)
    await run_jobs(deps)
    assert len(await emitted_events(service.database, FeedbackDisputed)) == 2


async def test_sessions_without_score_and_foreign_sessions_cannot_be_disputed(
    service: Service, client: httpx.AsyncClient, user_id: UUID, issuer: TokenIssuer, coach: Any
) -> None:
    scored = await _practise(service, user_id)
    coach.failures = [CannotScore("Declined.")]
    refused = await _practise(service, user_id)
    pending = Case(user_id)
    await deliver_event(service, pending.completed(key=False, transcript=ANSWER))

    async with client_for(service, headers=issuer.bearer(new_id())) as stranger:
        assert await _dispute(stranger, scored) == (404, "session_not_found")
    assert await _dispute(client, "x") == (404, "session_not_found")
    assert await _dispute(client, refused) == (422, "answer_not_scored")
    assert await _dispute(client, pending.session_id) == (409, "feedback_pending")
    assert (await _dispute(client, scored, reason="x" * 1001))[0] == 422
    assert (await client.post(f"/sessions/{scored}/dispute")).status_code == 202


@pytest.mark.parametrize("whole_account", [False, True])
async def test_dispute_is_deleted_with_its_session_or_account(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID, whole_account: bool
) -> None:
    session_id = await _practise(service, user_id)
    await _dispute(client, session_id)
    await deliver_event(
        service,
        UserDeleted(user_id=user_id)
        if whole_account
        else SessionDeleted(session_id=session_id, user_id=user_id, keys=[]),
    )

    assert (await _count(deps), await read_jobs(deps), await run_jobs(deps)) == (0, [], 0)


async def test_dispute_is_not_counted_after_a_refusal_of_improvement(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _practise(service, user_id)
    await _dispute(client, session_id)
    await run_jobs(deps)
    counts = [(await client.get("/quality")).json()["disputes"]["total"]]
    for is_given in (False, True, False):
        # The last one is an older decision that arrives late.
        await _decide_improvement(service, user_id, is_given=is_given)
        counts.append((await client.get("/quality")).json()["disputes"]["total"])

    assert counts == [1, 0, 1, 1]
    await deliver_event(service, UserDeleted(user_id=user_id))
    await _decide_improvement(service, user_id, is_given=True)
    async with deps.db.read_only() as tx:
        assert await tx.fetch_all(select(IMPROVEMENT_CONSENTS)) == []
