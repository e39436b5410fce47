"""Sessions that name a question of the bank, a level and a role."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from coach_common.events.catalog import FeedbackGenerated, SessionCompleted, SessionCreated
from coach_common.service import Service
from coach_common.testing.harness import deliver_event, emitted_events

ASKED = {"question_id": "db-index", "seniority": "senior", "role": "Backend engineer"}
SCORED = {
    "points": [
        {
            "id": "faster-reads",
            "text": "An index makes reads faster.",
            "importance": "must",
            "status": "covered",
            "quote": "It speeds up reads.",
            "start_seconds": 1.5,
            "end_seconds": 3.0,
            "misconception": None,
        }
    ],
    "dimensions": [{"name": "technical", "level": 4.5, "weight": 0.35}],
    "score_spread": 2.5,
    "prompt_version": "abc",
    "question_type": "knowledge",
    "seniority": "senior",
}


async def test_session_without_question_asks_text_of_its_question_id(
    client: httpx.AsyncClient,
) -> None:
    created = await client.post("/sessions", json={"title": "T"} | ASKED)

    assert created.status_code == 201
    shown = (await client.get(f"/sessions/{created.json()['id']}")).json()
    assert shown["question"] == "What is an index?"
    assert {name: shown[name] for name in ASKED} == ASKED


async def test_question_of_client_is_kept_with_question_id(client: httpx.AsyncClient) -> None:
    body = {"title": "T", "question": "Indexes, please?", "question_id": "db-index"}

    created = await client.post("/sessions", json=body)

    assert created.json()["question"] == "Indexes, please?"


async def test_unknown_question_id_returns_404(client: httpx.AsyncClient) -> None:
    refused = await client.post("/sessions", json={"title": "T", "question_id": "no-such"})

    assert (refused.status_code, refused.json()["code"]) == (404, "question_not_found")
    assert (await client.get("/sessions")).json()["sessions"] == []


async def test_unavailable_bank_returns_503_for_sessions_with_question_id_only(
    client: httpx.AsyncClient, questions: Any
) -> None:
    questions.is_down = True

    assert (await client.post("/sessions", json={"title": "T"} | ASKED)).status_code == 503
    assert (await client.post("/sessions", json={"title": "T"})).status_code == 201


@pytest.mark.parametrize(
    "value", [{"question_id": "../x"}, {"question_id": "a" * 65}, {"seniority": "chief"}]
)
async def test_invalid_question_fields_return_422(
    client: httpx.AsyncClient, value: dict[str, str]
) -> None:
    assert (await client.post("/sessions", json={"title": "T"} | value)).status_code == 422


async def test_empty_question_fields_mean_none(client: httpx.AsyncClient) -> None:
    body = {"title": "T", "question_id": "", "seniority": "", "role": " "}

    created = (await client.post("/sessions", json=body)).json()

    assert [created[name] for name in ASKED] == [None, None, None]


async def test_events_carry_question_id_seniority_and_role(
    client: httpx.AsyncClient, service: Service
) -> None:
    session = (await client.post("/sessions", json={"title": "T"} | ASKED)).json()
    await client.post(f"/sessions/{session['id']}/complete", json={"transcript": "I read it."})

    (created,) = await emitted_events(service.database, SessionCreated)
    (completed,) = await emitted_events(service.database, SessionCompleted)
    for event in (created, completed):
        assert {name: getattr(event, name) for name in ASKED} == ASKED


async def test_feedback_shows_points_dimensions_and_versions(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    session = (await client.post("/sessions", json={"title": "T"} | ASKED)).json()
    await client.post(f"/sessions/{session['id']}/complete", json={"transcript": "I read it."})
    event = FeedbackGenerated(
        session_id=UUID(session["id"]),
        user_id=user_id,
        overall_score=70,
        communication_score=70,
        technical_score=80,
        clarity_score=70,
        strengths=[],
        improvements=[],
        detailed_feedback="Good.",
        evidence=[],
        delivery={},
        provider="local",
        model="rubric",
        rubric_version="1",
        **SCORED,
    )
    await deliver_event(service, event)

    shown = (await client.get(f"/sessions/{session['id']}/feedback")).json()

    assert shown["status"] == "ready"
    assert {name: shown[name] for name in SCORED} == SCORED
