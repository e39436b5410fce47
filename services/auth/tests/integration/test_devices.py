"""Listing and revoking signed-in devices."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from coach_auth.deps import Deps
from coach_auth.use_cases import logins
from coach_common.identity import Identity
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeClock

ACCOUNT = {"email": "alice@example.com", "password": "correct horse"}


async def _sign_in(client: httpx.AsyncClient, agent: str | bytes) -> dict[str, Any]:
    answer = await client.post("/auth/login", json=ACCOUNT, headers=[("user-agent", agent)])
    body: dict[str, Any] = answer.json()
    return body


async def _devices(phone: Any) -> list[dict[str, Any]]:
    answer = await phone.call("GET", "/auth/logins")
    assert answer.status_code == 200
    devices: list[dict[str, Any]] = answer.json()["logins"]
    return devices


async def test_devices_are_listed_by_last_use(
    client: httpx.AsyncClient, phone: Any, clock: FakeClock
) -> None:
    clock.advance(1)
    await _sign_in(client, "Coach/1.2 (iPhone)")
    clock.advance(1)
    refreshed = await phone.refresh()
    tablet_then_phone = await _devices(phone)

    mine, other = tablet_then_phone
    assert refreshed.status_code == 200
    assert set(mine) == {
        "id", "created_at", "last_used_at", "device", "agent", "is_current", "current",
    }  # fmt: skip
    assert (mine["is_current"], other["is_current"]) == (True, False)
    assert other["device"] == "Coach/1.2 (iPhone)"
    assert (mine["current"], other["current"]) == (True, False)
    assert other["agent"] == "Coach/1.2 (iPhone)"
    assert other["last_used_at"] == other["created_at"]
    assert mine["created_at"] < other["created_at"] < mine["last_used_at"]


async def test_user_agent_is_truncated_and_sanitized(client: httpx.AsyncClient, phone: Any) -> None:
    await _sign_in(client, b"Evil\x1b[31m\x7f\x9b" + b"x" * 500)

    shown = {device["agent"] for device in await _devices(phone) if not device["current"]}
    assert shown == {("Evil[31m" + "x" * 500)[:200]}


async def test_revoking_a_device_keeps_the_others_signed_in(
    client: httpx.AsyncClient, phone: Any
) -> None:
    lost = await _sign_in(client, "a lost phone")
    (lost_id,) = [device["id"] for device in await _devices(phone) if not device["current"]]

    ended = await phone.call("DELETE", f"/auth/logins/{lost_id}")

    assert (ended.status_code, ended.content) == (204, b"")
    assert (await phone.refresh(lost["refresh_token"])).status_code == 401
    bearer = {"authorization": f"Bearer {lost['token']}"}
    assert (await client.get("/auth/me", headers=bearer)).status_code == 401
    assert [device["current"] for device in await _devices(phone)] == [True]
    assert (await phone.call("DELETE", f"/auth/logins/{lost_id}")).status_code == 404


async def test_other_users_devices_return_404(client: httpx.AsyncClient, phone: Any) -> None:
    bob = {"email": "bob@example.com", "password": "battery staple"}
    answer = (await client.post("/auth/register", json=bob)).json()
    (mine,) = await _devices(phone)
    phone.token = answer["token"]

    for login_id in (mine["id"], str(new_id()), "nonsense", mine["id"].upper()):
        refused = await phone.call("DELETE", f"/auth/logins/{login_id}")
        assert (refused.status_code, refused.json()["code"]) == (404, "login_not_found")
    assert mine["id"] not in {device["id"] for device in await _devices(phone)}
    assert (await client.get("/auth/logins")).status_code == 401


async def test_expired_device_is_not_listed(
    client: httpx.AsyncClient, phone: Any, deps: Deps, clock: FakeClock
) -> None:
    caller = await _identity(phone)
    await _sign_in(client, "left in a drawer")
    clock.advance(6 * 86_400)
    await phone.refresh()
    during = await logins.list_logins(deps, caller)
    clock.advance(86_400)
    after = await logins.list_logins(deps, caller)

    assert len(during) == 2
    assert [login.id for login in after] == [caller.login_id]


async def _identity(phone: Any) -> Identity:
    (mine,) = await _devices(phone)
    user_id, login_id = UUID(phone.user["id"]), UUID(mine["id"])
    return Identity(user_id, login_id, datetime.now(UTC), frozenset())
