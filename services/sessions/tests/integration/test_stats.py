"""The stored statistics and progress of a user equal what the user's sessions yield."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from statistics import mean
from uuid import UUID

import httpx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from coach_common.db.database import Database
from coach_common.db.migrate import upgrade
from coach_common.events.base import Event
from coach_common.events.catalog import FeedbackGenerated, UserDeleted
from coach_common.ids import new_id
from coach_common.messaging.dispatch import Outcome
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import deliver_event
from coach_sessions import stats_store
from coach_sessions.domain import Stats
from coach_sessions.tables import (
    PRACTICE_DAYS,
    PROGRESS_ENTRIES,
    PROGRESS_TOTALS,
    SESSION_STATS,
    SESSIONS,
)

_SESSION_COUNT = 6
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "complete", "score", "score", "rate", "delete"]),
        st.integers(0, _SESSION_COUNT - 1),
        st.one_of(st.none(), st.integers(0, 100)),
    ),
    max_size=14,
)
_START = datetime(2026, 11, 24, tzinfo=UTC)
_SCORED = [("create", 0, 0), ("complete", 0, 0), ("score", 0, 40)]


def _feedback(session_id: UUID, user_id: UUID, score: int | None) -> FeedbackGenerated:
    return FeedbackGenerated(
        session_id=session_id,
        user_id=user_id,
        overall_score=score,
        communication_score=score,
        technical_score=None,
        clarity_score=score,
        strengths=[],
        improvements=[],
        detailed_feedback="Good.",
        evidence=[],
        delivery={"pace": {"value": 150.0}},
        provider="local",
        model="rubric",
        rubric_version="1",
    )


async def _deliver(service: Service, event: Event) -> None:
    event_id = new_id()
    for _ in range(10):
        if (await deliver_event(service, event, event_id=event_id)).outcome is not Outcome.RETRY:
            return
    raise AssertionError(f"{event.type} was never handled")


async def _read_scores(database: Database, user_id: UUID) -> list[int | None]:
    columns = SESSIONS.c
    async with database.read_only() as tx:
        rows = await tx.fetch_all(
            select(columns.overall_score)
            .where(columns.user_id == user_id)
            .order_by(columns.created_at, columns.id)
        )
    return [row["overall_score"] for row in rows]


def _expected(scores: list[int | None]) -> dict[str, float]:
    scored = [score for score in scores if score is not None]
    half = len(scored) // 2
    improvement = mean(scored[-half:]) - mean(scored[:half]) if half else 0
    return {
        "total": len(scores),
        "average": round(mean(scored), 2) if scored else 0,
        "improvement": round(improvement, 2),
    }


async def _assert_equal(service: Service, user_id: UUID) -> None:
    assert service.database is not None
    scores = await _read_scores(service.database, user_id)
    async with service.database.read_only() as tx:
        stats = await stats_store.get_stats(tx, user_id)
        assert stats == await stats_store.compute_stats(tx, user_id)
    shown = {"total": stats.total, "average": stats.average, "improvement": stats.improvement}
    assert shown == _expected(scores)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=_STEPS)
@example(
    steps=[
        *_SCORED,
        ("create", 1, 0),
        ("score", 1, 90),
        ("rate", 1, 0),
        ("complete", 1, 60),
        ("delete", 0, 0),
    ]
)
async def test_stored_stats_and_progress_equal_sessions_after_any_steps(
    service: Service,
    client: httpx.AsyncClient,
    issuer: TokenIssuer,
    clock: FakeClock,
    check_progress: Callable[[UUID], Awaitable[int]],
    steps: list[tuple[str, int, int | None]],
) -> None:
    """Scores may arrive before the completion, after the deletion, twice and at the same time."""
    user_id = new_id()
    headers = issuer.bearer(user_id)
    sessions: dict[int, UUID] = {}
    for action, number, score in steps:
        if action == "create" or number not in sessions:
            body = {"title": "One", "question": "Why?"}
            response = await client.post("/sessions", json=body, headers=headers)
            sessions[number] = UUID(response.json()["id"])
            clock.advance(number % 3 * 700)
        session_id = sessions[number]
        if action == "complete":
            answer = {"transcript": "I fixed the build.", "duration_seconds": score or 0}
            await client.post(f"/sessions/{session_id}/complete", json=answer, headers=headers)
        elif action == "score":
            await _deliver(service, _feedback(session_id, user_id, score))
        elif action == "rate":
            rating = {"rating": 100 - (score or 0)}
            await client.put(f"/sessions/{session_id}/self-rating", json=rating, headers=headers)
        elif action == "delete":
            await client.delete(f"/sessions/{session_id}", headers=headers)
        await _assert_equal(service, user_id)
        await check_progress(user_id)
    late = [_feedback(session_id, user_id, 50) for session_id in sessions.values()]
    await asyncio.gather(*(_deliver(service, event) for event in late))
    await _assert_equal(service, user_id)
    await check_progress(user_id)

    await _deliver(service, UserDeleted(user_id=user_id))
    await _deliver(service, _feedback(new_id(), user_id, 50))

    assert service.database is not None
    async with service.database.read_only() as tx:
        assert await stats_store.get_stats(tx, user_id) == Stats()
        for table in (SESSION_STATS, PROGRESS_ENTRIES, PROGRESS_TOTALS, PRACTICE_DAYS):
            assert await tx.fetch_one(select(table).where(table.c.user_id == user_id)) is None


async def test_migration_computes_stats_of_existing_sessions(database_url: str) -> None:
    database = Database(database_url, source="sessions")
    await upgrade(database, "coach_sessions", revision="2026_11_26_restartable")
    scores: dict[UUID, list[int | None]] = {
        new_id(): [40, 50, None, 99, 60, 71],
        new_id(): [10, 20],
        new_id(): [None],
    }
    async with database.transaction() as tx:
        for user_id, user_scores in scores.items():
            for number, score in enumerate(user_scores):
                values = {
                    "id": new_id(), "user_id": user_id, "title": "One", "overall_score": score,
                    "created_at": _START + timedelta(seconds=number), "updated_at": _START,
                    "status": "ready", "published_fingerprints": "{}",
                }  # fmt: skip
                await tx.execute(insert(SESSIONS).values(values))

    await upgrade(database, "coach_sessions")

    async with database.read_only() as tx:
        for user_id, user_scores in scores.items():
            stats = await stats_store.get_stats(tx, user_id)
            shown = (stats.total, stats.average, stats.improvement)
            assert shown == tuple(_expected(user_scores).values())
            assert stats == await stats_store.compute_stats(tx, user_id)
    await database.close()
