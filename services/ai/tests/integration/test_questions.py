"""The question bank and users' own questions over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from coach_ai.deps import Deps
from coach_ai.domain import MAX_OWN_QUESTIONS, QuestionType
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.tables import OWN_QUESTIONS
from coach_common.events.catalog import UserDeleted
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import client_for, deliver_event

BODY: dict[str, Any] = {
    "text": "What does a load balancer do?",
    "type": "knowledge",
    "field": "Networking",
    "seniority": ["junior", "mid"],
    "points": [
        {
            "text": "It distributes requests.",
            "importance": "must",
            "accepted": ["it spreads traffic"],
            "not": ["it makes one server faster"],
        },
        {"text": "It checks the health of servers.", "importance": "bonus"},
    ],
    "misconceptions": ["It stores data."],
}
MINIMAL = {"text": "Why us?", "type": "motive"}


@pytest.fixture
async def stranger(service: Service, issuer: TokenIssuer) -> AsyncIterator[httpx.AsyncClient]:
    """A client that acts as another user."""
    async with client_for(service, headers=issuer.bearer(new_id())) as client:
        yield client


async def _create(client: httpx.AsyncClient, **changes: object) -> str:
    created = await client.post("/questions", json=MINIMAL | changes)
    assert created.status_code == 201, created.text
    question_id: str = created.json()["id"]
    return question_id


async def _list_ids(client: httpx.AsyncClient, **params: object) -> list[str]:
    """Return the ids on all pages."""
    ids: list[str] = []
    cursor = None
    while True:
        query = params | ({} if cursor is None else {"cursor": cursor})
        response = await client.get("/questions", params=query)  # type: ignore[arg-type]
        assert response.status_code == 200, response.text
        page = response.json()
        ids += [one["id"] for one in page["questions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return ids


async def test_pages_return_own_questions_first_and_each_question_once(
    client: httpx.AsyncClient,
) -> None:
    own = [await _create(client, text=f"Question {number}?") for number in range(5)]

    ids = await _list_ids(client, limit=3)

    assert ids == own[::-1] + list(load_question_bank())


async def test_cursor_of_deleted_question_continues_after_its_place(
    client: httpx.AsyncClient,
) -> None:
    own = [await _create(client) for _ in range(3)]
    cursor = (await client.get("/questions", params={"limit": 2})).json()["next_cursor"]
    await client.delete(f"/questions/{own[1]}")

    rest = (await client.get("/questions", params={"limit": 2, "cursor": cursor})).json()

    assert [one["id"] for one in rest["questions"]] == [own[0], next(iter(load_question_bank()))]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"type": "knowledge"}, lambda one: one.type is QuestionType.KNOWLEDGE),
        ({"field": "databases"}, lambda one: one.field == "databases"),
        ({"field": "Databases"}, lambda one: one.field == "databases"),
        ({"seniority": "junior"}, lambda one: "junior" in one.seniority),
        ({"tag": "leadership"}, lambda one: "leadership" in one.tags),
        ({"search": "conflict COLLEAGUE"}, lambda one: one.id == "behavioral-conflict-colleague"),
        (
            {"type": "case", "field": "databases"},
            lambda one: one.type is QuestionType.CASE and one.field == "databases",
        ),
        ({"search": "xyzzy"}, lambda one: False),
        ({"type": "", "field": "", "seniority": "", "tag": "", "search": ""}, lambda one: True),
    ],
)
async def test_list_is_filtered(
    client: httpx.AsyncClient, params: dict[str, str], expected: Any
) -> None:
    ids = await _list_ids(client, limit=100, **params)

    assert ids == [one.id for one in load_question_bank().values() if expected(one)]


async def test_bank_question_shows_metadata_without_points(client: httpx.AsyncClient) -> None:
    question = load_question_bank()["db-index"]

    shown = (await client.get("/questions/db-index")).json()

    assert shown == {
        "id": "db-index",
        "text": question.text,
        "type": "knowledge",
        "field": "databases",
        "seniority": [level.value for level in question.seniority],
        "tags": list(question.tags),
        "is_own": False,
        "point_count": len(question.points),
        "points": None,
        "misconceptions": None,
        "asked_at": None,
        "asked_by": None,
        "asked_people": None,
        "bookmark": None,
    }


async def test_own_question_shows_all_its_parts(client: httpx.AsyncClient) -> None:
    created = await client.post("/questions", json=BODY)

    shown = (await client.get(f"/questions/{created.json()['id']}")).json()

    assert shown == created.json()
    assert shown == {
        "id": shown["id"],
        "text": BODY["text"],
        "type": "knowledge",
        "field": "networking",
        "seniority": ["junior", "mid"],
        "tags": [],
        "is_own": True,
        "point_count": 2,
        "points": [
            {"id": "p1", **BODY["points"][0]},
            {"id": "p2", **BODY["points"][1], "accepted": [], "not": []},
        ],
        "misconceptions": ["It stores data."],
        "asked_at": None,
        "asked_by": None,
        "asked_people": None,
        "bookmark": None,
    }


async def test_shown_question_can_be_sent_again_unchanged(client: httpx.AsyncClient) -> None:
    shown = (await client.post("/questions", json=BODY)).json()

    again = await client.put(f"/questions/{shown['id']}", json=shown)

    assert (again.status_code, again.json()) == (200, shown)


async def test_update_replaces_the_whole_question(client: httpx.AsyncClient) -> None:
    question_id = (await client.post("/questions", json=BODY)).json()["id"]

    await client.put(f"/questions/{question_id}", json=MINIMAL | {"seniority": "senior"})

    shown = (await client.get(f"/questions/{question_id}")).json()
    assert (shown["text"], shown["type"], shown["field"]) == ("Why us?", "motive", None)
    assert (shown["seniority"], shown["points"], shown["misconceptions"]) == (["senior"], [], [])


async def test_deleted_question_is_not_found(client: httpx.AsyncClient) -> None:
    question_id = await _create(client)

    assert (await client.delete(f"/questions/{question_id}")).status_code == 204

    for method in ("GET", "DELETE"):
        refused = await client.request(method, f"/questions/{question_id}")
        assert (refused.status_code, refused.json()["code"]) == (404, "question_not_found")


async def test_question_of_another_user_is_not_found(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    path = f"/questions/{await _create(client)}"

    refused = [
        await stranger.get(path),
        await stranger.put(path, json=MINIMAL),
        await stranger.delete(path),
        await stranger.get(f"/internal{path}"),
    ]

    assert [one.status_code for one in refused] == [404] * 4
    assert path.removeprefix("/questions/") not in await _list_ids(stranger, limit=100)
    assert (await client.get(path)).json()["text"] == "Why us?"


@pytest.mark.parametrize(
    "question_id", ["db-index", "no-such-question", "01a21785-96e7-77b3-9e91-9a26726a7bbe"]
)
async def test_only_own_questions_can_be_changed(
    client: httpx.AsyncClient, question_id: str
) -> None:
    put = await client.put(f"/questions/{question_id}", json=MINIMAL)
    deleted = await client.delete(f"/questions/{question_id}")

    assert (put.status_code, deleted.status_code) == (404, 404)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": " "},
        {"text": "a" * 2001},
        {"type": "technical"},
        {"field": "a" * 61},
        {"seniority": ["chief"]},
        {"points": [{"text": "a"}] * 13},
        {"points": [{"text": "a" * 301}]},
        {"points": [{"text": ""}]},
        {"points": [{"text": "a", "importance": "nice"}]},
        {"points": [{"text": "a", "accepted": ["a"] * 6}]},
        {"points": [{"text": "a", "not": ["a" * 301]}]},
        {"misconceptions": ["a"] * 13},
        {"misconceptions": ["a" * 301]},
    ],
)
async def test_question_beyond_its_bounds_returns_422(
    client: httpx.AsyncClient, changes: dict[str, object]
) -> None:
    refused = await client.post("/questions", json=MINIMAL | changes)

    assert refused.status_code == 422
    assert refused.json()["errors"]


@pytest.mark.parametrize(
    "params",
    [{"cursor": "no-such"}, {"limit": 0}, {"limit": 101}, {"type": "riddle"}, {"seniority": "x"}],
)
async def test_invalid_query_returns_422(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    assert (await client.get("/questions", params=params)).status_code == 422


async def test_number_of_own_questions_is_limited(client: httpx.AsyncClient) -> None:
    for _ in range(MAX_OWN_QUESTIONS):
        last = await _create(client)

    refused = await client.post("/questions", json=MINIMAL)

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_questions")
    await client.delete(f"/questions/{last}")
    assert (await client.post("/questions", json=MINIMAL)).status_code == 201


async def test_deleted_account_loses_its_questions_and_cannot_add_any(
    service: Service, deps: Deps, client: httpx.AsyncClient, stranger: httpx.AsyncClient,
    user_id: Any,
) -> None:  # fmt: skip
    await _create(client)
    kept = await _create(stranger)

    await deliver_event(service, UserDeleted(user_id=user_id))

    refused = await client.post("/questions", json=MINIMAL)
    assert (refused.status_code, refused.json()["code"]) == (401, "account_deleted")
    async with deps.db.read_only() as tx:
        rows = await tx.fetch_all(select(OWN_QUESTIONS.c.id))
    assert [str(row["id"]) for row in rows] == [kept]


async def test_questions_require_a_token(service: Service) -> None:
    async with client_for(service) as client:
        assert (await client.get("/questions")).status_code == 401
        assert (await client.get("/internal/questions/db-index")).status_code == 401
