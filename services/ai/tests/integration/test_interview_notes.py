"""Notes of real interviews: who is counted, what is shown, the order of questions, and deletion."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text, update

from coach_ai.deps import Deps
from coach_ai.domain.interview_notes import PEOPLE_STEP, round_people
from coach_ai.interview.model import CompanyStyle
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.tables import IMPROVEMENT_CONSENTS, INTERVIEW_NOTES, QUESTION_COUNTS
from coach_ai.use_cases.interview_notes import rebuild_counts
from coach_common.events.catalog import UserDeleted
from coach_common.events.consents import ConsentChanged
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event

FIRST, SECOND = "db-index", "db-deadlock"


class People:
    """Users of the service who note questions."""

    def __init__(self, service: Service, issuer: TokenIssuer, clock: FakeClock) -> None:
        self._service, self._issuer, self._clock = service, issuer, clock
        self._stack = AsyncExitStack()
        self.clients: dict[UUID, httpx.AsyncClient] = {}

    async def add(self, count: int, *, has_agreed: bool = True) -> list[UUID]:
        """Return new users."""
        users = [new_id() for _ in range(count)]
        for user_id in users:
            client = client_for(self._service, headers=self._issuer.bearer(user_id))
            self.clients[user_id] = await self._stack.enter_async_context(client)
            if has_agreed:
                await self.decide(user_id, is_given=True)
        return users

    async def decide(self, user_id: UUID, *, is_given: bool) -> None:
        self._clock.advance(1)
        decision = ConsentChanged(
            user_id=user_id,
            purpose="improvement",
            is_given=is_given,
            version="2026-11",
            changed_at=self._clock(),
        )
        await deliver_event(self._service, decision)

    async def note(self, users: Sequence[UUID], question_id: str = FIRST, **body: Any) -> None:
        for user_id in users:
            noted = await self.clients[user_id].put(
                f"/questions/{question_id}/interview-note", json=body
            )
            assert noted.status_code == 200, noted.text

    async def remove_note(self, user_id: UUID) -> None:
        removed = await self.clients[user_id].delete(f"/questions/{FIRST}/interview-note")
        assert removed.status_code == 204

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def people(service: Service, issuer: TokenIssuer, clock: FakeClock) -> Any:
    people = People(service, issuer, clock)
    yield people
    await people.close()


async def _shown(client: httpx.AsyncClient, question_id: str = FIRST) -> int | None:
    people: int | None = (await client.get(f"/questions/{question_id}")).json()["asked_people"]
    return people


async def _counted(deps: Deps, question_id: str = FIRST) -> int:
    async with deps.db.read_only() as tx:
        query = select(QUESTION_COUNTS.c.people)
        return await tx.scalar(query.where(QUESTION_COUNTS.c.question_id == question_id)) or 0


async def _list_ids(client: httpx.AsyncClient, **params: Any) -> list[str]:
    ids: list[str] = []
    while True:
        page = (await client.get("/questions", params=params)).json()
        ids += [one["id"] for one in page["questions"]]
        if page["next_cursor"] is None:
            return ids
        params["cursor"] = page["next_cursor"]


@pytest.mark.parametrize(
    ("people", "shown"), [(0, None), (4, None), (5, 5), (9, 5), (10, 10), (123, 120)]
)
def test_few_people_are_not_shown_and_more_in_steps(people: int, shown: int | None) -> None:
    assert round_people(people) == shown


async def test_number_of_people_is_shown_from_five_who_agreed(
    client: httpx.AsyncClient, people: People, deps: Deps
) -> None:
    agreed = await people.add(PEOPLE_STEP)
    undecided = await people.add(2, has_agreed=False)
    await people.note([*undecided, *agreed[:-1], *agreed[:-1]])
    few = await _shown(client), await _counted(deps)
    await people.note(agreed[-1:])
    enough = await _shown(client)
    await people.remove_note(agreed[0])
    await people.remove_note(agreed[0])
    after_removal = await _shown(client), await _counted(deps)
    await people.note(agreed[:1])
    await people.decide(agreed[0], is_given=False)
    after_withdrawal = await _shown(client), await _counted(deps)
    await people.decide(undecided[0], is_given=True)

    assert (few, enough) == ((None, 4), 5)
    assert (after_removal, after_withdrawal) == ((None, 4),) * 2
    assert await _shown(client) == 5
    assert await _shown(client, SECOND) is None


async def test_deleted_account_is_not_counted(
    service: Service, client: httpx.AsyncClient, people: People, deps: Deps
) -> None:
    users = await people.add(PEOPLE_STEP)
    await people.note(users)
    await people.note(users[:1], SECOND)
    before = await _shown(client)
    await deliver_event(service, UserDeleted(user_id=users[0]))
    await people.decide(users[0], is_given=True)

    assert (before, await _shown(client)) == (5, None)
    assert (await _counted(deps), await _counted(deps, SECOND)) == (4, 0)
    for table in (INTERVIEW_NOTES, IMPROVEMENT_CONSENTS):
        async with deps.db.read_only() as tx:
            rows = await tx.fetch_all(select(table.c.user_id))
        assert users[0] not in {row["user_id"] for row in rows}


async def test_simultaneous_notes_and_decisions_are_counted_once(
    people: People, deps: Deps
) -> None:
    users = await people.add(6, has_agreed=False)
    await asyncio.gather(
        *(people.note([user_id]) for user_id in users),
        *(people.note([user_id], SECOND) for user_id in users),
        *(people.decide(user_id, is_given=True) for user_id in users),
        rebuild_counts(deps.db),
    )

    assert (await _counted(deps), await _counted(deps, SECOND)) == (6, 6)
    assert await rebuild_counts(deps.db) == "2 questions were counted, 0 counts were wrong."


async def test_wrong_counts_are_computed_again(people: People, deps: Deps) -> None:
    await people.note(await people.add(3))
    await people.note(await people.add(1, has_agreed=False))
    async with deps.db.transaction() as tx:
        await tx.execute(update(QUESTION_COUNTS).values(people=99))

    assert await rebuild_counts(deps.db) == "1 questions were counted, 1 counts were wrong."
    assert await _counted(deps) == 3


async def test_list_is_sorted_and_filtered_by_the_number_of_people(
    client: httpx.AsyncClient, people: People
) -> None:
    own = await client.post("/questions", json={"text": "Why us?", "type": "motive"})
    users = await people.add(2 * PEOPLE_STEP)
    await people.note(users[:PEOPLE_STEP], FIRST)
    await people.note(users, SECOND)
    usual = await _list_ids(client, limit=100)
    by_people = await _list_ids(client, sort="asked", limit=1)
    filtered = await _list_ids(client, min_asked_people=6)
    both = await _list_ids(client, min_asked_people=1, sort="asked", limit=1)

    assert by_people == [SECOND, FIRST, *(one for one in usual if one not in (FIRST, SECOND))]
    assert by_people[2] == own.json()["id"]
    assert (filtered, both) == ([SECOND], [SECOND, FIRST])
    for wrong in ({"sort": "newest"}, {"min_asked_people": 0}, {"company_style": "circus"}):
        assert (await client.get("/questions", params=wrong)).status_code == 422


@pytest.mark.parametrize("style", CompanyStyle)
async def test_company_style_filters_by_what_its_interviews_ask(
    client: httpx.AsyncClient, style: CompanyStyle
) -> None:
    suitable = await _list_ids(client, company_style=style.value, limit=100)

    assert 10 <= len(suitable) < len(load_question_bank())
    for interview_type in ("behavioral", "technical", "case", "general"):
        body = {"title": "T", "interview_type": interview_type, "company_style": style.value}
        started = (await client.post("/ai-interview/sessions", json=body)).json()
        path = f"/ai-interview/sessions/{started['session_id']}/complete"
        planned = (await client.post(path)).json()["plan"]["questions"]
        texts = {load_question_bank()[one].text for one in suitable}
        assert planned[0]["question"] in texts


async def test_note_is_shown_to_its_user_only_and_its_question_is_preferred(
    client: httpx.AsyncClient, people: People, user_id: UUID, clock: FakeClock
) -> None:
    today = clock().date()
    noted = await client.put(f"/questions/{SECOND}/interview-note", json={"asked_by": "Example"})
    shown = (await client.get(f"/questions/{SECOND}")).json()
    next_one = (await client.get("/questions/next")).json()
    earlier = {"asked_at": str(today - timedelta(days=9))}
    replaced = await client.put(f"/questions/{SECOND}/interview-note", json=earlier)
    own = (await client.post("/questions", json={"text": "Why?", "type": "motive"})).json()["id"]
    refused = await client.put(f"/questions/{own}/interview-note", json={})
    unknown = await client.put("/questions/no-such-question/interview-note", json={})
    (stranger,) = await people.add(1)
    seen = (await people.clients[stranger].get(f"/questions/{SECOND}")).json()

    assert noted.json() == {"asked_at": str(today), "asked_by": "Example"}
    assert (shown["asked_at"], shown["asked_by"]) == (str(today), "Example")
    assert next_one["id"] == SECOND
    assert replaced.json() == {**earlier, "asked_by": None}
    assert (refused.status_code, refused.json()["code"]) == (409, "is_own_question")
    assert unknown.status_code == 404
    assert (seen["asked_at"], seen["asked_by"]) == (None, None)


async def test_counts_are_found_without_reading_notes(deps: Deps) -> None:
    if not deps.db.is_sqlite:
        pytest.skip("the plan of an empty table says nothing in MariaDB")
    plans = []
    for query in (
        "SELECT * FROM interview_notes WHERE user_id = ''",
        "SELECT count(*) FROM interview_notes WHERE question_id = ''",
    ):
        async with deps.db.read_only() as tx:
            plans += await tx.fetch_all(text(f"EXPLAIN QUERY PLAN {query}"))

    assert all("SEARCH interview_notes USING" in row["detail"] for row in plans)
