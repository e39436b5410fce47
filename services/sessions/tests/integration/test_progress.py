"""Self-ratings, `GET /progress`, and the rebuild of its rows."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import delete, insert, select, update

from coach_common.errors import DatabaseUnavailable
from coach_common.events.catalog import FeedbackGenerated, UserDeleted
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import deliver_event
from coach_sessions import progress_store, progress_use_cases
from coach_sessions.tables import PRACTICE_DAYS, PROGRESS_ENTRIES, PROGRESS_TOTALS, SESSIONS

Answer = Callable[..., Awaitable[str]]


@pytest.fixture
def answer(client: httpx.AsyncClient, service: Service, user_id: UUID) -> Answer:
    """Creates a session, and completes and scores it as the arguments say."""

    async def create(
        *,
        rating: int | None = None,
        score: int | None = None,
        level: float = 4,
        is_scored: bool = True,
        model: str = "rubric",
        seconds: int | None = 90,
    ) -> str:
        body = {"title": "One", "question": "Why us?"}
        session_id: str = (await client.post("/sessions", json=body)).json()["id"]
        text = {"transcript": "I read the handbook.", "duration_seconds": seconds}
        await client.post(f"/sessions/{session_id}/complete", json=text)
        if rating is not None:
            rated = await client.put(f"/sessions/{session_id}/self-rating", json={"rating": rating})
            assert rated.status_code == 200, rated.text
        event = {
            "session_id": session_id, "user_id": user_id, "overall_score": score,
            "communication_score": score, "technical_score": None, "clarity_score": score,
            "strengths": [], "improvements": [], "detailed_feedback": "Good.", "evidence": [],
            "delivery": {"pace": {"value": 150.0}}, "provider": "local", "model": model,
            "rubric_version": "1",
            "audio": {"duration_seconds": 61.5, "heard_seconds": 61.5},
            "dimensions": [{"name": "structure", "level": level, "weight": 0.4}],
        }  # fmt: skip
        if is_scored:
            await deliver_event(service, FeedbackGenerated.model_validate(event))
        return session_id

    return create


async def _rate(client: httpx.AsyncClient, session_id: str, rating: object) -> httpx.Response:
    return await client.put(f"/sessions/{session_id}/self-rating", json={"rating": rating})


async def _get_progress(client: httpx.AsyncClient, tz: str = "UTC") -> dict[str, Any]:
    response = await client.get("/progress", params={"tz": tz})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_self_rating_can_be_changed_until_the_score_is_shown(
    client: httpx.AsyncClient, answer: Answer, clock: FakeClock
) -> None:
    session_id = await answer(is_scored=False)
    for path in ("", "/feedback", "/attempts"):
        await client.get(f"/sessions/{session_id}{path}")
    await client.get("/sessions")

    first, second = [await _rate(client, session_id, rating) for rating in (0, 100)]

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json() == {
        "session_id": session_id,
        "rating": 100,
        "rated_at": clock().isoformat().replace("+00:00", "Z"),
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sessions/{}"),
        ("GET", "/sessions/{}/feedback"),
        ("GET", "/sessions/{}/attempts"),
        ("GET", "/sessions"),
        ("POST", "/sessions/{}/complete"),
    ],
)
async def test_response_with_a_score_ends_self_rating(
    client: httpx.AsyncClient, answer: Answer, method: str, path: str
) -> None:
    session_id = await answer(rating=60, score=70)
    shown = await client.request(method, path.format(session_id))

    refused = await _rate(client, session_id, 71)

    assert shown.status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (409, "feedback_revealed")
    (attempt,) = (await client.get(f"/sessions/{session_id}/attempts")).json()["attempts"]
    assert (attempt["self_rating"], attempt["self_rating_gap"]) == (60, -10)


@pytest.mark.parametrize("rating", [-1, 101, 1.5, "high", None])
async def test_invalid_self_rating_returns_422(
    client: httpx.AsyncClient, answer: Answer, rating: object
) -> None:
    assert (await _rate(client, await answer(is_scored=False), rating)).status_code == 422


async def test_self_rating_of_foreign_session_returns_404(
    client: httpx.AsyncClient, answer: Answer, issuer: TokenIssuer
) -> None:
    path = f"/sessions/{await answer(is_scored=False)}/self-rating"

    refused = await client.put(path, json={"rating": 5}, headers=issuer.bearer(new_id()))

    assert (refused.status_code, refused.json()["code"]) == (404, "session_not_found")


async def test_score_is_shown_if_the_reveal_cannot_be_stored(
    client: httpx.AsyncClient, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await answer(score=70)

    async def fail(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("The database is out of disk space.")

    monkeypatch.setattr(progress_store, "mark_revealed", fail)

    shown = await client.get(f"/sessions/{session_id}/feedback")

    assert (shown.status_code, shown.json()["overall_score"]) == (200, 70)


async def test_progress_of_a_new_user_is_empty(client: httpx.AsyncClient) -> None:
    assert await _get_progress(client) == {
        "practice": {
            "sessions": 0,
            "seconds": 0,
            "seconds_last_7_days": 0,
            "seconds_last_30_days": 0,
        },
        "streak": {"days": 0, "has_practised_today": False, "tz": "UTC"},
        "trends": [],
        "is_same_scorer": True,
        "self_assessment": {
            "gap": None,
            "text": "There is no self-rating of a scored answer yet.",
            "sessions": [],
        },
        "weaknesses": [],
        "next_drill": None,
    }


async def test_progress_shows_trends_practice_streak_gap_and_weaknesses(
    client: httpx.AsyncClient, answer: Answer, clock: FakeClock
) -> None:
    created = []
    for score, rating in ((50, 70), (None, 40), (60, None), (70, 90)):
        created.append(await answer(score=score, rating=rating, level=2))
        clock.advance(34 * 3600)

    progress = await _get_progress(client)

    assert progress["practice"] == {
        "sessions": 4,
        "seconds": 360,
        "seconds_last_7_days": 360,
        "seconds_last_30_days": 360,
    }
    overall, structure = (progress["trends"][number] for number in (0, -1))
    assert (overall["name"], overall["recent"]["n"], overall["recent"]["mean"]) == (
        "overall",
        3,
        60,
    )
    assert (structure["kind"], structure["name"], structure["recent"]["mean"]) == (
        "dimension",
        "structure",
        2,
    )
    assert [
        (one["session_id"], one["rating"], one["score"], one["gap"])
        for one in progress["self_assessment"]["sessions"]
    ] == [(created[3], 90, 70, 20), (created[0], 70, 50, 20)]
    assert progress["self_assessment"]["gap"]["mean"] == 20
    (weakness,) = progress["weaknesses"]
    assert (weakness["name"], weakness["session_ids"]) == (
        "structure",
        [created[3], created[2], created[0]],
    )
    assert progress["next_drill"]["dimension"] == "structure"


async def test_progress_of_two_scorers_is_marked(client: httpx.AsyncClient, answer: Answer) -> None:
    await answer(score=50)
    before = await _get_progress(client)
    await answer(score=60, model="rubric-2")

    after = await _get_progress(client)

    assert (before["is_same_scorer"], after["is_same_scorer"]) == (True, False)


async def test_practice_without_duration_lasts_as_long_as_the_recording(
    client: httpx.AsyncClient, answer: Answer
) -> None:
    await answer(score=50, seconds=None)
    await answer(seconds=None, is_scored=False)

    assert (await _get_progress(client))["practice"]["seconds"] == 62


async def test_streak_counts_days_of_the_time_zone(
    client: httpx.AsyncClient, answer: Answer, clock: FakeClock
) -> None:
    """At 12:00 and 37 hours later. In Honolulu (UTC-10) these are consecutive days."""
    await answer(score=50)
    clock.advance(37 * 3600)
    await answer(score=50)

    streaks = {
        tz: (await _get_progress(client, tz))["streak"]["days"]
        for tz in ("UTC", "Pacific/Honolulu", "Asia/Kathmandu")
    }

    assert streaks == {"UTC": 1, "Pacific/Honolulu": 2, "Asia/Kathmandu": 1}
    invalid = await client.get("/progress?tz=Mars")
    assert (invalid.status_code, invalid.json()["detail"]) == (
        422,
        "tz: must be an IANA time zone such as Europe/Berlin",
    )


@pytest.mark.parametrize("days", [64, 150, 400])
async def test_long_streak_is_read_in_batches(
    client: httpx.AsyncClient, service: Service, user_id: UUID, clock: FakeClock, days: int
) -> None:
    today = int(clock().timestamp()) // 86_400
    rows = [
        {"user_id": user_id, "day": today - age, "seconds": 60, "quarters": '{"40":1}'}
        for age in (*range(days), *range(days + 1, days + 20))
    ]
    assert service.database is not None
    async with service.database.transaction() as tx:
        await tx.execute(insert(PRACTICE_DAYS), rows)

    streak = (await _get_progress(client, "America/New_York"))["streak"]

    assert streak["days"] == min(days, 366)


async def test_rebuild_restores_lost_and_wrong_rows(
    client: httpx.AsyncClient,
    service: Service,
    answer: Answer,
    user_id: UUID,
    clock: FakeClock,
    check_progress: Callable[[UUID], Awaitable[int]],
) -> None:
    created = [await answer(score=score, rating=50) for score in (40, 60, 80)]
    other_user = new_id()
    assert service.database is not None
    async with service.database.transaction() as tx:
        await tx.execute(update(SESSIONS).values(question_key=None))
        lost = PROGRESS_ENTRIES.c.session_id == UUID(created[0])
        await tx.execute(delete(PROGRESS_ENTRIES).where(lost))
        await tx.execute(update(PROGRESS_ENTRIES).values(answer=None, scored_at=None))
        await tx.execute(update(PROGRESS_TOTALS).values(sessions=99))
        await tx.execute(delete(PRACTICE_DAYS))
        row = {"user_id": other_user, "sessions": 3, "seconds": 5}
        await tx.execute(insert(PROGRESS_TOTALS), row)
        orphan = {
            "session_id": new_id(), "user_id": user_id, "created_at": clock(),
            "practised_at": clock(), "practice_seconds": 5,
        }  # fmt: skip
        await tx.execute(insert(PROGRESS_ENTRIES), orphan)

    printed = [await progress_use_cases.rebuild_progress(service.deps) for _ in range(2)]

    # The first run deletes the row of the user without sessions.
    assert printed == [
        f"Rebuilt the progress of {users} users from 3 sessions." for users in (2, 1)
    ]
    assert (await check_progress(user_id), await check_progress(other_user)) == (3, 0)
    page = (await client.get(f"/sessions/{created[0]}/attempts")).json()
    assert len(page["attempts"]) == 3


async def test_rebuild_leaves_no_row_of_a_user_who_was_deleted_meanwhile(
    service: Service, answer: Answer, user_id: UUID
) -> None:
    await answer(score=40)
    await deliver_event(service, UserDeleted(user_id=user_id))
    assert service.database is not None

    async with service.database.transaction() as tx:
        await progress_store.recount_practice(tx, user_id)

    async with service.database.read_only() as tx:
        for table in (PROGRESS_ENTRIES, PROGRESS_TOTALS, PRACTICE_DAYS):
            assert await tx.fetch_one(select(table)) is None


async def test_rebuild_while_events_arrive_keeps_all_of_them(
    service: Service,
    answer: Answer,
    user_id: UUID,
    check_progress: Callable[[UUID], Awaitable[int]],
) -> None:
    for number in range(8):
        await answer(score=50 + number)

    await asyncio.gather(
        *(answer(score=70, seconds=number) for number in range(4)),
        *(progress_use_cases.rebuild_progress(service.deps) for _ in range(2)),
    )

    assert await check_progress(user_id) == 12
