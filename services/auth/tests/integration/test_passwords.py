"""Passwords under attack: bursts, guesses, common ones."""

import asyncio
import threading
from importlib.resources import files
from typing import Any

import httpx
import pytest

from coach_auth.app import build
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_auth.passwords import PasswordHasher, is_common_password
from coach_common.errors import Unavailable
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeTransport
from coach_common.testing.harness import client_for, migrated_service, wait_until
from coach_common.testing.servers import PrivateRedis

PASSWORD = "correct horse"


async def _login(client: httpx.AsyncClient, email: str, password: str = "wrong") -> httpx.Response:
    return await client.post("/auth/login", json={"email": email, "password": password})


async def test_hash_queue_overflow_returns_503_with_retry_after(
    deps: Deps, client: httpx.AsyncClient, phone: Any
) -> None:
    gate = threading.Event()
    held = [
        asyncio.create_task(deps.password_hasher._run(gate.wait))
        for _ in range(deps.password_hasher.max_in_flight)
    ]
    await asyncio.sleep(0)
    refused = await asyncio.gather(*(_login(client, f"p{n}@example.com") for n in range(5)))
    meanwhile = await phone.call("GET", "/auth/me")
    gate.set()
    await asyncio.gather(*held)
    afterwards = await _login(client, "p0@example.com")

    assert [answer.status_code for answer in refused] == [503] * 5
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(answer.json()["detail"].startswith("Too many people") for answer in refused)
    assert meanwhile.status_code == 200
    assert afterwards.status_code == 401


async def test_hash_pool_accepts_up_to_its_limit_and_recovers() -> None:
    passwords = PasswordHasher(4)
    kept = await asyncio.gather(
        *(passwords.hash(PASSWORD) for _ in range(passwords.max_in_flight + 7)),
        return_exceptions=True,
    )
    hashes = [one for one in kept if isinstance(one, str)]

    assert len(hashes) == passwords.max_in_flight
    assert sum(isinstance(one, Unavailable) for one in kept) == 7
    assert await passwords.check(PASSWORD, hashes[0])
    await passwords.close()


async def test_parallel_guesses_are_throttled_after_five_failures(
    deps: Deps, client: httpx.AsyncClient, phone: Any
) -> None:
    async def waiting_for(number: int) -> bool:
        return deps.password_hasher._in_flight == threads + number

    threads = deps.password_hasher._executor._max_workers
    gate = threading.Event()
    held = [asyncio.create_task(deps.password_hasher._run(gate.wait)) for _ in range(threads)]
    guesses = [
        asyncio.create_task(_login(client, "alice@example.com", f"guess {number}"))
        for number in range(12)
    ]
    await wait_until(lambda: waiting_for(12), description="twelve guesses waiting")
    last = asyncio.create_task(_login(client, "alice@example.com", PASSWORD))
    await wait_until(lambda: waiting_for(13), description="the right password waiting behind them")
    gate.set()
    wrong = [answer.status_code for answer in await asyncio.gather(*guesses)]
    right = await last
    await asyncio.gather(*held)

    assert wrong.count(401) == 5
    assert wrong.count(429) == 7
    assert right.status_code == 429


@pytest.mark.parametrize("password", ["123456", "Password1", "QWERTY123", "iloveyou"])
async def test_common_password_is_rejected(
    client: httpx.AsyncClient, phone: Any, password: str
) -> None:
    new = {"email": "bob@example.com", "password": password}
    answers = [
        await client.post("/auth/register", json=new),
        await phone.call("PUT", "/auth/me", newPassword=password, currentPassword=PASSWORD),
    ]

    for answer in answers:
        assert answer.status_code == 422
        assert "one of the most common passwords" in answer.json()["detail"]
        assert password not in answer.text
    assert (await _login(client, "alice@example.com", PASSWORD)).status_code == 200


def test_common_password_list_is_valid() -> None:
    lines = (files("coach_auth") / "common_passwords.txt").read_text("utf-8").split()

    assert len(lines) == len(set(lines)) >= 3000
    assert all(len(line) >= 6 and is_common_password(line.upper()) for line in lines)
    assert not is_common_password("a passphrase that nobody else has")
    assert not is_common_password("")


@pytest.mark.servers
async def test_failed_logins_are_shared_between_replicas_through_redis(
    settings: AuthSettings, redis: PrivateRedis
) -> None:
    email = f"{new_id()}@example.com"  # The server keeps what other tests counted.
    shared = AuthSettings.load(**settings.model_dump() | {"redis_url": redis.url})
    async with (
        migrated_service(build(shared, FakeTransport())) as one,
        migrated_service(build(shared, FakeTransport())) as other,
        client_for(one) as left,
        client_for(other) as right,
    ):
        statuses = [
            (await _login(client, email)).status_code
            for client in (left, right, left, right, left, right, left)
        ]

    assert statuses == [401] * 5 + [429] * 2


@pytest.mark.servers
async def test_login_and_throttling_work_while_redis_is_down(
    settings: AuthSettings,
) -> None:
    with PrivateRedis.run() as server:
        lost = AuthSettings.load(**settings.model_dump() | {"redis_url": server.url})
        server.stop()
    async with (
        migrated_service(build(lost, FakeTransport())) as service,
        client_for(service) as client,
    ):
        account = {"email": "dora@example.com", "password": PASSWORD}
        made = await client.post("/auth/register", json=account)
        right = await _login(client, "dora@example.com", PASSWORD)
        statuses = [(await _login(client, "dora@example.com")).status_code for _ in range(7)]

    assert (made.status_code, right.status_code) == (201, 200)
    assert statuses == [401] * 5 + [429] * 2
