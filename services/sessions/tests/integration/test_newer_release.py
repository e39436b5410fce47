"""Rows that a newer release wrote can be read: deployments are rolling and may be rolled back."""

import json
from uuid import UUID

import httpx
from sqlalchemy import select, update

from coach_common.events.catalog import FeedbackGenerated
from coach_common.service import Service
from coach_common.testing.harness import deliver_event
from coach_sessions.tables import SESSIONS

FEEDBACK = {
    "overall_score": 70,
    "communication_score": 70,
    "technical_score": None,
    "clarity_score": 70,
    "strengths": [],
    "improvements": [],
    "detailed_feedback": "Good.",
    "evidence": [],
    "delivery": {"pace": {"value": 150.0, "unit": "words/min"}},
    "provider": "local",
    "model": "rubric",
    "rubric_version": "1",
    "audio": {
        "duration_seconds": 61.5,
        "heard_seconds": 60.0,
        "gaps": [{"start": 3.0, "end": 4.5, "reason": "damaged"}],
    },
}


async def _create_session(client: httpx.AsyncClient) -> str:
    return (await client.post("/sessions", json={"title": "One"})).json()["id"]


async def test_stored_feedback_with_unknown_keys_is_returned(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    await client.post(f"/sessions/{session_id}/complete", json={"transcript": "I fixed it."})
    event = FeedbackGenerated(session_id=UUID(session_id), user_id=user_id, **FEEDBACK)
    await deliver_event(service, event)
    before = (await client.get(f"/sessions/{session_id}/feedback")).json()
    assert service.database is not None
    async with service.database.transaction() as tx:
        stored = json.loads(await tx.scalar(select(SESSIONS.c.feedback)))
        stored["added_later"] = 1
        stored["audio"]["gaps"][0]["added_later"] = 1
        stored["delivery"]["pace"]["added_later"] = [2]
        prints = json.loads(await tx.scalar(select(SESSIONS.c.published_fingerprints)))
        await tx.execute(
            update(SESSIONS).values(
                feedback=json.dumps(stored),
                published_fingerprints=json.dumps(prints | {"added_later": "x"}),
            )
        )

    answer = await client.get(f"/sessions/{session_id}/feedback")

    assert (answer.status_code, answer.json()) == (200, before)
    assert (before["status"], before["delivery"]) == ("ready", FEEDBACK["delivery"])
    assert before["audio"] == FEEDBACK["audio"]


async def test_feedback_of_older_release_keeps_its_text(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session_id = await _create_session(client)
    await client.post(f"/sessions/{session_id}/complete", json={"transcript": "I fixed it."})
    event = FeedbackGenerated(session_id=UUID(session_id), user_id=user_id, **FEEDBACK)
    await deliver_event(service, event)
    assert service.database is not None
    async with service.database.transaction() as tx:
        stored = json.loads(await tx.scalar(select(SESSIONS.c.feedback)))
        del stored["answer"]
        await tx.execute(update(SESSIONS).values(feedback=json.dumps(stored | {"delivery": {}})))

    shown = (await client.get(f"/sessions/{session_id}/feedback")).json()

    assert (shown["status"], shown["transcript"]) == ("ready", "I fixed it.")
    assert shown["delivery"]["status"] == "not_measurable"
