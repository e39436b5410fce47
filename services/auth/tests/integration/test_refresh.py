"""Refresh tokens on two replicas of auth that share only the database and SECRET_KEY."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from coach_auth import store
from coach_auth.app import build
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_auth.domain import InvalidCredentials, LoginEnded
from coach_auth.tables import AUDIT_LOG, LOGINS, REFRESH_TOKENS
from coach_auth.use_cases import accounts, logins, signing_keys
from coach_common.testing.fakes import FakeClock, FakeTransport
from coach_common.testing.harness import client_for, migrated_service

ACCOUNT = {"email": "alice@example.com", "password": "correct horse"}
DAY = 86_400


@dataclass
class Replicas:
    """Two clients, each of another replica."""

    clients: list[httpx.AsyncClient]

    async def refresh(self, token: str, *, at: int = 0) -> httpx.Response:
        return await self.clients[at].post("/auth/refresh", json={"refresh_token": token})


@pytest.fixture
async def replicas(
    client: httpx.AsyncClient, settings: AuthSettings, clock: FakeClock
) -> AsyncIterator[Replicas]:
    async with (
        migrated_service(build(settings, FakeTransport(), clock=clock)) as other,
        client_for(other) as second,
    ):
        yield Replicas([client, second])


@pytest.mark.parametrize("kept", range(5))
async def test_any_of_five_parallel_refresh_results_can_be_refreshed_next(
    replicas: Replicas, phone: Any, deps: Deps, clock: FakeClock, kept: int
) -> None:
    answers = await asyncio.gather(
        *(replicas.refresh(phone.refresh_token, at=number % 2) for number in range(5))
    )
    tokens = [answer.json()["refresh_token"] for answer in answers]
    clock.advance(1800)
    following = await replicas.refresh(tokens[kept], at=kept % 2)

    assert [answer.status_code for answer in answers] == [200] * 5
    assert len(set(tokens)) == 1
    assert following.status_code == 200
    async with deps.db.read_only() as tx:
        (login,) = await tx.fetch_all(select(LOGINS))
        generations = await tx.fetch_all(select(REFRESH_TOKENS))
    assert login["revoked_at"] is None
    assert len(generations) == 3


async def test_replay_in_grace_period_returns_same_successor_on_any_replica(
    replicas: Replicas, phone: Any, clock: FakeClock
) -> None:
    first = await replicas.refresh(phone.refresh_token, at=0)
    clock.advance(59)
    again = await replicas.refresh(phone.refresh_token, at=1)

    assert first.json()["refresh_token"] == again.json()["refresh_token"]
    assert first.json()["access_token"] != again.json()["access_token"]


@pytest.mark.parametrize("is_successor_used", [True, False])
async def test_token_reuse_revokes_only_that_login_and_is_audited(
    replicas: Replicas, phone: Any, deps: Deps, clock: FakeClock, is_successor_used: bool
) -> None:
    other = (await phone.client.post("/auth/login", json=ACCOUNT)).json()["refresh_token"]
    newest = (await replicas.refresh(phone.refresh_token)).json()["refresh_token"]
    if is_successor_used:
        clock.advance(1)
        newest = (await replicas.refresh(newest)).json()["refresh_token"]
    else:
        clock.advance(60.001)

    reused = await replicas.refresh(phone.refresh_token, at=1)

    assert reused.status_code == 401
    assert (await replicas.refresh(newest)).status_code == 401
    assert (await phone.call("GET", "/auth/me")).status_code == 401
    assert (await replicas.refresh(other)).status_code == 200
    async with deps.db.read_only() as tx:
        (record,) = await tx.fetch_all(select(AUDIT_LOG))
        ended = [row["id"] for row in await tx.fetch_all(select(LOGINS)) if row["revoked_at"]]
    assert record["action"] == "refresh token reused"
    assert [record["login_id"]] == ended


async def test_parallel_reuse_revokes_the_login_once(
    replicas: Replicas, phone: Any, deps: Deps, clock: FakeClock
) -> None:
    newest = (await replicas.refresh(phone.refresh_token)).json()["refresh_token"]
    await replicas.refresh(newest)
    answers = await asyncio.gather(
        *(replicas.refresh(phone.refresh_token, at=number % 2) for number in range(6))
    )

    assert {answer.status_code for answer in answers} == {401}
    revocations = await phone.client.get(
        "/internal/revocations", headers={"authorization": "Bearer a token between services"}
    )
    assert len(revocations.json()["revoked"]) == 1


async def test_refresh_extends_seven_days_up_to_ninety_days(
    replicas: Replicas, phone: Any, clock: FakeClock
) -> None:
    token = phone.refresh_token
    for day in range(1, 90):
        clock.advance(DAY)
        answer = await replicas.refresh(token, at=day % 2)
        assert answer.status_code == 200, f"day {day}"
        token = answer.json()["refresh_token"]
    clock.advance(DAY)

    assert (await replicas.refresh(token)).status_code == 401


@pytest.mark.parametrize("body", [{}, {"everywhere": True}])
async def test_refresh_is_rejected_on_all_replicas_after_logout(
    replicas: Replicas, phone: Any, body: dict[str, bool]
) -> None:
    await phone.call("POST", "/auth/logout", **body)

    for at in (0, 1):
        assert (await replicas.refresh(phone.refresh_token, at=at)).status_code == 401


async def test_login_fails_if_password_changed_during_verification(phone: Any, deps: Deps) -> None:
    async with deps.db.read_only() as tx:
        checked = await store.find_user_by_email(tx, ACCOUNT["email"])
    assert checked is not None
    key = await signing_keys.get_signing_key(deps)
    change = {"newPassword": "better horse", "currentPassword": ACCOUNT["password"]}
    assert (await phone.call("PUT", "/auth/me", **change)).status_code == 200

    with pytest.raises(InvalidCredentials):
        await logins.create_login(deps, checked, key)


async def test_login_fails_if_account_disabled_during_verification(phone: Any, deps: Deps) -> None:
    async with deps.db.read_only() as tx:
        checked = await store.find_user_by_email(tx, ACCOUNT["email"])
    assert checked is not None
    await accounts.set_user_active(deps, ACCOUNT["email"], is_active=False)

    with pytest.raises(LoginEnded):
        await logins.create_login(deps, checked, await signing_keys.get_signing_key(deps))


async def test_grace_period_is_a_setting(
    settings: AuthSettings, phone: Any, clock: FakeClock
) -> None:
    short = AuthSettings.load(**settings.model_dump() | {"refresh_grace_seconds": 5})
    async with (
        migrated_service(build(short, FakeTransport(), clock=clock)) as service,
        client_for(service) as client,
    ):
        phone.client = client
        assert (await phone.refresh()).status_code == 200
        clock.advance(5)
        assert (await phone.refresh()).status_code == 200
        clock.advance(0.001)
        assert (await phone.refresh()).status_code == 401


async def test_lost_response_can_be_repeated_with_the_old_token(
    replicas: Replicas, phone: Any, clock: FakeClock
) -> None:
    lost = (await replicas.refresh(phone.refresh_token)).json()["refresh_token"]
    clock.advance(45)
    repeated = (await replicas.refresh(phone.refresh_token, at=1)).json()["refresh_token"]

    assert repeated == lost
    assert (await replicas.refresh(repeated)).status_code == 200
