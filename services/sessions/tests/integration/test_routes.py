"""The routes of sessions."""

from uuid import UUID

import httpx
import pytest

from coach_common.events.catalog import FeedbackGenerated
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event


async def _create_session(client: httpx.AsyncClient, title: str = "One") -> str:
    return (await client.post("/sessions", json={"title": title})).json()["id"]


async def _score(service: Service, session_id: str, user_id: UUID, score: int) -> None:
    await deliver_event(
        service,
        FeedbackGenerated(
            session_id=UUID(session_id),
            user_id=user_id,
            overall_score=score,
            communication_score=score,
            technical_score=None,
            clarity_score=score,
            strengths=[],
            improvements=[],
            detailed_feedback="Good.",
            evidence=[],
            delivery={},
            provider="local",
            model="rubric",
            rubric_version="1",
        ),
    )


async def test_session_response_has_all_contract_fields(client: httpx.AsyncClient) -> None:
    response = await client.post("/sessions", json={"title": " Mock ", "question": "Why us?"})

    assert response.status_code == 201
    session = response.json()
    assert session["title"] == "Mock"
    assert session["status"] == "not_completed"
    assert set(session) == {
        "id",
        "user_id",
        "kind",
        "title",
        "question",
        "question_id",
        "seniority",
        "role",
        "transcript",
        "audio_s3_key",
        "duration_seconds",
        "overall_score",
        "communication_score",
        "technical_score",
        "clarity_score",
        "status",
        "created_at",
        "updated_at",
        "completed_at",
    }
    assert session["created_at"].endswith("Z")


async def test_pagination_returns_all_sessions_newest_first(
    client: httpx.AsyncClient, clock: FakeClock
) -> None:
    made = []
    for number in range(5):
        made.append(await _create_session(client, f"Session {number}"))
        if number % 2:
            clock.advance(1)

    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/sessions", params=params)).json()
        seen += [session["id"] for session in page["sessions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == made[::-1]


async def test_improvement_is_newer_half_minus_older_half(
    service: Service, client: httpx.AsyncClient, user_id: UUID, clock: FakeClock
) -> None:
    for score in (40, 50, 99, 60, 71):
        session_id = await _create_session(client)
        await client.post(f"/sessions/{session_id}/complete", json={"transcript": "I did it."})
        await _score(service, session_id, user_id, score)
        clock.advance(60)
    await _create_session(client)

    stats = (await client.get("/sessions")).json()["stats"]

    assert stats == {"total": 6, "average": 64.0, "improvement": 20.5}


async def test_stats_are_zero_without_scores(client: httpx.AsyncClient) -> None:
    assert (await client.get("/sessions")).json() == {
        "sessions": [],
        "stats": {"total": 0, "average": 0.0, "improvement": 0.0},
        "next_cursor": None,
    }


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1000000000", "abc"])
async def test_invalid_limit_is_rejected(client: httpx.AsyncClient, limit: str) -> None:
    response = await client.get("/sessions", params={"limit": limit})

    assert response.status_code == 422
    assert "limit" in response.json()["detail"]


async def test_foreign_or_modified_cursor_is_rejected(
    service: Service, client: httpx.AsyncClient, issuer: TokenIssuer
) -> None:
    for _ in range(2):
        await _create_session(client)
    cursor = (await client.get("/sessions", params={"limit": 1})).json()["next_cursor"]
    flipped = ("A" if cursor[0] != "A" else "B") + cursor[1:]

    for bad in (flipped, "JyBPUiAxPTE", "…", cursor + "AAAA"):
        assert (await client.get("/sessions", params={"cursor": bad})).status_code == 422
    async with client_for(service, headers=issuer.bearer(new_id())) as bob:
        assert (await bob.get("/sessions", params={"cursor": cursor})).status_code == 422


async def test_other_users_session_returns_404(
    service: Service, client: httpx.AsyncClient, issuer: TokenIssuer
) -> None:
    theirs = await _create_session(client)
    async with client_for(service, headers=issuer.bearer(new_id())) as bob:
        for session_id in (theirs, str(new_id()), "nonsense", theirs.upper()):
            responses = [
                await bob.get(f"/sessions/{session_id}"),
                await bob.get(f"/sessions/{session_id}/feedback"),
                await bob.post(f"/sessions/{session_id}/complete", json={}),
                await bob.delete(f"/sessions/{session_id}"),
            ]
            assert {response.status_code for response in responses} == {404}
            assert {response.json()["detail"] for response in responses} == {"Session not found"}

    assert (await client.get(f"/sessions/{theirs}")).json()["status"] == "not_completed"


@pytest.mark.parametrize("seconds", [-1, 1e12, "3", True])
async def test_invalid_duration_is_rejected(client: httpx.AsyncClient, seconds: object) -> None:
    session_id = await _create_session(client)

    response = await client.post(
        f"/sessions/{session_id}/complete", json={"duration_seconds": seconds}
    )

    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize(("measured", "stored"), [(63.7, 64), (63.0, 63), (0.2, 0)])
async def test_measured_duration_is_rounded(
    client: httpx.AsyncClient, measured: float, stored: int
) -> None:
    in_body, in_query = [await _create_session(client) for _ in range(2)]

    body = await client.post(f"/sessions/{in_body}/complete", json={"duration_seconds": measured})
    query = await client.post(f"/sessions/{in_query}/complete?duration_seconds={measured}")

    assert body.json()["duration_seconds"] == query.json()["duration_seconds"] == stored


async def test_body_takes_precedence_over_query(client: httpx.AsyncClient) -> None:
    one, two, three = [await _create_session(client) for _ in range(3)]

    query = await client.post(f"/sessions/{one}/complete?duration_seconds=60")
    both = await client.post(
        f"/sessions/{two}/complete?duration_seconds=60", json={"duration_seconds": 61}
    )
    empty = await client.post(f"/sessions/{three}/complete")

    assert query.json()["duration_seconds"] == 60
    assert both.json()["duration_seconds"] == 61
    assert empty.json()["duration_seconds"] is None


async def test_other_users_audio_key_is_rejected(client: httpx.AsyncClient) -> None:
    session_id = await _create_session(client)

    response = await client.post(
        f"/sessions/{session_id}/complete",
        json={"audio_s3_key": f"uploads/{new_id()}/1764000000000_00000000.m4a"},
    )

    assert response.status_code == 404
    assert (await client.get(f"/sessions/{session_id}")).json()["status"] == "not_completed"


async def test_text_is_stored_and_returned_literally(client: httpx.AsyncClient) -> None:
    text = "'; DROP TABLE sessions; -- {{7*7}} ${jndi:x} %s 🎤 <script>"

    response = await client.post("/sessions", json={"title": text, "question": text})

    assert (response.json()["title"], response.json()["question"]) == (text, text)


async def test_missing_token_returns_401_problem(service: Service) -> None:
    async with client_for(service) as anonymous:
        response = await anonymous.get("/sessions")

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_validation_error_detail_names_the_fields(
    client: httpx.AsyncClient,
) -> None:
    response = await client.post("/sessions", json={"question": "x" * 3000})

    assert response.status_code == 422
    assert response.json()["detail"].startswith("title: Field required; question: ")
    assert [error["loc"][-1] for error in response.json()["errors"]] == ["title", "question"]
