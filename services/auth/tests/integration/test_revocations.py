"""Revocations as gateways read them: complete pages, also after a burst."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import event, func, insert, select

from coach_auth.deps import Deps
from coach_auth.tables import LOGINS, REVOCATIONS
from coach_auth.use_cases import logins
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeClock

SERVICE_TOKEN = {"authorization": "Bearer a token between services"}


async def _page(client: httpx.AsyncClient, after: str = "") -> dict[str, Any]:
    answer = await client.get(
        "/internal/revocations", params={"after": after}, headers=SERVICE_TOKEN
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def _poll(client: httpx.AsyncClient, after: str) -> tuple[set[str], str, int]:
    """Read until `has_more` is false, as a gateway does. Returns ids, cursor and page count."""
    known: set[str] = set()
    pages = 0
    while True:
        body = await _page(client, after)
        pages += 1
        known |= {row["login_id"] for row in body["revoked"]}
        after = body["cursor"]
        if not body["has_more"]:
            return known, after, pages


async def _add_logins(deps: Deps, user_id: UUID, clock: FakeClock, count: int) -> None:
    rows = [
        {
            "id": new_id(),
            "user_id": user_id,
            "created_at": clock(),
            "last_used_at": clock(),
            "expires_at": clock() + timedelta(days=90),
        }
        for _ in range(count)
    ]
    if rows:
        async with deps.db.transaction() as tx:
            await tx.execute(insert(LOGINS), rows)


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
async def test_one_poll_reads_all_revocations_of_a_burst(
    client: httpx.AsyncClient, phone: Any, deps: Deps, clock: FakeClock, count: int
) -> None:
    await _add_logins(deps, UUID(phone.user["id"]), clock, count - 1)
    _, cursor, _ = await _poll(client, "")
    assert (await phone.call("POST", "/auth/logout", everywhere=True)).status_code == 200

    known, cursor, pages = await _poll(client, cursor)

    assert len(known) == count
    assert pages == max(1, (count + 999) // 1000)
    clock.advance(6)
    assert await _poll(client, cursor) == (set(), cursor, 1)


async def test_first_poll_reads_all_revocations(
    client: httpx.AsyncClient, phone: Any, deps: Deps, clock: FakeClock
) -> None:
    await _add_logins(deps, UUID(phone.user["id"]), clock, 2100)
    await phone.call("POST", "/auth/logout", everywhere=True)
    first = await _page(client)
    known, _, pages = await _poll(client, "")

    assert (len(first["revoked"]), first["has_more"]) == (1000, True)
    assert (len(known), pages) == (2101, 3)


async def test_revocation_after_a_burst_is_in_the_next_poll(
    client: httpx.AsyncClient, phone: Any, deps: Deps, clock: FakeClock
) -> None:
    bob = {"email": "bob@example.com", "password": "battery staple"}
    token = (await client.post("/auth/register", json=bob)).json()["token"]
    await _add_logins(deps, UUID(phone.user["id"]), clock, 1500)
    await phone.call("POST", "/auth/logout", everywhere=True)
    before, cursor, _ = await _poll(client, "")
    bearer = {"authorization": f"Bearer {token}"}
    assert (await client.post("/auth/logout", headers=bearer)).status_code == 200

    after, _, _ = await _poll(client, cursor)

    assert len(after - before) == 1


async def test_revocations_are_written_in_two_statements(
    client: httpx.AsyncClient, phone: Any, deps: Deps, clock: FakeClock
) -> None:
    await _add_logins(deps, UUID(phone.user["id"]), clock, 50)
    statements: list[str] = []
    event.listen(
        deps.db.statement_engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, *rest: statements.append(statement),
    )
    await phone.call("POST", "/auth/logout", everywhere=True)

    writes = [one.split()[0] for one in statements if one.startswith(("INSERT", "UPDATE"))]
    assert writes == ["UPDATE", "INSERT"]
    async with deps.db.read_only() as tx:
        assert await tx.scalar(select(func.count()).select_from(REVOCATIONS)) == 51


_UUID = "01932d4e-3a00-7000-8000-000000000001"


@pytest.mark.parametrize("cursor", ["x", "1.2", _UUID, f"{_UUID}.", "a" * 36])
async def test_invalid_cursor_is_422(client: httpx.AsyncClient, cursor: str) -> None:
    answer = await client.get(
        "/internal/revocations", params={"after": cursor}, headers=SERVICE_TOKEN
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_revocation_that_commits_late_is_read(
    client: httpx.AsyncClient, phone: Any, deps: Deps, clock: FakeClock
) -> None:
    """Its batch id was made before another one was committed and read."""
    early = new_id()
    await phone.call("POST", "/auth/logout")
    _, cursor, _ = await _poll(client, "")
    async with deps.db.transaction() as tx:
        await tx.execute(
            insert(REVOCATIONS).values(
                login_id=new_id(),
                batch_id=early,
                revoked_at=clock(),
                expires_at=clock() + timedelta(minutes=31),
            )
        )

    page = await logins.list_revocations(deps, None)
    known, _, _ = await _poll(client, cursor)

    assert len(page.revocations) == 2
    assert known == {str(one.login_id) for one in page.revocations}
