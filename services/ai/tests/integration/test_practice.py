"""What to practise next, from scored answers to suggestions, sets, bookmarks and deletions."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from coach_ai.deps import Deps
from coach_ai.domain import DimensionLevel, Feedback, JobKind
from coach_ai.domain.bookmarks import MAX_BOOKMARKS
from coach_ai.interview.plan import estimate_minutes
from coach_ai.practice.schedule import MAX_REVIEWS
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.store import practice
from coach_ai.tables import BOOKMARKS, QUESTION_CARDS, QUESTION_REVIEWS
from coach_ai.use_cases import feedback, jobs
from coach_common.events.catalog import (
    SessionCompleted,
    SessionCreated,
    SessionDeleted,
    UserDeleted,
)
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event

NEXT = "/questions/next"
OWN = {"text": "How do you test a queue?", "type": "knowledge", "field": "testing"}
HOUR_SECONDS, DAY_SECONDS = 3600, 86_400


def make_feedback(score: int | None, **more: Any) -> Feedback:
    """Return feedback with this overall score."""
    return Feedback(score, score, None, score, (), "Text.", "scripted", "s1", "1", **more)


async def answer(
    service: Service, coach: Any, user_id: UUID, question_id: str, score: int | None, **more: Any
) -> UUID:
    """Score an answer to a question, and return its session."""
    session_id = new_id()
    coach.feedbacks.append(make_feedback(score, **more))
    named = {"session_id": session_id, "user_id": user_id, "title": "T", "question_id": question_id}
    await deliver_event(service, SessionCreated(**named))
    completed = SessionCompleted(
        **named, question="Q?", duration_seconds=None, transcript="An answer of some words."
    )
    await deliver_event(service, completed)
    job = await jobs.FairScheduler("test").claim(service.deps, JobKind.FEEDBACK)
    assert job is not None
    await jobs.run_job(service.deps, job, feedback.score_session, feedback.fail_feedback)
    return session_id


async def _next(client: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    response = await client.get(NEXT, params=params)
    assert response.status_code == 200, response.text
    suggestion: dict[str, Any] = response.json()
    return suggestion


def _count_suggestions(reason: str) -> float:
    labels = {"reason": reason}
    return REGISTRY.get_sample_value("coach_ai_next_questions_total", labels) or 0.0


async def _rows(deps: Deps, table: Any) -> list[dict[str, Any]]:
    async with deps.db.read_only() as tx:
        return [dict(row) for row in await tx.fetch_all(select(table))]


async def test_new_user_gets_a_new_question_of_the_bank(client: httpx.AsyncClient) -> None:
    counted = _count_suggestions("new")
    suggested = await _next(client, field="databases", seniority="junior")

    assert _count_suggestions("new") == counted + 1
    question = (await client.get(f"/questions/{suggested['id']}")).json()
    assert suggested == question | {
        "reason_code": "new",
        "reason": "New: you have not answered it yet.",
        "due_at": None,
        "last_score": None,
    }
    assert (question["field"], "junior" in question["seniority"]) == ("databases", True)


async def test_weak_question_is_suggested_again_but_never_twice_in_a_row(
    service: Service, client: httpx.AsyncClient, coach: Any, user_id: UUID, clock: FakeClock
) -> None:
    low = {"dimensions": (DimensionLevel("structure", 2.0, 1.0),)}
    await answer(service, coach, user_id, "db-index", 90)
    for score in (35, 30, 45):
        clock.advance(1)
        await answer(service, coach, user_id, "db-index", score, **low)
    clock.advance(HOUR_SECONDS)

    other = await _next(client)
    repeated = await _next(client, repeat=True)
    await answer(service, coach, user_id, other["id"], 90)
    again = await _next(client)
    after = await _next(client, after="db-index")

    assert (other["field"], other["reason_code"]) == ("databases", "new")
    assert other["reason"] == "New: your answers about databases average 45 points."
    assert (repeated["id"], repeated["reason_code"], repeated["last_score"]) == (
        "db-index", "weak", 45,
    )  # fmt: skip
    assert again["id"] == "db-index"
    assert again["reason"] == "Weak: structure below level 3 in 3 of the last 3 answers."
    assert after["id"] not in ("db-index", other["id"])


async def test_question_of_an_unfinished_session_is_not_suggested(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    first = (await _next(client))["id"]
    started = SessionCreated(session_id=new_id(), user_id=user_id, title="T", question_id=first)
    await deliver_event(service, started)

    second = (await _next(client))["id"]
    repeated = (await _next(client, repeat=True))["id"]
    in_parallel = await asyncio.gather(*(_next(client) for _ in range(4)))

    assert (first == second, repeated) == (False, first)
    assert [one["id"] for one in in_parallel] == [second] * 4


async def test_known_question_is_due_again_after_its_interval(
    service: Service, client: httpx.AsyncClient, coach: Any, user_id: UUID, clock: FakeClock
) -> None:
    answered_at = clock()
    await answer(service, coach, user_id, "db-index", 70)
    clock.advance(1)
    await answer(service, coach, user_id, "ds-cap", 95)
    before = await _next(client)
    clock.advance(4 * DAY_SECONDS + 60)

    due = await _next(client)

    assert before["id"] not in ("db-index", "ds-cap")
    assert (due["id"], due["reason_code"], due["reason"]) == (
        "db-index", "due", "Due again for 2 days.",
    )  # fmt: skip
    assert datetime.fromisoformat(due["due_at"]) == answered_at + timedelta(days=2)


async def test_answer_without_score_changes_nothing(
    service: Service, deps: Deps, coach: Any, user_id: UUID
) -> None:
    await answer(service, coach, user_id, "db-index", None)
    await answer(service, coach, user_id, "no-such-question", 40)

    assert await _rows(deps, QUESTION_CARDS) == await _rows(deps, QUESTION_REVIEWS) == []


async def test_score_that_replaces_another_counts_once(
    deps: Deps, user_id: UUID, clock: FakeClock
) -> None:
    question, answer_id = load_question_bank()["db-index"], new_id()
    for score in (30, 90):
        async with deps.db.transaction() as tx:
            await practice.record_answer(
                tx, user_id, question, make_feedback(score), answer_id=answer_id, at=clock()
            )
    (card,), (review,) = await _rows(deps, QUESTION_CARDS), await _rows(deps, QUESTION_REVIEWS)
    other_user = new_id()
    async with deps.db.transaction() as tx:
        await practice.record_answer(
            tx, other_user, question, make_feedback(90), answer_id=new_id(), at=clock()
        )
        expected = (await practice.list_cards(tx, other_user))["db-index"]

    assert (review["score"], card["last_score"]) == (90, 90)
    assert (card["due_at"], card["stability_days"]) == (expected.due_at, expected.stability_days)


async def test_answers_stored_at_the_same_time_all_count(
    deps: Deps, user_id: UUID, clock: FakeClock
) -> None:
    question = load_question_bank()["db-index"]

    async def store() -> None:
        async with deps.db.transaction() as tx:
            await practice.record_answer(
                tx, user_id, question, make_feedback(70), answer_id=new_id(), at=clock()
            )

    results = await asyncio.gather(*(store() for _ in range(4)), return_exceptions=True)

    stored = results.count(None)
    (card,) = await _rows(deps, QUESTION_CARDS)
    reviews = await _rows(deps, QUESTION_REVIEWS)
    async with deps.db.transaction() as tx:
        # The card is what the stored reviews give, whatever the order of the transactions.
        await practice.erase_answer(tx, new_id(), user_id)
        await practice.record_answer(
            tx, user_id, question, make_feedback(70), answer_id=reviews[0]["answer_id"], at=clock()
        )
    assert stored == len(reviews) >= 1
    assert await _rows(deps, QUESTION_CARDS) == [card]


async def test_number_of_reviews_of_a_question_is_limited(
    deps: Deps, user_id: UUID, clock: FakeClock
) -> None:
    question = load_question_bank()["db-index"]
    async with deps.db.transaction() as tx:
        for _ in range(MAX_REVIEWS + 2):
            clock.advance(DAY_SECONDS)
            await practice.record_answer(
                tx, user_id, question, make_feedback(70), answer_id=new_id(), at=clock()
            )

    reviews = await _rows(deps, QUESTION_REVIEWS)
    assert len(reviews) == MAX_REVIEWS
    assert max(one["answered_at"] for one in reviews) == clock()


async def test_deleted_session_loses_its_effect_on_the_schedule(
    service: Service, deps: Deps, coach: Any, user_id: UUID, clock: FakeClock
) -> None:
    await answer(service, coach, user_id, "db-index", 70)
    (before,) = await _rows(deps, QUESTION_CARDS)
    clock.advance(HOUR_SECONDS)
    weak = await answer(service, coach, user_id, "db-index", 20)
    other = await answer(service, coach, user_id, "ds-cap", 20)

    for session_id in (weak, other):
        await deliver_event(
            service, SessionDeleted(session_id=session_id, user_id=user_id, audio_s3_keys=[])
        )

    assert await _rows(deps, QUESTION_CARDS) == [before]
    assert len(await _rows(deps, QUESTION_REVIEWS)) == 1


async def test_interview_counts_each_answer_once(
    client: httpx.AsyncClient, deps: Deps, coach: Any
) -> None:
    body = {"title": "Mock", "interview_type": "behavioral", "question_limit": 2}
    path = "/ai-interview/sessions"
    started = (await client.post(path, json=body)).json()
    path = f"{path}/{started['session_id']}"
    coach.feedbacks.append(make_feedback(50, star={"action": "I did it.", "result": None}))
    for _ in range(2):
        await client.post(f"{path}/message", json={"message": "I did it. It was good."})
    await client.post(f"{path}/complete")
    first = await _rows(deps, QUESTION_REVIEWS)
    coach.feedbacks += [make_feedback(30), make_feedback(None)]

    await client.post(f"{path}/assess")
    again = await _rows(deps, QUESTION_REVIEWS)

    (asked,) = {one["question_id"] for one in first}
    assert [one["score"] for one in first] == [70]
    assert [(one["question_id"], one["score"]) for one in again] == [(asked, 30)]
    assert (await _next(client))["id"] != asked

    await client.delete(path)

    assert await _rows(deps, QUESTION_CARDS) == await _rows(deps, QUESTION_REVIEWS) == []


async def test_suggestion_keeps_to_the_conditions(client: httpx.AsyncClient) -> None:
    design = await _next(client, interview_type="system_design")
    of_set = await _next(client, set="ten-minutes-before", after="general-about-yourself")
    empty = await client.get(
        NEXT, params={"field": "", "seniority": "", "interview_type": "", "set": "", "after": ""}
    )
    none = await client.get(NEXT, params={"field": "no-such-field"})
    no_set = await client.get(NEXT, params={"set": "no-such-set"})

    assert (design["type"], of_set["id"], empty.status_code) == (
        "case", "general-why-this-job", 200,
    )  # fmt: skip
    assert (none.status_code, none.json()["code"]) == (404, "no_matching_question")
    assert (no_set.status_code, no_set.json()["code"]) == (404, "question_set_not_found")


async def test_question_of_a_real_interview_is_preferred(client: httpx.AsyncClient) -> None:
    asked = {"asked_at": "2026-11-20", "asked_by": "Example Ltd."}
    await client.post("/questions", json=OWN)
    created = (await client.post("/questions", json=OWN | asked)).json()

    suggested = await _next(client)

    assert (created["asked_at"], created["asked_by"]) == ("2026-11-20", "Example Ltd.")
    assert suggested["id"] == created["id"]
    expected = "New: asked in a real interview by Example Ltd. on 2026-11-20."
    assert suggested["reason"] == expected


async def test_deleted_own_question_is_forgotten(
    service: Service, deps: Deps, client: httpx.AsyncClient, coach: Any, user_id: UUID
) -> None:
    question_id = (await client.post("/questions", json=OWN)).json()["id"]
    await answer(service, coach, user_id, question_id, 30)
    await client.put(f"/questions/{question_id}/bookmark", json={})
    assert len(await _rows(deps, QUESTION_CARDS)) == len(await _rows(deps, BOOKMARKS)) == 1

    await client.delete(f"/questions/{question_id}")

    for table in (QUESTION_CARDS, QUESTION_REVIEWS, BOOKMARKS):
        assert await _rows(deps, table) == []


async def test_sets_show_the_state_of_each_question(
    service: Service, client: httpx.AsyncClient, coach: Any, user_id: UUID
) -> None:
    await answer(service, coach, user_id, "general-about-yourself", 50)

    listed = (await client.get("/questions/sets")).json()["sets"]
    shown = (await client.get("/questions/sets/ten-minutes-before")).json()
    unknown = await client.get("/questions/sets/no-such-set")

    summary = next(one for one in listed if one["id"] == "ten-minutes-before")
    assert summary == {
        "id": "ten-minutes-before",
        "title": "Ten minutes before an interview",
        "minutes": 10,
        "question_count": 3,
        "answered_count": 1,
    }
    assert [(one["id"], one["reason_code"], one["last_score"]) for one in shown["questions"]] == [
        ("general-about-yourself", "later", 50),
        ("general-why-this-job", "new", None),
        ("general-questions-for-us", "new", None),
    ]
    assert (unknown.status_code, unknown.json()["code"]) == (404, "question_set_not_found")


async def test_weak_points_set_begins_with_the_weakest_question(
    service: Service, client: httpx.AsyncClient, coach: Any, user_id: UUID
) -> None:
    for question_id, score in (("db-index", 50), ("ds-cap", 30), ("js-closures", 90)):
        await answer(service, coach, user_id, question_id, score)

    shown = (await client.get("/questions/sets/weak-points", params={"count": 10})).json()
    refused = await client.get("/questions/sets/weak-points", params={"count": 16})

    ids = [one["id"] for one in shown["questions"]]
    assert (len(set(ids)), ids[:2]) == (10, ["ds-cap", "db-index"])
    fields = [one["field"] for one in shown["questions"]]
    assert set(fields[2:7]) == {"distributed-systems"}
    minutes = [estimate_minutes(load_question_bank()[one]) for one in ids]
    assert (shown["minutes"], refused.status_code) == (sum(minutes), 422)


async def test_bookmarks_keep_notes_and_collections(client: httpx.AsyncClient) -> None:
    body = {"note": " Name the costs. ", "collections": ["Onsite", "Databases", "Onsite"]}
    saved = await client.put("/questions/db-index/bookmark", json=body)
    await client.put("/questions/ds-cap/bookmark", json={"note": "", "collections": ["Onsite"]})

    shown = (await client.get("/questions/db-index")).json()
    marked = (await client.get("/questions", params={"bookmarked": True})).json()["questions"]
    rest = (await client.get("/questions", params={"bookmarked": False, "limit": 100})).json()
    filtered = {"bookmarked": True, "collection": "Databases"}
    of_collection = (await client.get("/questions", params=filtered)).json()["questions"]
    collections = (await client.get("/questions/collections")).json()["collections"]
    deleted = [await client.delete("/questions/db-index/bookmark") for _ in range(2)]

    assert (saved.status_code, shown["bookmark"]) == (200, saved.json())
    assert (saved.json()["note"], saved.json()["collections"]) == (
        "Name the costs.", ["Onsite", "Databases"],
    )  # fmt: skip
    assert [(one["id"], one["bookmark"]["note"]) for one in marked] == [
        ("db-index", "Name the costs."),
        ("ds-cap", None),
    ]
    assert not {"db-index", "ds-cap"} & {one["id"] for one in rest["questions"]}
    assert [one["id"] for one in of_collection] == ["db-index"]
    assert collections == [
        {"name": "Databases", "question_count": 1},
        {"name": "Onsite", "question_count": 2},
    ]
    assert [one.status_code for one in deleted] == [204, 204]
    assert (await client.get("/questions/db-index")).json()["bookmark"] is None


async def test_bookmark_of_unknown_or_foreign_question_returns_404(
    service: Service, client: httpx.AsyncClient, issuer: TokenIssuer
) -> None:
    question_id = (await client.post("/questions", json=OWN)).json()["id"]
    async with client_for(service, headers=issuer.bearer(new_id())) as stranger:
        refused = [
            await stranger.put(f"/questions/{one}/bookmark", json={})
            for one in (question_id, "no-such-question")
        ]

    assert [one.status_code for one in refused] == [404, 404]


@pytest.mark.parametrize(
    "body",
    [
        {"note": "a" * 2001},
        {"collections": ["a"] * 11},
        {"collections": [" "]},
        {"collections": ["a" * 61]},
    ],
)
async def test_bookmark_beyond_its_bounds_returns_422(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    assert (await client.put("/questions/db-index/bookmark", json=body)).status_code == 422


async def test_number_of_bookmarks_is_limited(
    client: httpx.AsyncClient, deps: Deps, user_id: UUID, clock: FakeClock
) -> None:
    async with deps.db.transaction() as tx:
        row = {"user_id": user_id, "note": None, "collections": "[]", "updated_at": clock()}
        rows = [row | {"question_id": f"question-{number}"} for number in range(MAX_BOOKMARKS)]
        await tx.execute(BOOKMARKS.insert(), rows)

    refused = await client.put("/questions/db-index/bookmark", json={})

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_bookmarks")


async def test_deleted_account_loses_schedule_and_bookmarks(
    service: Service, deps: Deps, client: httpx.AsyncClient, coach: Any, user_id: UUID
) -> None:
    await answer(service, coach, user_id, "db-index", 50)
    await client.put("/questions/db-index/bookmark", json={})

    await deliver_event(service, UserDeleted(user_id=user_id))

    refused = await client.put("/questions/db-index/bookmark", json={})
    assert (refused.status_code, refused.json()["code"]) == (401, "account_deleted")
    for table in (QUESTION_CARDS, QUESTION_REVIEWS, BOOKMARKS):
        assert await _rows(deps, table) == []


async def test_proposed_points_can_be_edited_and_saved(client: httpx.AsyncClient) -> None:
    text = "A queue keeps messages until a worker takes them. For example, RabbitMQ does so."

    proposed = (await client.post("/questions/proposed-points", json={"model_answer": text})).json()
    saved = await client.post("/questions", json=OWN | proposed)

    assert [(one["text"], one["importance"]) for one in proposed["points"]] == [
        ("A queue keeps messages until a worker takes them.", "must"),
        ("For example, RabbitMQ does so.", "bonus"),
    ]
    assert (saved.status_code, saved.json()["point_count"]) == (201, 2)


async def test_practice_requires_a_token(service: Service) -> None:
    async with client_for(service) as client:
        refused = [
            await client.get(NEXT),
            await client.get("/questions/sets"),
            await client.put("/questions/db-index/bookmark", json={}),
            await client.post("/questions/proposed-points", json={"model_answer": "A."}),
        ]
    assert [one.status_code for one in refused] == [401] * 4
