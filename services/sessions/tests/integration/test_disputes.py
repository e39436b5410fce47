"""Disputes are stored with the feedback, shown and pushed, in any order of their events."""

from itertools import permutations
from typing import Any
from uuid import UUID

import httpx

from coach_common.events.catalog import (
    FeedbackDisputed,
    FeedbackGenerated,
    SessionDeleted,
    SessionJudged,
)
from coach_common.events.feedback import DISPUTE_EXAMPLE, FEEDBACK_EXAMPLE
from coach_common.ids import new_id
from coach_common.messaging.dispatch import Outcome
from coach_common.service import Service
from coach_common.testing.harness import deliver_event, emitted_events

DONE: dict[str, Any] = dict(DISPUTE_EXAMPLE)
SCORING = {"status": "scoring", "created_at": DONE["created_at"], "text": "Wait."}
LATER = SCORING | {"created_at": "2026-11-25T12:00:00Z"}


async def _open_session(client: httpx.AsyncClient) -> UUID:
    created = await client.post("/sessions", json={"title": "One", "question": "Why?"})
    session_id = created.json()["id"]
    await client.post(f"/sessions/{session_id}/complete", json={"transcript": "I fixed it."})
    return UUID(session_id)


def _generated(session_id: UUID, user_id: UUID) -> FeedbackGenerated:
    scored = {**FEEDBACK_EXAMPLE, "session_id": session_id, "user_id": user_id}
    return FeedbackGenerated.model_validate(scored)


def _disputed(session_id: UUID, user_id: UUID, dispute: dict[str, Any]) -> FeedbackDisputed:
    return FeedbackDisputed.model_validate(
        {"session_id": session_id, "user_id": user_id, "dispute": dispute}
    )


async def test_dispute_is_shown_and_pushed_in_any_order_of_its_events(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    for order in permutations((SCORING, DONE)):
        session_id = await _open_session(client)
        await deliver_event(service, _generated(session_id, user_id))
        before = (await client.get(f"/sessions/{session_id}/feedback")).json()
        for dispute in order:
            event = _disputed(session_id, user_id, dispute)
            assert (await deliver_event(service, event)).outcome is Outcome.DONE

        shown = (await client.get(f"/sessions/{session_id}/feedback")).json()
        assert before["dispute"] is None
        assert shown == before | {"dispute": DONE}
        pushed = [
            one.feedback.dispute
            for one in await emitted_events(service.database, SessionJudged)
            if one.session_id == session_id
        ]
        assert pushed[0] is None
        assert pushed[-1] is not None and pushed[-1].status == "done"
        assert len(pushed) == 2 + (order[0] is SCORING)


async def test_dispute_before_its_feedback_is_delivered_again(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open_session(client)
    event, event_id = _disputed(session_id, user_id, DONE), new_id()

    early = await deliver_event(service, event, event_id=event_id)
    await deliver_event(service, _generated(session_id, user_id))
    late = await deliver_event(service, event, event_id=event_id)

    assert (early.outcome, late.outcome) == (Outcome.RETRY, Outcome.DONE)
    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()
    assert shown["dispute"] == DONE


async def test_later_dispute_replaces_a_failed_one(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open_session(client)
    await deliver_event(service, _generated(session_id, user_id))
    failed = SCORING | {"status": "failed", "text": "Declined."}
    for dispute in (failed, LATER, SCORING):
        await deliver_event(service, _disputed(session_id, user_id, dispute))

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()
    assert shown["dispute"]["created_at"] == LATER["created_at"]


async def test_dispute_of_a_deleted_session_changes_nothing(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _open_session(client)
    await client.delete(f"/sessions/{session_id}")

    verdict = await deliver_event(service, _disputed(session_id, user_id, DONE))

    assert verdict.outcome is Outcome.DONE
    assert len(await emitted_events(service.database, SessionDeleted)) == 1
    assert await emitted_events(service.database, SessionJudged) == []
