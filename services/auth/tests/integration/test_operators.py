"""What operators type, against the tables of a running service."""

import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from coach_auth import __main__ as commands
from coach_auth import operators
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_auth.tables import AUDIT
from coach_auth.use_cases import signing
from coach_common.errors import CoachError, Invalid
from coach_common.events.catalog import UserRegistered
from coach_common.service import Service
from coach_common.testing.harness import published

EMAIL, PASSWORD = "alice@example.com", "correct horse"
SERVICE_TOKEN = {"authorization": "Bearer a token between services"}


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give standard input a line."""
    return lambda line: monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))


async def _login(client: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/auth/login", json={"email": EMAIL, "password": password})


async def test_an_account_that_an_operator_made_can_sign_in(
    service: Service, client: httpx.AsyncClient, typed: Callable[[str], None]
) -> None:
    typed("a fine password")
    said = await operators.create_user(service, EMAIL, "Alice")

    user = (await _login(client, "a fine password")).json()["user"]
    assert user["name"] == "Alice"
    assert user["id"] in said and "fine" not in said
    assert len(await published(service.database, UserRegistered)) == 1


async def test_what_registration_refuses_an_operator_cannot_make_either(
    service: Service, phone: Any, typed: Callable[[str], None]
) -> None:
    for email, password, reason in (
        ("nonsense", PASSWORD, "email"),
        ("bob@example.com", "short", "password"),
    ):
        typed(password)
        with pytest.raises(Invalid, match=reason):
            await operators.create_user(service, email, None)
    typed(PASSWORD)
    with pytest.raises(CoachError, match="already registered"):
        await operators.create_user(service, EMAIL, None)


async def test_disabling_ends_all_logins_and_is_recorded_and_enabling_lets_in_again(
    service: Service, client: httpx.AsyncClient, phone: Any, deps: Deps
) -> None:
    await _login(client)
    before = await operators.show_user(service, EMAIL.upper())

    await operators.disable_user(service, EMAIL)
    await operators.disable_user(service, EMAIL)

    assert "2 logins" in before
    assert (await phone.call("GET", "/auth/me")).status_code == 401
    assert (await phone.refresh()).status_code == 401
    assert (await _login(client)).status_code == 401
    told = await client.get("/internal/revocations", headers=SERVICE_TOKEN)
    assert len(told.json()["revoked"]) == 2
    shown = await operators.show_user(service, EMAIL)
    assert "disabled" in shown and "0 logins" in shown
    await operators.enable_user(service, EMAIL)
    assert (await _login(client)).status_code == 200
    assert (await phone.refresh()).status_code == 401
    async with deps.db.read() as tx:
        assert sorted(row["what"] for row in await tx.rows(select(AUDIT))) == [
            "disabled by an operator",
            "enabled by an operator",
        ]


async def test_nobody_is_said_to_be_nobody(service: Service) -> None:
    for operation in (operators.show_user, operators.disable_user, operators.enable_user):
        with pytest.raises(CoachError, match="no account"):
            await operation(service, "nobody@example.com")


async def test_keys_are_listed_rotated_and_removed(service: Service, deps: Deps) -> None:
    active = (await signing.get_signing_key(deps)).kid
    said = await operators.rotate_keys(service)
    (new,) = (key.kid for key in await signing.list_keys(deps) if key.kid != active)
    listed = (await operators.list_keys(service)).splitlines()
    await operators.retire_key(service, active)
    (left,) = (await operators.list_keys(service)).splitlines()

    assert new in said
    assert [line.split()[:2] for line in listed] == [[active, "active"], [new, "published"]]
    assert left.split()[:2] == [new, "active"]


def _environment(monkeypatch: pytest.MonkeyPatch, settings: AuthSettings) -> None:
    for name in ("database_url", "secret_key", "service_token", "bcrypt_cost"):
        monkeypatch.setenv(name.upper(), str(getattr(settings, name)))
    monkeypatch.delenv("RABBITMQ_URL", raising=False)


async def test_the_commands_work_from_the_environment_without_a_broker(
    service: Service,
    settings: AuthSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: Callable[[str], None],
) -> None:
    import asyncio

    _environment(monkeypatch, settings)
    typed(PASSWORD)
    codes = [
        await asyncio.to_thread(commands.users, ["create", EMAIL]),
        await asyncio.to_thread(commands.users, ["show", EMAIL]),
        await asyncio.to_thread(commands.users, ["show", "nobody@example.com"]),
        await asyncio.to_thread(commands.main, ["keys", "rotate"]),
        await asyncio.to_thread(commands.main, ["keys", "list"]),
    ]

    out, err = capsys.readouterr()
    assert codes == [0, 0, 1, 0, 0]
    assert "1 logins" not in out and "0 logins" in out
    assert "published" in out.splitlines()[-1]
    assert err.splitlines() == ["error: There is no account with this e-mail."]
