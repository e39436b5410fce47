"""Password reset, e-mail verification and undo of an e-mail change."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import event, select

from coach_auth.deps import Deps
from coach_auth.tables import ACCOUNT_TOKENS, AUDIT_LOG, MAILS
from coach_auth.use_cases import accounts
from coach_common.testing.fakes import FakeClock

EMAIL, PASSWORD, NEW_PASSWORD = "alice@example.com", "correct horse", "better horse"
OTHER_EMAIL = "mallory@example.com"

DeliverMails = Callable[[], Awaitable[None]]


async def _forgot(client: httpx.AsyncClient, email: str = EMAIL) -> httpx.Response:
    return await client.post("/auth/password/forgot", json={"email": email})


async def _reset(client: httpx.AsyncClient, token: str, new: str = NEW_PASSWORD) -> httpx.Response:
    body = {"token": token, "new_password": new}
    return await client.post("/auth/password/reset", json=body)


async def _login(client: httpx.AsyncClient, password: str, email: str = EMAIL) -> int:
    answer = await client.post("/auth/login", json={"email": email, "password": password})
    return answer.status_code


@pytest.fixture
async def reset_token(
    client: httpx.AsyncClient, phone: Any, mailer: Any, deliver_mails: DeliverMails
) -> str:
    """The token of a password reset mail to Alice."""
    assert (await _forgot(client)).status_code == 202
    await deliver_mails()
    token: str = mailer.token("password_reset", EMAIL)
    return token


async def test_reset_sets_password_and_revokes_all_logins(
    client: httpx.AsyncClient, phone: Any, deps: Deps, reset_token: str
) -> None:
    answer = await _reset(client, reset_token)

    assert (answer.status_code, answer.content) == (204, b"")
    assert await _login(client, PASSWORD) == 401
    assert await _login(client, NEW_PASSWORD) == 200
    assert (await phone.call("GET", "/auth/me")).status_code == 401
    assert (await phone.refresh()).status_code == 401
    async with deps.db.read_only() as tx:
        actions = [row["action"] for row in await tx.fetch_all(select(AUDIT_LOG))]
    assert actions == ["password reset"]


async def test_reset_token_works_once(client: httpx.AsyncClient, reset_token: str) -> None:
    answers = await asyncio.gather(*(_reset(client, reset_token, f"horse {n} x") for n in range(4)))
    again = await _reset(client, reset_token)

    assert sorted(answer.status_code for answer in answers) == [204, 400, 400, 400]
    assert (again.status_code, again.json()["code"]) == (400, "token_invalid")


async def test_reset_token_expires_after_thirty_minutes(
    client: httpx.AsyncClient, clock: FakeClock, reset_token: str
) -> None:
    clock.advance(30 * 60 - 1)
    assert (await _reset(client, reset_token + "x")).status_code == 400
    clock.advance(1)

    assert (await _reset(client, reset_token)).status_code == 400
    assert await _login(client, PASSWORD) == 200


async def test_password_change_and_email_change_invalidate_reset_tokens(
    client: httpx.AsyncClient, phone: Any, mailer: Any, deliver_mails: DeliverMails
) -> None:
    for change in (
        {"newPassword": NEW_PASSWORD, "currentPassword": PASSWORD},
        {"email": "alice@example.org"},
    ):
        await _forgot(client)
        await deliver_mails()
        assert (await phone.call("PUT", "/auth/me", **change)).status_code == 200
        token = mailer.token("password_reset", EMAIL)
        assert (await _reset(client, token)).status_code == 400


async def test_tokens_are_not_interchangeable(
    client: httpx.AsyncClient, mailer: Any, deliver_mails: DeliverMails, reset_token: str
) -> None:
    verification = mailer.token("email_verification", EMAIL)

    assert (await _reset(client, verification)).status_code == 400
    for path in ("/auth/verify", "/auth/email/undo"):
        answer = await client.post(path, json={"token": reset_token})
        assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")


async def test_forgot_does_the_same_for_unknown_accounts(
    client: httpx.AsyncClient, phone: Any, mailer: Any, deps: Deps, deliver_mails: DeliverMails
) -> None:
    await deliver_mails()
    mailer.sent.clear()
    statements: list[str] = []
    event.listen(
        deps.db.statement_engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, *rest: statements.append(statement),
    )
    answers, written = [], []
    for email in (EMAIL, "nobody@example.com"):
        statements.clear()
        answers.append(await _forgot(client, email))
        written.append(list(statements))
    await deliver_mails()

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert written[0] == written[1] != []
    assert [mail.recipient for mail in mailer.sent] == [EMAIL]
    async with deps.db.read_only() as tx:
        assert await tx.fetch_all(select(MAILS)) == []


async def test_disabled_account_gets_no_mail_and_cannot_reset(
    client: httpx.AsyncClient,
    mailer: Any,
    deps: Deps,
    deliver_mails: DeliverMails,
    reset_token: str,
) -> None:
    await accounts.set_user_active(deps, EMAIL, is_active=False)
    mailer.sent.clear()
    await _forgot(client)
    await deliver_mails()

    assert mailer.sent == []
    assert (await _reset(client, reset_token)).status_code == 400


async def test_recipient_gets_at_most_three_mails_per_hour(
    client: httpx.AsyncClient,
    phone: Any,
    mailer: Any,
    clock: FakeClock,
    deliver_mails: DeliverMails,
) -> None:
    statuses = [(await _forgot(client)).status_code for _ in range(8)]
    await deliver_mails()
    within_an_hour = len(mailer.sent)
    clock.advance(3601)
    await _forgot(client)
    await deliver_mails()

    assert statuses == [202] * 8
    # The first one is the verification mail of the registration.
    assert within_an_hour == 1 + 3
    assert len(mailer.sent) == 5


async def test_address_may_send_twenty_reset_requests_per_hour(client: httpx.AsyncClient) -> None:
    answers = [await _forgot(client, f"p{n}@example.com") for n in range(22)]

    assert [answer.status_code for answer in answers] == [202] * 20 + [429] * 2
    assert answers[-1].headers["retry-after"]


async def test_address_may_send_twenty_invalid_tokens(
    client: httpx.AsyncClient, reset_token: str
) -> None:
    statuses = [(await _reset(client, f"guess {n}")).status_code for n in range(22)]

    assert statuses == [400] * 20 + [429] * 2
    assert (await _reset(client, reset_token)).status_code == 429


async def test_reset_rejects_common_passwords_and_keeps_the_token(
    client: httpx.AsyncClient, reset_token: str
) -> None:
    assert (await _reset(client, reset_token, "password1")).status_code == 422
    assert (await _reset(client, reset_token)).status_code == 204


async def test_reset_is_open_after_throttled_logins(
    client: httpx.AsyncClient, reset_token: str
) -> None:
    statuses = [await _login(client, "wrong") for _ in range(6)]
    assert statuses[-1] == 429
    assert (await _reset(client, reset_token)).status_code == 204

    assert await _login(client, NEW_PASSWORD) == 200


async def test_verification_marks_the_address_as_verified(
    client: httpx.AsyncClient, phone: Any, mailer: Any, deliver_mails: DeliverMails
) -> None:
    await deliver_mails()
    token = mailer.token("email_verification", EMAIL)
    answers = [await client.post("/auth/verify", json={"token": token}) for _ in range(2)]

    assert phone.user["is_verified"] is False
    assert [answer.status_code for answer in answers] == [204, 400]
    assert (await phone.call("GET", "/auth/me")).json()["is_verified"] is True


async def test_verification_mail_can_be_sent_again(
    client: httpx.AsyncClient, phone: Any, mailer: Any, deliver_mails: DeliverMails
) -> None:
    await deliver_mails()
    first = mailer.token("email_verification", EMAIL)
    assert (await phone.call("POST", "/auth/verify/resend")).status_code == 202
    await deliver_mails()
    second = mailer.token("email_verification", EMAIL)

    assert (await client.post("/auth/verify", json={"token": first})).status_code == 400
    assert (await client.post("/auth/verify", json={"token": second})).status_code == 204
    assert (await phone.call("POST", "/auth/verify/resend")).status_code == 202
    await deliver_mails()
    assert len(mailer.sent) == 2
    assert (await client.post("/auth/verify/resend")).status_code == 401


async def test_changed_address_is_unverified_and_the_former_one_is_notified(
    client: httpx.AsyncClient, phone: Any, mailer: Any, deliver_mails: DeliverMails
) -> None:
    await deliver_mails()
    old = mailer.token("email_verification", EMAIL)
    await client.post("/auth/verify", json={"token": old})
    changed = (await phone.call("PUT", "/auth/me", email=OTHER_EMAIL)).json()
    await deliver_mails()

    assert (changed["email"], changed["is_verified"]) == (OTHER_EMAIL, False)
    assert {(mail.template, mail.recipient) for mail in mailer.sent[1:]} == {
        ("email_changed", EMAIL),
        ("email_verification", OTHER_EMAIL),
    }
    assert OTHER_EMAIL not in mailer.sent[1].text


async def test_change_of_case_sends_no_mail(
    phone: Any, mailer: Any, deliver_mails: DeliverMails
) -> None:
    changed = (await phone.call("PUT", "/auth/me", email="Alice@Example.com")).json()
    await deliver_mails()

    assert changed["email"] == "Alice@example.com"
    assert [mail.template for mail in mailer.sent] == ["email_verification"]


async def test_undo_restores_the_address_and_locks_the_attacker_out(
    client: httpx.AsyncClient, phone: Any, mailer: Any, deliver_mails: DeliverMails
) -> None:
    """The attacker has an access token, changes the address, and resets the password by mail."""
    await phone.call("PUT", "/auth/me", email=OTHER_EMAIL)
    await _forgot(client, OTHER_EMAIL)
    await deliver_mails()
    stolen = mailer.token("password_reset", OTHER_EMAIL)
    assert (await _reset(client, stolen, "attackers own")).status_code == 204
    attacker = await client.post(
        "/auth/login", json={"email": OTHER_EMAIL, "password": "attackers own"}
    )
    phone.token = attacker.json()["token"]

    undo = mailer.token("email_changed", EMAIL)
    answers = [await client.post("/auth/email/undo", json={"token": undo}) for _ in range(2)]
    await deliver_mails()

    assert [answer.status_code for answer in answers] == [204, 400]
    assert (await phone.call("GET", "/auth/me")).status_code == 401
    for email in (EMAIL, OTHER_EMAIL):
        for password in (PASSWORD, "attackers own", "!"):
            assert await _login(client, password, email) in (401, 429)
    token = mailer.token("password_reset", EMAIL)
    assert (await _reset(client, token)).status_code == 204
    body = {"email": EMAIL, "password": NEW_PASSWORD}
    restored = (await client.post("/auth/login", json=body)).json()["user"]
    assert (restored["id"], restored["email"]) == (phone.user["id"], EMAIL)


async def test_undo_works_for_seven_days(
    client: httpx.AsyncClient,
    phone: Any,
    mailer: Any,
    clock: FakeClock,
    deliver_mails: DeliverMails,
) -> None:
    await phone.call("PUT", "/auth/me", email=OTHER_EMAIL)
    await deliver_mails()
    token = mailer.token("email_changed", EMAIL)
    clock.advance(7 * 86_400)

    assert (await client.post("/auth/email/undo", json={"token": token})).status_code == 400


async def test_undo_of_the_first_change_cancels_later_ones(
    client: httpx.AsyncClient,
    phone: Any,
    mailer: Any,
    clock: FakeClock,
    deliver_mails: DeliverMails,
) -> None:
    await phone.call("PUT", "/auth/me", email=OTHER_EMAIL)
    clock.advance(1)
    await phone.call("PUT", "/auth/me", email="mallory@example.org")
    await deliver_mails()
    first = mailer.token("email_changed", EMAIL)
    second = mailer.token("email_changed", OTHER_EMAIL)

    assert (await client.post("/auth/email/undo", json={"token": first})).status_code == 204
    assert (await client.post("/auth/email/undo", json={"token": second})).status_code == 400


async def test_former_address_is_reserved_while_the_change_can_be_undone(
    client: httpx.AsyncClient, phone: Any, clock: FakeClock
) -> None:
    await phone.call("PUT", "/auth/me", email=OTHER_EMAIL)
    bob = {"email": "bob@example.com", "password": PASSWORD}
    token = (await client.post("/auth/register", json=bob)).json()["token"]
    bearer = {"authorization": f"Bearer {token}"}
    taken = {"email": EMAIL, "password": PASSWORD}

    for answer in (
        await client.post("/auth/register", json=taken),
        await client.put("/auth/me", json={"email": EMAIL}, headers=bearer),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "email_taken")
    assert (await client.get("/auth/me", headers=bearer)).json()["email"] == "bob@example.com"
    assert (await phone.call("PUT", "/auth/me", email=EMAIL)).status_code == 200


async def test_user_may_change_the_address_five_times_a_day(phone: Any) -> None:
    statuses = [
        (await phone.call("PUT", "/auth/me", email=f"alice{n}@example.com")).status_code
        for n in range(6)
    ]

    assert statuses == [200] * 5 + [429]


async def test_database_holds_no_token(deps: Deps, reset_token: str) -> None:
    async with deps.db.read_only() as tx:
        rows = await tx.fetch_all(select(ACCOUNT_TOKENS)) + await tx.fetch_all(select(MAILS))

    assert rows
    assert reset_token not in repr(rows)
    assert reset_token.encode() not in b"".join(
        value for row in rows for value in row.values() if isinstance(value, bytes)
    )


async def test_deleted_account_leaves_no_mail_and_no_token(
    phone: Any, deps: Deps, mailer: Any, deliver_mails: DeliverMails
) -> None:
    await deliver_mails()
    await phone.call("PUT", "/auth/me", email=OTHER_EMAIL)
    assert (await phone.call("DELETE", "/auth/me", password=PASSWORD)).status_code == 204

    async with deps.db.read_only() as tx:
        assert await tx.fetch_all(select(ACCOUNT_TOKENS)) == []
        assert await tx.fetch_all(select(MAILS)) == []
    assert [mail for mail in mailer.sent if mail.user_id == UUID(phone.user["id"])] == []
