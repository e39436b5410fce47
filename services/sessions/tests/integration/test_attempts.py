"""`GET /sessions/{id}/attempts`, and the key that finds attempts."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import insert, select

from coach_common.db.database import Database
from coach_common.db.migrate import upgrade
from coach_common.events.catalog import FeedbackGenerated
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import deliver_event
from coach_sessions.attempts import build_question_key
from coach_sessions.tables import SESSIONS

QUESTION = "Tell me about a conflict."


async def _attempt(
    client: httpx.AsyncClient,
    service: Service,
    user_id: UUID,
    score: int | None = None,
    question: str = QUESTION,
    **feedback: Any,
) -> str:
    body = {"title": "One", "question": question}
    session_id = (await client.post("/sessions", json=body)).json()["id"]
    if score is not None:
        await client.post(f"/sessions/{session_id}/complete", json={"transcript": "I did it."})
        fields: dict[str, Any] = {
            "session_id": session_id, "user_id": user_id, "overall_score": score,
            "communication_score": score, "technical_score": None, "clarity_score": 50,
            "strengths": [], "improvements": [], "detailed_feedback": "Good.", "evidence": [],
            "delivery": {"pace": {"value": 150.0}}, "provider": "local", "model": "rubric",
            "rubric_version": "1", "score_spread": 3.5,
        }  # fmt: skip
        await deliver_event(service, FeedbackGenerated.model_validate(fields | feedback))
    return str(session_id)


async def _list(client: httpx.AsyncClient, session_id: str, query: str = "") -> dict[str, Any]:
    response = await client.get(f"/sessions/{session_id}/attempts{query}")
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_attempts_show_scores_and_change_to_the_scored_attempt_before(
    client: httpx.AsyncClient, service: Service, user_id: UUID, issuer: TokenIssuer
) -> None:
    points = [{"id": "p", "text": "A result.", "status": "missing"}]
    levels = [{"name": "structure", "level": 2.5, "weight": 0.4}]
    first = await _attempt(client, service, user_id, 50, dimensions=levels, points=points)
    open_one = await _attempt(client, service, user_id, question=f"  {QUESTION.upper()}")
    await _attempt(client, service, user_id, 90, question="Another question?")
    levels, points = [levels[0] | {"level": 4}], [points[0] | {"status": "covered"}]
    last = await _attempt(client, service, user_id, 70, dimensions=levels, points=points)
    other = issuer.bearer(new_id())
    body = {"title": "Foreign", "question": QUESTION}
    await client.post("/sessions", json=body, headers=other)

    page = await _list(client, open_one)

    assert [one["session_id"] for one in page["attempts"]] == [last, open_one, first]
    newest, waiting, oldest = page["attempts"]
    assert (newest["overall_score"], newest["status"], oldest["change"]) == (70, "ready", None)
    assert (newest["dimensions"], newest["points"][0]["status"]) == (levels, "covered")
    assert (waiting["status"], waiting["overall_score"], waiting["change"]) == (
        "not_completed",
        None,
        None,
    )
    change = newest["change"]
    assert (change["previous_session_id"], change["spread"], change["is_same_scorer"]) == (
        first,
        3.5,
        True,
    )
    assert {one["name"]: (one["difference"], one["verdict"]) for one in change["scores"]} == {
        "overall": (20, "better"),
        "communication": (20, "better"),
        "clarity": (0, "no_clear_change"),
    }
    assert [one["text"] for one in change["dimensions"]] == [
        "The level of structure rose from 2.5 to 4."
    ]
    assert change["summary"] == (
        "The overall score rose from 50 to 70. Better: structure."
        " “A result.” was missing and is now covered."
    )
    foreign = await client.get(f"/sessions/{first}/attempts", headers=other)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "session_not_found")


async def test_attempts_are_paged_and_compared_across_pages(
    client: httpx.AsyncClient, service: Service, user_id: UUID, clock: FakeClock
) -> None:
    created = []
    for score in (50, None, 60, 70, 62):
        created.append(await _attempt(client, service, user_id, score))
        clock.advance(1)

    listed, query = [], "?limit=2"
    while True:
        page = await _list(client, created[0], query)
        listed += page["attempts"]
        if page["next_cursor"] is None:
            break
        query = f"?limit=2&cursor={page['next_cursor']}"

    assert [one["session_id"] for one in listed] == created[::-1]
    assert [one["change"] and one["change"]["scores"][0]["difference"] for one in listed] == [
        -8,
        10,
        10,
        None,
        None,
    ]
    listed_at_once = (await _list(client, created[0]))["attempts"]
    assert listed_at_once == listed
    invalid = await client.get(f"/sessions/{created[0]}/attempts?cursor=abc")
    assert invalid.status_code == 422


async def test_session_without_question_is_its_only_attempt(
    client: httpx.AsyncClient, service: Service, user_id: UUID
) -> None:
    ids = [await _attempt(client, service, user_id, 50, question="") for _ in range(2)]

    (only,) = (await _list(client, ids[0]))["attempts"]

    assert (only["session_id"], only["change"]) == (ids[0], None)


@pytest.mark.parametrize(
    ("question_id", "question"),
    [(None, None), (None, " What’s  C++? "), ("db-index", "What is an index?")],
)
async def test_migration_computes_keys_of_existing_sessions(
    database_url: str, question_id: str | None, question: str | None
) -> None:
    database = Database(database_url, source="sessions")
    await upgrade(database, "coach_sessions", revision="2026_11_26_deletions")
    session_id, now = new_id(), FakeClock()()
    values = {
        "id": session_id, "user_id": new_id(), "title": "One", "question": question,
        "question_id": question_id, "created_at": now, "updated_at": now,
        "status": "ready", "published_fingerprints": "{}",
    }  # fmt: skip
    async with database.transaction() as tx:
        await tx.execute(insert(SESSIONS).values(values))

    await upgrade(database, "coach_sessions")

    async with database.read_only() as tx:
        key = await tx.scalar(select(SESSIONS.c.question_key))
    await database.close()
    assert key == build_question_key(session_id, question_id, question)
