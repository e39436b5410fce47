"""Updates of an account: only the given columns, also under parallel requests."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert

from coach_auth import store
from coach_auth.deps import Deps
from coach_auth.tables import LOGINS
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeClock
from coach_common.testing.harness import wait_until

EMAIL, PASSWORD, NEW_PASSWORD = "alice@example.com", "correct horse", "better horse"


async def _login(client: httpx.AsyncClient, password: str) -> int:
    answer = await client.post("/auth/login", json={"email": EMAIL, "password": password})
    return answer.status_code


def _hash_count() -> float:
    labels = {"operation": "hash"}
    return REGISTRY.get_sample_value("coach_auth_password_hashes_total", labels) or 0.0


async def _change_password(phone: Any, new: str = NEW_PASSWORD) -> httpx.Response:
    changed: httpx.Response = await phone.call(
        "PUT", "/auth/me", newPassword=new, currentPassword=PASSWORD
    )
    return changed


async def test_parallel_name_change_does_not_undo_password_change(
    client: httpx.AsyncClient, phone: Any, deps: Deps
) -> None:
    async def has_hashed() -> bool:
        return _hash_count() > hashed

    hashed = _hash_count()
    async with deps.db.transaction() as tx:
        # The requests read the account now, and write it after this transaction.
        await store.lock_user(tx, UUID(phone.user["id"]))
        requests = [
            asyncio.create_task(_change_password(phone)),
            asyncio.create_task(phone.call("PUT", "/auth/me", name="Alice")),
            asyncio.create_task(phone.call("PUT", "/auth/me", email="alice@example.org")),
        ]
        await wait_until(has_hashed, description="the hash of the new password")
    answers = await asyncio.gather(*requests)

    assert [answer.status_code for answer in answers] == [200] * 3
    me = (await phone.call("GET", "/auth/me")).json()
    assert (me["name"], me["email"]) == ("Alice", "alice@example.org")
    body = {"email": "alice@example.org", "password": NEW_PASSWORD}
    assert (await client.post("/auth/login", json=body)).status_code == 200
    body["password"] = PASSWORD
    assert (await client.post("/auth/login", json=body)).status_code == 401


async def test_one_of_parallel_password_changes_wins(client: httpx.AsyncClient, phone: Any) -> None:
    answers = await asyncio.gather(
        *(_change_password(phone, f"better horse {n}") for n in range(3))
    )

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 403, 403]
    (winner,) = [n for n, answer in enumerate(answers) if answer.status_code == 200]
    assert await _login(client, f"better horse {winner}") == 200


async def test_wrong_current_password_is_403_without_challenge(phone: Any) -> None:
    for answer in (
        await phone.call("PUT", "/auth/me", newPassword=NEW_PASSWORD, currentPassword="wrong"),
        await phone.call("DELETE", "/auth/me", password="wrong"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_password")
        assert "www-authenticate" not in answer.headers


async def test_wrong_current_passwords_are_throttled(phone: Any) -> None:
    statuses = [
        (await phone.call("DELETE", "/auth/me", password="wrong")).status_code for _ in range(7)
    ]

    assert statuses == [403] * 5 + [429] * 2


async def test_empty_strings_mean_none(phone: Any) -> None:
    await phone.call("PUT", "/auth/me", name="Alice")
    unchanged = await phone.call("PUT", "/auth/me", email="", name=None)
    removed = await phone.call("PUT", "/auth/me", name="")

    assert unchanged.json()["email"] == EMAIL
    assert unchanged.json()["name"] == "Alice"
    assert removed.json()["name"] is None


@pytest.mark.parametrize("field", ["email", "password"])
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
async def test_lone_surrogates_are_422(client: httpx.AsyncClient, path: str, field: str) -> None:
    body = {"email": '"a@example.com"', "password": '"correct horse"', field: '"\\ud800abcdef"'}
    content = "{" + ", ".join(f'"{name}": {value}' for name, value in body.items()) + "}"
    answer = await client.post(path, content=content, headers={"content-type": "application/json"})

    assert answer.status_code == 422


@pytest.mark.parametrize("token", ["\\ud800", "a\\udc00"])
@pytest.mark.parametrize("path", ["/auth/refresh", "/auth/verify", "/auth/email/undo"])
async def test_lone_surrogates_in_tokens_are_422(
    client: httpx.AsyncClient, path: str, token: str
) -> None:
    content = f'{{"token": "{token}", "refresh_token": "{token}"}}'
    answer = await client.post(path, content=content, headers={"content-type": "application/json"})

    assert answer.status_code == 422


@pytest.mark.parametrize("email", ["", "x", "a@", "a b@example.com"])
async def test_login_with_invalid_email_is_422(client: httpx.AsyncClient, email: str) -> None:
    answer = await client.post("/auth/login", json={"email": email, "password": PASSWORD})

    assert answer.status_code == 422


async def test_emails_that_differ_after_nfkc_and_lower_case_are_two_accounts(
    client: httpx.AsyncClient,
) -> None:
    async def register(email: str) -> int:
        body = {"email": email, "password": PASSWORD}
        return (await client.post("/auth/register", json=body)).status_code

    assert await register("strasse@example.com") == 201
    assert await register("straße@example.com") == 201
    assert await register("STRASSE@example.com") == 400
    assert await register("Straße@Example.com") == 400


async def test_challenge_names_an_error_only_if_a_token_was_given(
    client: httpx.AsyncClient, phone: Any
) -> None:
    missing = await client.get("/auth/me")
    phone.token += "x"
    invalid = await phone.call("GET", "/auth/me")

    assert missing.headers["www-authenticate"] == "Bearer"
    assert invalid.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def _failed_login(client: httpx.AsyncClient, email: str, address: str) -> int:
    answer = await client.post(
        "/auth/login",
        json={"email": email, "password": "wrong"},
        headers={"x-gateway-token": "a token between services", "x-forwarded-for": address},
    )
    return answer.status_code


async def test_failed_logins_are_counted_by_ipv6_network(
    client: httpx.AsyncClient, phone: Any
) -> None:
    addresses = ["2001:db8:1:2::1", "2001:DB8:1:2:0::2", "2001:db8:1:2:ffff::3", "2001:db8:1:2::4"]
    statuses = [await _failed_login(client, EMAIL, address) for address in addresses * 2]
    other = await _failed_login(client, EMAIL, "2001:db8:1:3::1")

    assert statuses == [401] * 5 + [429] * 3
    assert other == 401


async def test_ipv4_mapped_address_counts_as_ipv4(client: httpx.AsyncClient, phone: Any) -> None:
    addresses = ["203.0.113.5", "::ffff:203.0.113.5", "203.0.113.5:4711"]
    statuses = [await _failed_login(client, EMAIL, address) for address in addresses * 2]

    assert statuses == [401] * 5 + [429]


async def test_hundred_and_first_login_revokes_the_least_recently_used(
    client: httpx.AsyncClient, phone: Any, deps: Deps, clock: FakeClock
) -> None:
    clock.advance(1)
    rows = [
        {
            "id": new_id(),
            "user_id": UUID(phone.user["id"]),
            "created_at": clock(),
            "last_used_at": clock() + timedelta(seconds=number),
            "expires_at": clock() + timedelta(days=90),
        }
        for number in range(99)
    ]
    async with deps.db.transaction() as tx:
        await tx.execute(insert(LOGINS), rows)
    clock.advance(200)
    assert len((await phone.call("GET", "/auth/logins")).json()["logins"]) == 100

    assert await _login(client, PASSWORD) == 200

    refused = await phone.call("GET", "/auth/me")
    assert (refused.status_code, refused.json()["code"]) == (401, "login_ended")
    assert await _login(client, PASSWORD) == 200
