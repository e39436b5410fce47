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
from coach_auth.passwords import Passwords, is_common
from coach_common.errors import Unavailable
from coach_common.ids import new_id
from coach_common.testing.fakes import KeepingTransport
from coach_common.testing.harness import client_for, eventually, migrated
from coach_common.testing.servers import PrivateRedis

PASSWORD = "correct horse"


async def _guess(client: httpx.AsyncClient, email: str, password: str = "wrong") -> httpx.Response:
    return await client.post("/auth/login", json={"email": email, "password": password})


async def test_beyond_the_bound_a_burst_is_told_when_to_come_back(
    deps: Deps, client: httpx.AsyncClient, phone: Any
) -> None:
    gate = threading.Event()
    held = [
        asyncio.create_task(deps.passwords._run(gate.wait)) for _ in range(deps.passwords.bound)
    ]
    await asyncio.sleep(0)
    refused = await asyncio.gather(*(_guess(client, f"p{n}@example.com") for n in range(5)))
    meanwhile = await phone.call("GET", "/auth/me")
    gate.set()
    await asyncio.gather(*held)
    afterwards = await _guess(client, "p0@example.com")

    assert [answer.status_code for answer in refused] == [503] * 5
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(answer.json()["detail"].startswith("Too many people") for answer in refused)
    assert meanwhile.status_code == 200
    assert afterwards.status_code == 401


async def test_what_is_within_the_bound_is_done_and_the_pool_is_free_again_after_it() -> None:
    passwords = Passwords(4)
    kept = await asyncio.gather(
        *(passwords.hash(PASSWORD) for _ in range(passwords.bound + 7)), return_exceptions=True
    )
    hashes = [one for one in kept if isinstance(one, str)]

    assert len(hashes) == passwords.bound
    assert sum(isinstance(one, Unavailable) for one in kept) == 7
    assert await passwords.check(PASSWORD, hashes[0])
    await passwords.close()


async def test_of_many_guesses_at_once_only_the_first_five_are_answered(
    deps: Deps, client: httpx.AsyncClient, phone: Any
) -> None:
    async def waiting_for(number: int) -> bool:
        return deps.passwords._under_way == threads + number

    threads = deps.passwords._threads._max_workers
    gate = threading.Event()
    held = [asyncio.create_task(deps.passwords._run(gate.wait)) for _ in range(threads)]
    guesses = [
        asyncio.create_task(_guess(client, "alice@example.com", f"guess {number}"))
        for number in range(12)
    ]
    await eventually(lambda: waiting_for(12), what="twelve guesses waiting")
    last = asyncio.create_task(_guess(client, "alice@example.com", PASSWORD))
    await eventually(lambda: waiting_for(13), what="the right password waiting behind them")
    gate.set()
    wrong = [answer.status_code for answer in await asyncio.gather(*guesses)]
    right = await last
    await asyncio.gather(*held)

    assert wrong.count(401) == 5
    assert wrong.count(429) == 7
    assert right.status_code == 429


@pytest.mark.parametrize("password", ["123456", "Password1", "QWERTY123", "iloveyou"])
async def test_a_common_password_is_refused_with_a_sentence(
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
    assert (await _guess(client, "alice@example.com", PASSWORD)).status_code == 200


def test_the_list_is_long_enough_and_holds_what_could_be_typed() -> None:
    lines = (files("coach_auth") / "common_passwords.txt").read_text("utf-8").split()

    assert len(lines) == len(set(lines)) >= 3000
    assert all(len(line) >= 6 and is_common(line.upper()) for line in lines)
    assert not is_common("a passphrase that nobody else has")
    assert not is_common("")


@pytest.mark.servers
async def test_replicas_count_failures_together_where_there_is_redis(
    settings: AuthSettings, redis: PrivateRedis
) -> None:
    email = f"{new_id()}@example.com"  # The server keeps what other tests counted.
    shared = AuthSettings.load(**settings.model_dump() | {"redis_url": redis.url})
    async with (
        migrated(build(shared, KeepingTransport())) as one,
        migrated(build(shared, KeepingTransport())) as other,
        client_for(one) as left,
        client_for(other) as right,
    ):
        statuses = [
            (await _guess(client, email)).status_code
            for client in (left, right, left, right, left, right, left)
        ]

    assert statuses == [401] * 5 + [429] * 2


@pytest.mark.servers
async def test_without_its_redis_people_still_sign_in_and_failures_still_count(
    settings: AuthSettings,
) -> None:
    with PrivateRedis.started() as server:
        lost = AuthSettings.load(**settings.model_dump() | {"redis_url": server.url})
        server.stop()
    async with migrated(build(lost, KeepingTransport())) as service, client_for(service) as client:
        account = {"email": "dora@example.com", "password": PASSWORD}
        made = await client.post("/auth/register", json=account)
        right = await _guess(client, "dora@example.com", PASSWORD)
        statuses = [(await _guess(client, "dora@example.com")).status_code for _ in range(7)]

    assert (made.status_code, right.status_code) == (201, 200)
    assert statuses == [401] * 5 + [429] * 2
