"""Bursts of password hashes, parallel guesses and common passwords."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from coach_auth.app import build
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_auth.hash_queue import HashOwner
from coach_auth.passwords import PasswordHasher, is_common_password
from coach_common.errors import Unavailable
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeTransport
from coach_common.testing.harness import client_for, migrated_service, wait_until
from coach_common.testing.servers import PrivateRedis

PASSWORD = "correct horse"


async def _login(client: httpx.AsyncClient, email: str, password: str = "wrong") -> httpx.Response:
    return await client.post("/auth/login", json={"email": email, "password": password})


@asynccontextmanager
async def _busy_threads(hasher: PasswordHasher, *, waiting: int = 0) -> AsyncIterator[None]:
    """Keep all threads busy, and some places of the queue taken, while the block lasts."""
    gate = threading.Event()
    tasks = [
        asyncio.create_task(
            hasher.queue.run(HashOwner.login(client_ip=f"busy {n}", account=f"busy {n}"), gate.wait)
        )
        for n in range(hasher.threads + waiting)
    ]
    await _until(lambda: hasher.queue.waiting_count == waiting, "busy threads")
    try:
        yield
    finally:
        gate.set()
        await asyncio.gather(*tasks)


async def _until(condition: Callable[[], bool], description: str) -> None:
    async def probe() -> bool:
        return condition()

    await wait_until(probe, description=description)


async def test_hash_queue_overflow_returns_503_with_retry_after(
    deps: Deps, client: httpx.AsyncClient, phone: Any
) -> None:
    hasher = deps.password_hasher
    async with _busy_threads(hasher, waiting=hasher.queue.max_waiting):
        refused = await asyncio.gather(*(_login(client, f"p{n}@example.com") for n in range(5)))
        meanwhile = await phone.call("GET", "/auth/me")
    afterwards = await _login(client, "p0@example.com")

    assert [answer.status_code for answer in refused] == [503] * 5
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(answer.json()["detail"].startswith("Too many people") for answer in refused)
    assert meanwhile.status_code == 200
    assert afterwards.status_code == 401


async def test_hash_pool_accepts_up_to_its_limit_and_recovers() -> None:
    passwords = PasswordHasher(4)
    limit = passwords.queue.max_waiting
    owner = HashOwner.registration(client_ip="1.1.1.1", account="alice")
    async with _busy_threads(passwords):
        tasks = [asyncio.create_task(passwords.hash(PASSWORD, owner)) for _ in range(limit + 7)]
        await _until(lambda: sum(task.done() for task in tasks) == 7, "seven refusals")
    kept = await asyncio.gather(*tasks, return_exceptions=True)
    hashes = [one for one in kept if isinstance(one, str)]

    assert len(hashes) == limit
    assert sum(isinstance(one, Unavailable) for one in kept) == 7
    assert await passwords.check(PASSWORD, hashes[0], owner)
    await passwords.close()


async def test_parallel_guesses_are_throttled_after_five_failures(
    deps: Deps, client: httpx.AsyncClient, phone: Any
) -> None:
    queue = deps.password_hasher.queue
    async with _busy_threads(deps.password_hasher):
        guesses = [
            asyncio.create_task(_login(client, "alice@example.com", f"guess {number}"))
            for number in range(12)
        ]
        await _until(lambda: queue.waiting_count == 12, "twelve guesses waiting")
        last = asyncio.create_task(_login(client, "alice@example.com", PASSWORD))
        await _until(lambda: queue.waiting_count == 13, "the right password waiting behind them")
    wrong = [answer.status_code for answer in await asyncio.gather(*guesses)]
    right = await last

    assert wrong.count(401) == 5
    assert wrong.count(429) == 7
    assert right.status_code == 429


async def test_password_changes_of_one_user_do_not_block_logins(
    deps: Deps, client: httpx.AsyncClient, phone: Any
) -> None:
    bob = {"email": "bob@example.com", "password": PASSWORD}
    await client.post("/auth/register", json=bob)
    queue = deps.password_hasher.queue
    async with _busy_threads(deps.password_hasher):
        flood = [
            asyncio.create_task(
                phone.call("PUT", "/auth/me", newPassword=f"horse {n} x", currentPassword=PASSWORD)
            )
            for n in range(queue.max_waiting + 11)
        ]
        await _until(lambda: queue.waiting_count == queue.max_waiting, "a full queue")
        login = asyncio.create_task(client.post("/auth/login", json=bob))
        await _until(lambda: sum(one.done() for one in flood) >= 12, "a place for the login")
    answers = await asyncio.gather(*flood)

    assert (await login).status_code == 200
    assert {answer.status_code for answer in answers} <= {200, 401, 403, 429, 503}
    assert (await _login(client, "bob@example.com", PASSWORD)).status_code == 200


async def test_new_password_equal_to_current_one_is_rejected_without_a_hash(phone: Any) -> None:
    before = REGISTRY.get_sample_value("coach_auth_password_hashes_total", {"operation": "check"})
    answer = await phone.call("PUT", "/auth/me", newPassword=PASSWORD, currentPassword=PASSWORD)

    after = REGISTRY.get_sample_value("coach_auth_password_hashes_total", {"operation": "check"})
    assert answer.status_code == 422
    assert after == before


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
