"""Operator commands on the database of a running service."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from coach_auth import __main__ as commands
from coach_auth import admin_cli
from coach_auth.app import build
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_auth.tables import AUDIT_LOG
from coach_auth.use_cases import signing_keys
from coach_common.errors import CoachError, InvalidInput
from coach_common.events.catalog import UserRegistered
from coach_common.service import Service
from coach_common.testing.fakes import FakeTransport
from coach_common.testing.harness import emitted_events, migrated_service

EMAIL, PASSWORD = "alice@example.com", "correct horse"
SERVICE_TOKEN = {"authorization": "Bearer a token between services"}


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that puts a line on standard input."""
    return lambda line: monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))


async def _login(client: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/auth/login", json={"email": EMAIL, "password": password})


async def test_account_created_by_cli_can_log_in(
    service: Service, client: httpx.AsyncClient, typed: Callable[[str], None]
) -> None:
    typed("a fine password")
    printed = await admin_cli.create_user(service.deps, EMAIL, "Alice")

    user = (await _login(client, "a fine password")).json()["user"]
    assert user["name"] == "Alice"
    assert user["id"] in printed and "fine" not in printed
    assert len(await emitted_events(service.database, UserRegistered)) == 1


async def test_cli_create_applies_registration_rules(
    service: Service, phone: Any, typed: Callable[[str], None]
) -> None:
    for email, password, reason in (
        ("nonsense", PASSWORD, "email"),
        ("bob@example.com", "short", "password"),
    ):
        typed(password)
        with pytest.raises(InvalidInput, match=reason):
            await admin_cli.create_user(service.deps, email, None)
    typed(PASSWORD)
    with pytest.raises(CoachError, match="already registered"):
        await admin_cli.create_user(service.deps, EMAIL, None)


async def test_disable_revokes_logins_and_is_audited_enable_restores_access(
    service: Service, client: httpx.AsyncClient, phone: Any, deps: Deps
) -> None:
    await _login(client)
    before = await admin_cli.show_user(service.deps, EMAIL.upper())

    await admin_cli.disable_user(service.deps, EMAIL)
    await admin_cli.disable_user(service.deps, EMAIL)

    assert "2 logins" in before
    assert (await phone.call("GET", "/auth/me")).status_code == 401
    assert (await phone.refresh()).status_code == 401
    assert (await _login(client)).status_code == 401
    revocations = await client.get("/internal/revocations", headers=SERVICE_TOKEN)
    assert len(revocations.json()["revoked"]) == 2
    shown = await admin_cli.show_user(service.deps, EMAIL)
    assert "disabled" in shown and "0 logins" in shown
    await admin_cli.enable_user(service.deps, EMAIL)
    assert (await _login(client)).status_code == 200
    assert (await phone.refresh()).status_code == 401
    async with deps.db.read_only() as tx:
        assert sorted(row["action"] for row in await tx.fetch_all(select(AUDIT_LOG))) == [
            "disabled by an operator",
            "enabled by an operator",
        ]


async def test_unknown_user_is_reported(service: Service) -> None:
    for operation in (
        admin_cli.show_user,
        admin_cli.disable_user,
        admin_cli.enable_user,
        admin_cli.reset_password,
    ):
        with pytest.raises(CoachError, match="no account"):
            await operation(service.deps, "nobody@example.com")


async def test_keys_can_be_listed_rotated_and_revoked(service: Service, deps: Deps) -> None:
    active = (await signing_keys.get_signing_key(deps)).kid
    printed = await admin_cli.rotate_keys(service.deps)
    (new,) = (key.kid for key in await signing_keys.list_keys(deps) if key.kid != active)
    listed = (await admin_cli.list_keys(service.deps)).splitlines()
    await admin_cli.revoke_key(service.deps, active)
    (left,) = (await admin_cli.list_keys(service.deps)).splitlines()

    assert new in printed
    assert {tuple(line.split()[:2]) for line in listed} == {(active, "active"), (new, "published")}
    assert left.split()[:2] == [new, "active"]


async def test_reset_password_queues_a_mail_and_is_audited(
    service: Service,
    client: httpx.AsyncClient,
    phone: Any,
    deps: Deps,
    mailer: Any,
    deliver_mails: Callable[[], Awaitable[None]],
) -> None:
    printed = await admin_cli.reset_password(deps, EMAIL.upper())
    await deliver_mails()
    token = mailer.token("password_reset", EMAIL)

    body = {"token": token, "new_password": "better horse"}
    assert token not in printed
    assert (await client.post("/auth/password/reset", json=body)).status_code == 204
    assert (await _login(client, "better horse")).status_code == 200
    async with deps.db.read_only() as tx:
        actions = {row["action"] for row in await tx.fetch_all(select(AUDIT_LOG))}
    assert actions == {"password reset started by an operator", "password reset"}


async def test_reset_password_prints_the_token_without_smtp(
    settings: AuthSettings, service: Service, client: httpx.AsyncClient, phone: Any
) -> None:
    async with migrated_service(build(settings, FakeTransport())) as without_smtp:
        printed = await admin_cli.reset_password(without_smtp.deps, EMAIL)

    body = {"token": printed.splitlines()[-1], "new_password": "better horse"}
    assert (await client.post("/auth/password/reset", json=body)).status_code == 204


async def test_reset_password_of_disabled_account_is_refused(deps: Deps, phone: Any) -> None:
    await admin_cli.disable_user(deps, EMAIL)

    with pytest.raises(CoachError, match="disabled"):
        await admin_cli.reset_password(deps, EMAIL)


def _environment(monkeypatch: pytest.MonkeyPatch, settings: AuthSettings) -> None:
    for name in ("database_url", "secret_key", "service_token", "bcrypt_cost"):
        monkeypatch.setenv(name.upper(), str(getattr(settings, name)))
    monkeypatch.delenv("RABBITMQ_URL", raising=False)


async def test_commands_need_only_environment_settings_and_no_broker(
    service: Service,
    settings: AuthSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: Callable[[str], None],
) -> None:
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


@pytest.mark.parametrize("verb", ["revoke", "retire"])
async def test_key_can_be_revoked_under_current_and_former_name(
    service: Service,
    settings: AuthSettings,
    deps: Deps,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    _environment(monkeypatch, settings)
    active = (await signing_keys.get_signing_key(deps)).kid

    code = await asyncio.to_thread(commands.main, ["keys", verb, active])

    assert code == 0
    assert active in capsys.readouterr().out
    assert active not in [key.kid for key in await signing_keys.list_keys(deps)]


def test_former_verb_is_not_listed_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.keys(["--help"]) == 0

    out = capsys.readouterr().out
    assert "revoke" in out and "retire" not in out
