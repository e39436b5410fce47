"""Stories over HTTP: bounds, owners, deletion, and the questions that they answer."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from coach_ai.deps import Deps
from coach_ai.domain import MAX_STORIES, MAX_STORY_CHARACTERS
from coach_ai.tables import STORIES
from coach_common.events.catalog import UserDeleted
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import client_for, deliver_event

PATH = "/ai-interview/stories"
RUST: dict[str, Any] = {
    "title": "Learning Rust",
    "text": "My team decided to write the gateway in Rust, which I did not know. I read a book in"
    " the evenings and did exercises. After four weeks I merged my first change.",
}
CUSTOMER: dict[str, Any] = {
    "title": "The angry hotel",
    "text": "A customer shouted at me on the phone because of double bookings. I apologised, found"
    " the cause with him and called him every day until it was solved.",
}
LEARNED = "behavioral-learned-quickly"


async def _create(client: httpx.AsyncClient, story: dict[str, Any]) -> str:
    created = await client.post(PATH, json=story)
    assert created.status_code == 201, created.text
    story_id: str = created.json()["id"]
    return story_id


async def test_story_is_created_replaced_listed_and_deleted(client: httpx.AsyncClient) -> None:
    first, second = [await _create(client, one) for one in (RUST, CUSTOMER)]
    replaced = await client.put(f"{PATH}/{first}", json=RUST | {"title": "Rust"})
    listed = (await client.get(PATH)).json()["stories"]
    deleted = await client.delete(f"{PATH}/{second}")
    refused = [
        await client.delete(f"{PATH}/{second}"),
        await client.put(f"{PATH}/{second}", json=RUST),
        await client.get(f"{PATH}/{second}/questions"),
        await client.get(f"{PATH}/no-id/questions"),
    ]

    assert [(one["id"], one["title"], one["fit"]) for one in listed] == [
        (second, "The angry hotel", None), (first, "Rust", None),
    ]  # fmt: skip
    assert (replaced.status_code, replaced.json()) == (200, listed[1])
    assert deleted.status_code == 204
    assert [(one.status_code, one.json()["code"]) for one in refused] == [
        (404, "story_not_found")
    ] * 4


@pytest.mark.parametrize(
    "changes",
    [
        {"title": " "},
        {"title": "a" * 201},
        {"text": ""},
        {"text": "a" * (MAX_STORY_CHARACTERS + 1)},
    ],
    ids=["no-title", "long-title", "no-text", "long-text"],
)
async def test_story_beyond_its_bounds_returns_422(
    client: httpx.AsyncClient, changes: dict[str, str]
) -> None:
    assert (await client.post(PATH, json=RUST | changes)).status_code == 422


async def test_number_of_stories_is_limited(client: httpx.AsyncClient) -> None:
    for _ in range(MAX_STORIES):
        await _create(client, {"title": "T", "text": "Short."})

    refused = await client.post(PATH, json=RUST)

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_stories")


@pytest.mark.usefixtures("embeddings")
async def test_stories_and_questions_find_each_other(
    client: httpx.AsyncClient, service: Service, issuer: TokenIssuer
) -> None:
    story_id = await _create(client, RUST)
    await _create(client, CUSTOMER)
    await _create(client, {"title": "Empty", "text": "Nothing."})
    async with client_for(service, headers=issuer.bearer(new_id())) as stranger:
        hidden = await stranger.get(f"{PATH}/{story_id}/questions")
        none = (await stranger.get(PATH, params={"question_id": LEARNED})).json()["stories"]

    questions = (await client.get(f"{PATH}/{story_id}/questions")).json()["questions"]
    suited = (await client.get(PATH, params={"question_id": LEARNED})).json()["stories"]
    unknown = await client.get(PATH, params={"question_id": "no-such-question"})

    assert (hidden.status_code, none) == (404, [])
    assert questions[0]["question_id"] == LEARNED
    assert len(questions) <= 5
    assert [one["title"] for one in suited] == ["Learning Rust"]
    for fit in (questions[0]["fit"], suited[0]["fit"]):
        assert fit["quote"] in RUST["text"] and fit["quote"] in fit["reason"]
        assert fit["relevance"] >= 0.9
    assert (unknown.status_code, unknown.json()["code"]) == (404, "question_not_found")


async def test_story_that_was_stored_without_embeddings_is_compared_later(
    client: httpx.AsyncClient, deps: Deps, embeddings: object
) -> None:
    get_story_matcher = deps.get_story_matcher
    object.__setattr__(deps, "get_story_matcher", lambda: None)
    story_id = await _create(client, RUST)
    refused = [
        await client.get(f"{PATH}/{story_id}/questions"),
        await client.get(PATH, params={"question_id": LEARNED}),
    ]
    object.__setattr__(deps, "get_story_matcher", get_story_matcher)

    found = (await client.get(f"{PATH}/{story_id}/questions")).json()["questions"]

    assert [(one.status_code, one.json()["code"]) for one in refused] == [
        (503, "embeddings_unavailable")
    ] * 2
    assert found[0]["question_id"] == LEARNED


async def test_deleted_account_loses_its_stories(
    service: Service, deps: Deps, client: httpx.AsyncClient, user_id: UUID
) -> None:
    await _create(client, RUST)

    await deliver_event(service, UserDeleted(user_id=user_id))

    refused = await client.post(PATH, json=RUST)
    assert (refused.status_code, refused.json()["code"]) == (401, "account_deleted")
    async with deps.db.read_only() as tx:
        assert await tx.fetch_all(select(STORIES.c.id)) == []
