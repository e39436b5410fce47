"""Accounts and logins through the HTTP API."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from coach_auth.app import build
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_auth.tables import AUDIT_LOG, METADATA, REFRESH_TOKENS, SIGNING_KEYS, USERS
from coach_auth.use_cases import signing_keys
from coach_common.config import SettingsError
from coach_common.db.migrate import schema_differences
from coach_common.events.catalog import UserDeleted, UserRegistered
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, FakeTransport
from coach_common.testing.harness import client_for, emitted_events, migrated_service

EMAIL, PASSWORD = "alice@example.com", "correct horse"
SECRET = "a secret key of more than thirty-two characters"
SERVICE_TOKEN = "a token between services"


async def _login(client: httpx.AsyncClient, password: str = PASSWORD, email: str = EMAIL) -> Any:
    return await client.post("/auth/login", json={"email": email, "password": password})


def _check_count() -> float:
    labels = {"operation": "check"}
    return REGISTRY.get_sample_value("coach_auth_password_hashes_total", labels) or 0.0


async def _revoked(client: httpx.AsyncClient, after: str = "") -> dict[str, Any]:
    answer = await client.get(
        "/internal/revocations",
        params={"after": after},
        headers={"authorization": "Bearer a token between services"},
    )
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def test_migrations_match_metadata(service: Service) -> None:
    assert service.database is not None
    assert await schema_differences(service.database, "coach_auth", METADATA) == []


async def test_register_signs_in_and_emits_user_registered(service: Service, phone: Any) -> None:
    me = await phone.call("GET", "/auth/me")

    assert me.status_code == 200
    assert me.json() == phone.user
    assert set(phone.user) == {
        "id", "email", "name", "is_active", "is_verified", "created_at",
    }  # fmt: skip
    (event,) = await emitted_events(service.database, UserRegistered)
    assert str(event.user_id) == phone.user["id"]


async def test_concurrent_registration_creates_one_account(
    service: Service, client: httpx.AsyncClient
) -> None:
    emails = ["A@x-mail.io", "a@X-mail.io", " a@x-mail.io "] * 7
    answers = await asyncio.gather(
        *(
            client.post("/auth/register", json={"email": email, "password": PASSWORD})
            for email in emails
        )
    )

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] + [400] * 20
    assert {a.json()["detail"] for a in answers if a.status_code == 400} == {
        "Email already registered"
    }
    async with service.database.read_only() as tx:
        assert len(await tx.fetch_all(select(USERS))) == 1


@pytest.mark.parametrize(
    "email",
    ["x", "a" * 10_000 + "@example.com", "a@" * 5000, "a@x\r\nBcc: b@x.io", "a\0@x.io", "a@"],
)
async def test_invalid_email_is_rejected(client: httpx.AsyncClient, email: str) -> None:
    answer = await client.post("/auth/register", json={"email": email, "password": PASSWORD})

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("email: ")


async def test_protected_fields_are_ignored_on_register(client: httpx.AsyncClient) -> None:
    body = {
        "email": EMAIL,
        "password": PASSWORD,
        "id": "1",
        "is_active": False,
        "is_admin": True,
        "scope": "all",
        "created_at": "2000-01-01T00:00:00Z",
    }
    answer = await client.post("/auth/register", json=body)

    user = answer.json()["user"]
    assert user["is_active"] is True
    assert user["id"] != "1"
    assert not user["created_at"].startswith("2000")


async def test_long_passwords_are_not_truncated(client: httpx.AsyncClient) -> None:
    long = "x" * 127
    await client.post("/auth/register", json={"email": EMAIL, "password": long + "a"})

    assert (await _login(client, long + "a")).status_code == 200
    assert (await _login(client, long + "b")).status_code == 401
    assert (await _login(client, long)).status_code == 401


async def test_unknown_account_gets_same_error_and_hash_cost(
    client: httpx.AsyncClient, phone: Any
) -> None:
    before = _check_count()
    wrong = await _login(client, "wrong password")
    unknown = await _login(client, "wrong password", "nobody@example.com")

    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.json()["detail"] == unknown.json()["detail"] == "Incorrect email or password"
    assert _check_count() == before + 2
    assert wrong.headers["www-authenticate"] == "Bearer"


async def test_email_is_case_insensitive(client: httpx.AsyncClient, phone: Any) -> None:
    assert (await _login(client, email="ALICE@Example.COM")).status_code == 200


async def test_failed_logins_are_throttled_per_ip_not_per_owner(
    client: httpx.AsyncClient, phone: Any
) -> None:
    gateway = {"x-gateway-token": "a token between services"}
    statuses = [
        (
            await client.post(
                "/auth/login",
                json={"email": EMAIL, "password": "wrong"},
                headers=gateway | {"x-forwarded-for": "6.6.6.6"},
            )
        )
        for _ in range(8)
    ]
    own = await client.post(
        "/auth/login",
        json={"email": EMAIL, "password": PASSWORD},
        headers=gateway | {"x-forwarded-for": "7.7.7.7"},
    )
    forged = await client.post(
        "/auth/login",
        json={"email": EMAIL, "password": "wrong"},
        headers={"x-forwarded-for": "8.8.8.8"},
    )

    assert [answer.status_code for answer in statuses] == [401] * 5 + [429] * 3
    assert statuses[-1].headers["retry-after"]
    assert own.status_code == 200
    assert forged.status_code == 401


async def test_parallel_refreshes_share_refresh_token_not_access_token(
    phone: Any,
) -> None:
    answers = await asyncio.gather(*(phone.refresh() for _ in range(5)))

    bodies = [answer.json() for answer in answers]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({body["refresh_token"] for body in bodies}) == 1
    assert len({body["access_token"] for body in bodies}) == 5
    assert all(body["token"] == body["access_token"] for body in bodies)
    assert (await phone.refresh(bodies[4]["refresh_token"])).status_code == 200


async def test_reuse_after_successor_was_used_revokes_login(
    phone: Any, client: httpx.AsyncClient, deps: Deps
) -> None:
    second = (await phone.refresh()).json()["refresh_token"]
    third = (await phone.refresh(second)).json()

    reused = await phone.refresh()

    assert reused.status_code == 401
    assert (await phone.refresh(third["refresh_token"])).status_code == 401
    phone.token = third["token"]
    assert (await phone.call("GET", "/auth/me")).status_code == 401
    assert len((await _revoked(client))["revoked"]) == 1
    async with deps.db.read_only() as tx:
        assert [row["action"] for row in await tx.fetch_all(select(AUDIT_LOG))] == [
            "refresh token reused"
        ]


async def test_reuse_after_grace_period_revokes_login(phone: Any, clock: FakeClock) -> None:
    second = (await phone.refresh()).json()["refresh_token"]
    clock.advance(61)

    assert (await phone.refresh()).status_code == 401
    assert (await phone.refresh(second)).status_code == 401


async def test_refresh_token_lifetime_and_login_max_age(phone: Any, clock: FakeClock) -> None:
    for _ in range(14):
        clock.advance(6 * 86_400)
        answer = await phone.refresh()
        assert answer.status_code == 200
        phone.refresh_token = answer.json()["refresh_token"]
    clock.advance(6 * 86_400 + 1)
    assert (await phone.refresh()).status_code == 401


async def test_expired_refresh_token_is_rejected(phone: Any, clock: FakeClock) -> None:
    clock.advance(7 * 86_400)

    assert (await phone.refresh()).status_code == 401


async def test_refresh_tokens_are_stored_as_digests(phone: Any, deps: Deps) -> None:
    async with deps.db.read_only() as tx:
        (row,) = await tx.fetch_all(select(REFRESH_TOKENS))

    assert phone.refresh_token.encode() not in bytes(row["digest"])
    assert (await phone.refresh(bytes(row["digest"]).hex())).status_code == 401


async def test_logout_revokes_one_login_or_all(client: httpx.AsyncClient, phone: Any) -> None:
    other = (await _login(client)).json()

    assert (await phone.call("POST", "/auth/logout")).status_code == 200
    assert (await phone.call("GET", "/auth/me")).status_code == 401
    assert (await phone.refresh()).status_code == 401
    phone.token, phone.refresh_token = other["token"], other["refresh_token"]
    assert (await phone.call("GET", "/auth/me")).status_code == 200
    await phone.call("POST", "/auth/logout", everywhere=True)
    assert (await phone.refresh()).status_code == 401
    assert len((await _revoked(client))["revoked"]) == 2


async def test_password_change_revokes_other_logins(client: httpx.AsyncClient, phone: Any) -> None:
    other = (await _login(client)).json()

    changed = await phone.call(
        "PUT", "/auth/me", name="Alice", newPassword="better horse", currentPassword=PASSWORD
    )

    assert changed.json()["name"] == "Alice"
    assert (await phone.call("GET", "/auth/me")).status_code == 200
    assert (await phone.refresh(other["refresh_token"])).status_code == 401
    assert (await _login(client)).status_code == 401
    assert (await _login(client, "better horse")).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"newPassword": "better horse"}, 422),
        ({"newPassword": "better horse", "currentPassword": "wrong"}, 403),
        ({"newPassword": PASSWORD, "currentPassword": PASSWORD}, 422),
        ({"newPassword": "a" * 8, "new_password": "b" * 8, "current_password": PASSWORD}, 422),
        ({"email": "bob@example.com"}, 400),
        ({"email": "nonsense"}, 422),
        ({"newPassword": "short", "currentPassword": PASSWORD}, 422),
    ],
)
async def test_invalid_account_update_changes_nothing(
    client: httpx.AsyncClient, phone: Any, body: dict[str, Any], status: int
) -> None:
    await client.post("/auth/register", json={"email": "bob@example.com", "password": PASSWORD})

    answer = await phone.call("PUT", "/auth/me", **body)

    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)
    assert (await phone.call("GET", "/auth/me")).json() == phone.user
    assert (await _login(client)).status_code == 200


async def test_account_deletion_requires_password_and_removes_data(
    service: Service, client: httpx.AsyncClient, phone: Any, deps: Deps
) -> None:
    wrong = await phone.call("DELETE", "/auth/me", password="wrong")
    deleted = await phone.call("DELETE", "/auth/me", password=PASSWORD)

    assert (wrong.status_code, deleted.status_code) == (403, 204)
    assert wrong.json()["code"] == "wrong_password"
    assert (await phone.call("GET", "/auth/me")).status_code == 401
    assert (await phone.refresh()).status_code == 401
    assert (await _login(client)).status_code == 401
    (event,) = await emitted_events(service.database, UserDeleted)
    assert str(event.user_id) == phone.user["id"]
    assert await emitted_events(service.database, UserRegistered) == []
    again = await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})
    assert again.status_code == 201
    assert again.json()["user"]["id"] != phone.user["id"]
    async with deps.db.read_only() as tx:
        assert len(await tx.fetch_all(select(REFRESH_TOKENS))) == 1


async def test_revocations_require_service_token_and_support_cursor(
    client: httpx.AsyncClient, phone: Any, clock: FakeClock
) -> None:
    refused = await client.get("/internal/revocations")
    forged = await phone.call("GET", "/internal/revocations")
    await phone.call("POST", "/auth/logout")
    first = await _revoked(client)
    overlap = await _revoked(client, first["cursor"])
    clock.advance(6)
    later = await _revoked(client, first["cursor"])
    clock.advance(3600)

    assert (refused.status_code, forged.status_code) == (401, 401)
    assert first["revoked"] == overlap["revoked"] != []
    assert later == {"cursor": first["cursor"], "revoked": [], "has_more": False}
    assert (await _revoked(client))["revoked"] == []


async def test_jwks_contains_only_public_fields(client: httpx.AsyncClient) -> None:
    (key,) = (await client.get("/.well-known/jwks.json")).json()["keys"]

    assert set(key) == {"kty", "use", "alg", "kid", "n", "e"}
    assert key["alg"] == "RS256"


async def test_concurrent_startup_creates_one_signing_key(
    service: Service, settings: AuthSettings, deps: Deps
) -> None:
    replicas = [build(settings, FakeTransport()) for _ in range(3)]
    keys = await asyncio.gather(*(signing_keys.get_signing_key(one.deps) for one in replicas))
    for one in replicas:
        await one.database.close()

    assert len({key.kid for key in keys}) == 1
    async with deps.db.read_only() as tx:
        (row,) = await tx.fetch_all(select(SIGNING_KEYS))
    assert "PRIVATE" not in row["private_key"]


async def test_tokens_survive_restart_and_wrong_secret_key_is_reported(
    service: Service, settings: AuthSettings, phone: Any
) -> None:
    async with (
        migrated_service(build(settings, FakeTransport())) as again,
        client_for(again) as client,
    ):
        phone.client = client
        assert (await phone.call("GET", "/auth/me")).status_code == 200
    changed = AuthSettings.load(**settings.model_dump() | {"secret_key": "another secret " * 4})
    async with migrated_service(build(changed, FakeTransport())) as wrong:
        with pytest.raises(SettingsError, match="SECRET_KEY"):
            await signing_keys.get_signing_key(wrong.deps)


def test_short_secret_key_fails_startup_without_leaking_it() -> None:
    with pytest.raises(SettingsError) as refused:
        AuthSettings.load(
            database_url="sqlite://", secret_key="hush", service_token="a token of services"
        )

    assert "SECRET_KEY" in str(refused.value)
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["secret_key", "service_token"])
def test_placeholder_secrets_fail_startup(name: str) -> None:
    values = {
        "secret_key": "a made up key of more than thirty-two letters",
        "service_token": "a token of services",
    }
    placeholder = {name: "please-change-me-please-change-me"}
    with pytest.raises(SettingsError, match=name.upper()):
        AuthSettings.load(database_url="sqlite://", **values | placeholder)
