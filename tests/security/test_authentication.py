"""Attacks on login, refresh and account: guessing, replay, races and credential stuffing."""

import asyncio
import hashlib
import json
import time
from uuid import UUID

import httpx
import pytest
from attacker import PASSWORD, ApiUser, SystemUnderTest, send_raw_request

from coach_common.testing.harness import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _refresh(user: ApiUser, token: str) -> httpx.Response:
    response = await user.http.post("/auth/refresh", json={"refresh_token": token})
    if response.status_code == 200:
        user.target.secrets |= {response.json()["refresh_token"], response.json()["token"]}
    return response


@pytest.mark.parametrize("index", range(5))
async def test_a14_any_parallel_refresh_result_can_be_used_next(alice: ApiUser, index: int) -> None:
    responses = await asyncio.gather(*(_refresh(alice, alice.refresh_token) for _ in range(5)))
    renewed = await _refresh(alice, responses[index].json()["refresh_token"])

    assert [response.status_code for response in responses] == [200] * 5
    assert len({response.json()["token"] for response in responses}) == 5
    assert renewed.status_code == 200


async def test_a15_reuse_after_successor_use_revokes_login(alice: ApiUser) -> None:
    first = alice.refresh_token
    second = (await _refresh(alice, first)).json()["refresh_token"]
    third = (await _refresh(alice, second)).json()

    assert (await _refresh(alice, first)).status_code == 401
    assert (await _refresh(alice, third["refresh_token"])).status_code == 401

    async def is_revoked() -> bool:
        return (await alice.call("GET", "/auth/me")).status_code == 401

    await wait_until(is_revoked, description="rejection of the access token", timeout_seconds=1.0)


async def test_a16_reuse_after_grace_period_revokes_login(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    first = alice.refresh_token
    second = (await _refresh(alice, first)).json()["refresh_token"]
    a_minute_ago = "strftime('%Y-%m-%d %H:%M:%f000', used_at, '-61 seconds')"
    target.execute_sql(
        "auth",
        f"UPDATE refresh_tokens SET used_at = {a_minute_ago} WHERE digest = ?",
        hashlib.sha256(first.encode()).digest(),
    )

    assert (await _refresh(alice, first)).status_code == 401
    assert (await _refresh(alice, second)).status_code == 401


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [("refresh_tokens", "expires_at", "login_id"), ("logins", "expires_at", "id")],
)
async def test_a19_refresh_expires_after_seven_days_and_login_after_ninety(
    target: SystemUnderTest, alice: ApiUser, table: str, column: str, key: str
) -> None:
    """Each refresh starts seven new days. A login expires 90 days after it was created."""
    ((login_id, expires_at),) = target.query(
        "auth",
        "SELECT login_id, julianday(expires_at) - julianday('now') FROM refresh_tokens"
        " WHERE digest = ?",
        hashlib.sha256(alice.refresh_token.encode()).digest(),
    )
    renewed = (await _refresh(alice, alice.refresh_token)).json()["refresh_token"]
    target.execute_sql(
        "auth",
        f"UPDATE {table} SET {column} = '2026-01-01 00:00:00.000000' WHERE {key} = ?",
        login_id,
    )

    assert 6.9 < expires_at < 7.1
    assert (await _refresh(alice, renewed)).status_code == 401


async def test_a18_refresh_after_logout_is_rejected(
    target: SystemUnderTest, alice: ApiUser
) -> None:
    first, token = alice.refresh_token, alice.token
    await alice.login()
    second = alice.refresh_token
    digest = hashlib.sha256(first.encode()).digest()
    assert target.query("auth", "SELECT 1 FROM refresh_tokens WHERE digest = ?", digest)
    for stolen in (digest.hex(), hashlib.sha256(digest).hexdigest(), first[:-1], first + "="):
        assert (await _refresh(alice, stolen)).status_code == 401

    assert (await alice.call("POST", "/auth/logout")).status_code == 200
    assert (await _refresh(alice, second)).status_code == 401

    alice.token = token
    assert (await _refresh(alice, first)).status_code == 200
    assert (await alice.call("POST", "/auth/logout", json={"everywhere": True})).status_code == 200
    assert (await _refresh(alice, first)).status_code == 401


async def test_a18_tokens_of_deleted_account_are_rejected(alice: ApiUser) -> None:
    deleted = await alice.call("DELETE", "/auth/me", json={"password": PASSWORD})

    assert deleted.status_code == 204
    assert (await _refresh(alice, alice.refresh_token)).status_code == 401
    assert (await alice.login()).status_code == 401


async def test_a20_login_errors_do_not_reveal_account_existence(
    target: SystemUnderTest, bob: ApiUser
) -> None:
    bodies = []
    for email in (bob.email, "unknown-user@example.com"):
        async with ApiUser(target) as guesser:
            response = await guesser.http.post(
                "/auth/login", json={"email": email, "password": "a wrong guess"}
            )
        assert response.status_code == 401
        bodies.append({**response.json(), "request_id": ""})

    assert bodies[0] == bodies[1]
    assert bodies[0]["detail"] == "Incorrect email or password"


async def test_a22_huge_passwords_do_not_block_the_server(anonymous: ApiUser, bob: ApiUser) -> None:
    body = json.dumps({"email": bob.email, "password": "x" * 2**20})
    headers = {"content-type": "application/json"}
    flood = [anonymous.http.post("/auth/login", content=body, headers=headers) for _ in range(20)]
    *rejected, served = await asyncio.gather(*flood, bob.call("GET", "/auth/me"))

    assert {response.status_code for response in rejected} <= {413, 422}
    assert served.status_code == 200


async def test_a22_overlong_password_is_rejected_before_hashing(
    anonymous: ApiUser, bob: ApiUser
) -> None:
    for password in ("x" * 129, "x" * 500_000, "\N{GRINNING FACE}" * 129):
        response = await anonymous.http.post(
            "/auth/login", json={"email": bob.email, "password": password}
        )
        assert response.status_code == 422


async def test_a23_email_variants_register_one_account(
    target: SystemUnderTest, anonymous: ApiUser
) -> None:
    name = anonymous.name
    spellings = [f"{name}@X.io", f"{name.upper()}@x.io", f" {name}@x.io ", f"{name}@x.io"] * 5
    responses = await asyncio.gather(
        *(
            anonymous.http.post("/auth/register", json={"email": email, "password": PASSWORD})
            for email in spellings
        )
    )

    statuses = sorted(response.status_code for response in responses)
    assert statuses[0] == 201 and set(statuses[1:]) <= {400, 422}
    emails = target.query("auth", "SELECT email FROM users WHERE lower(email) LIKE ?", f"{name}@%")
    assert len(emails) == 1


async def test_a24_password_guessing_is_throttled_without_lockout(
    target: SystemUnderTest, bob: ApiUser, alice: ApiUser
) -> None:
    statuses = []
    async with ApiUser(target) as guesser:
        for number in range(60):
            forged = f"9.9.9.{number}"
            response = await guesser.http.post(
                "/auth/login",
                json={"email": alice.email, "password": f"guess {number}"},
                headers={
                    "x-forwarded-for": forged,
                    "x-real-ip": forged,
                    "forwarded": f"for={forged}",
                    "x_forwarded_for": forged,
                },
            )
            statuses.append(response.status_code)
        correct = await guesser.http.post(
            "/auth/login", json={"email": alice.email, "password": PASSWORD}
        )

    assert 401 in statuses
    assert 429 in statuses[:6], "the sixth failure is throttled despite forged headers"
    assert statuses.count(401) < 12
    assert correct.status_code == 429
    assert (await alice.login()).status_code == 200


async def test_a25_mass_assignment_is_ignored(target: SystemUnderTest, anonymous: ApiUser) -> None:
    extra_fields = {
        "id": "00000000-0000-7000-8000-000000000000", "user_id": "x", "is_active": False,
        "is_admin": True, "scope": "admin", "created_at": "2001-01-01T00:00:00Z",
        "email_digest": "x", "password_hash": "x",
    }  # fmt: skip
    registered = await anonymous.http.post(
        "/auth/register", json={"email": anonymous.email, "password": PASSWORD} | extra_fields
    )
    anonymous.store_tokens(registered.json())
    before = registered.json()["user"]
    changed = await anonymous.call("PUT", "/auth/me", json={"name": "Me"} | extra_fields)

    assert before["id"] != extra_fields["id"] and before["is_active"] is True
    assert changed.json() == before | {"name": "Me"}
    row = target.query("auth", "SELECT count(*) FROM users WHERE id = ?", UUID(before["id"]).bytes)
    assert row == [(1,)]


async def test_a26_password_change_requires_current_password(
    target: SystemUnderTest, alice: ApiUser, bob: ApiUser
) -> None:
    before = target.user_rows_digest(alice.user_id)
    new = "eight violet walrus umbrellas"
    for body, status in (
        ({"newPassword": new}, 422),
        ({"newPassword": new, "currentPassword": "wrong"}, 403),
        ({"newPassword": new, "new_password": "x" * 12, "currentPassword": PASSWORD}, 422),
        ({"newPassword": "short", "currentPassword": PASSWORD}, 422),
        ({"email": bob.email, "currentPassword": PASSWORD}, 400),
        ({"email": bob.email.upper(), "currentPassword": PASSWORD}, 400),
    ):
        response = await alice.call("PUT", "/auth/me", json=body)
        assert response.status_code == status, (body.keys(), response.text)

    assert target.user_rows_digest(alice.user_id) == before


async def test_a26_password_change_revokes_other_logins(alice: ApiUser) -> None:
    other = alice.token
    await alice.login()
    target_password = "eight violet walrus umbrellas"
    alice.target.secrets.add(target_password)
    changed = await alice.call(
        "PUT",
        "/auth/me",
        json={"newPassword": target_password, "currentPassword": PASSWORD},
    )

    assert changed.status_code == 200

    async def is_revoked() -> bool:
        response = await alice.http.get("/auth/me", headers={"authorization": f"Bearer {other}"})
        return response.status_code == 401

    await wait_until(is_revoked, description="revocation of the other login", timeout_seconds=1.0)
    assert (await alice.call("GET", "/auth/me")).status_code == 200


async def test_a27_account_deletion_requires_password(alice: ApiUser) -> None:
    statuses = [
        (await alice.call("DELETE", "/auth/me", json={"password": f"guess {n}"})).status_code
        for n in range(20)
    ]

    assert statuses[0] == 403 and 429 in statuses and set(statuses) == {403, 429}
    assert (await alice.call("GET", "/auth/me")).status_code == 200


@pytest.mark.parametrize(
    "email",
    [
        "a" * 10_000 + "@example.com", "a@a" * 5_000, "a@x.io\r\nBcc: b@x.io", "a@x.io\n",
        "a\0@x.io", '"a b"@x.io', "a@b@x.io", "@x.io", "a@", "a@-x.io", "a@localhost",
        ["a@x.io"], {"a": 1}, 7, None,
    ],
    ids=lambda email: repr(email)[:20],
)  # fmt: skip
async def test_a28_invalid_email_is_rejected(anonymous: ApiUser, email: object) -> None:
    response = await anonymous.http.post(
        "/auth/register", json={"email": email, "password": PASSWORD}
    )

    assert response.status_code == 422


async def test_a28_homoglyph_email_is_a_different_account(anonymous: ApiUser, bob: ApiUser) -> None:
    """Uses the Cyrillic letter U+0435 instead of the Latin e."""
    homoglyph = bob.email.replace("example", "\u0435xample")
    response = await anonymous.http.post(
        "/auth/register", json={"email": homoglyph, "password": PASSWORD}
    )

    assert response.status_code in (201, 422)
    if response.status_code == 201:
        assert response.json()["user"]["id"] != bob.user_id
    assert (await bob.call("GET", "/auth/me")).json()["email"] == bob.email


async def test_a82_reregistered_email_starts_empty(target: SystemUnderTest, alice: ApiUser) -> None:
    old_token, old_refresh, old_id = alice.token, alice.refresh_token, alice.user_id
    session_id = await alice.session(title="Before deletion")
    await alice.call("DELETE", "/auth/me", json={"password": PASSWORD})
    await alice.register()

    assert alice.user_id != old_id
    assert (await alice.call("GET", "/sessions")).json()["sessions"] == []
    assert (await alice.call("GET", f"/sessions/{session_id}")).status_code == 404
    assert (await _refresh(alice, old_refresh)).status_code == 401

    async def is_revoked() -> bool:
        response = await alice.http.get(
            "/sessions", headers={"authorization": f"Bearer {old_token}"}
        )
        return response.status_code == 401

    async def are_deleted() -> bool:
        query = "SELECT 1 FROM sessions WHERE user_id = ?"
        return target.query("sessions", query, UUID(old_id).bytes) == []

    await wait_until(is_revoked, description="rejection of the old token", timeout_seconds=1.0)
    await wait_until(are_deleted, description="deletion of the old sessions")


async def test_a22_slow_body_times_out(target: SystemUnderTest) -> None:
    started_at = time.monotonic()
    response = await send_raw_request(
        target,
        b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 1000\r\n\r\n{",
        seconds=120,
    )

    assert response.status in (400, 408)
    assert time.monotonic() - started_at < 20
