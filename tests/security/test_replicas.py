"""What holds at one gateway holds at the other: two replicas over RabbitMQ and MariaDB."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from attacker import PASSWORD, ApiUser, SystemUnderTest, authenticate_socket, next_frame
from stacks import distributed
from websockets.exceptions import ConnectionClosed

from coach_common.testing.harness import wait_until
from coach_common.testing.servers import PrivateMariaDB, PrivateRabbitMQ

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.servers]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def doubled(
    tmp_path_factory: pytest.TempPathFactory,
    target: SystemUnderTest,
    mariadb: PrivateMariaDB,
    rabbitmq: PrivateRabbitMQ,
) -> AsyncIterator[SystemUnderTest]:
    """The distributed system with its two gateways, after which no secret stands in any log."""
    folder = tmp_path_factory.mktemp("doubled")
    async with distributed(folder, mariadb, rabbitmq, BCRYPT_COST="4") as stack:
        doubled = SystemUnderTest(stack, folder, target.canary)
        pids = doubled.pids
        yield doubled
        assert doubled.pids == pids
        assert doubled.leaked_secrets() == set()


@pytest_asyncio.fixture(loop_scope="session")
async def carol(doubled: SystemUnderTest) -> AsyncIterator[ApiUser]:
    """Somebody who calls the first gateway."""
    async with ApiUser(doubled) as carol:
        await carol.register()
        yield carol


def _at_the_other(carol: ApiUser) -> ApiUser:
    other = ApiUser(carol.target, carol.target.stack.socket_url)
    other.token, other.refresh_token = carol.token, carol.refresh_token
    other.email, other.user_id = carol.email, carol.user_id
    return other


@pytest.mark.parametrize("end", ["logout", "password", "deletion", "reuse"])
async def test_a12_revocation_reaches_other_replica_within_one_second(
    carol: ApiUser, end: str
) -> None:
    async with _at_the_other(carol) as other, other.socket() as socket:
        await authenticate_socket(socket, other)
        assert (await other.call("GET", "/auth/me")).status_code == 200
        if end == "logout":
            answer = await carol.call("POST", "/auth/logout")
        elif end == "deletion":
            answer = await carol.call("DELETE", "/auth/me", json={"password": PASSWORD})
        elif end == "password":
            await carol.login()
            new = "nine violet walrus umbrellas"
            answer = await carol.call(
                "PUT", "/auth/me", json={"newPassword": new, "currentPassword": PASSWORD}
            )
        else:
            first = carol.refresh_token
            for _ in range(2):
                renewed = await carol.http.post(
                    "/auth/refresh", json={"refresh_token": carol.refresh_token}
                )
                carol.keep(renewed.json())
            answer = await carol.http.post("/auth/refresh", json={"refresh_token": first})
        assert answer.status_code in (200, 204, 401)

        async def over() -> bool:
            return (await other.call("GET", "/auth/me")).status_code == 401

        await wait_until(
            over, description="the end of the login at the other gateway", timeout_seconds=1.0
        )
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(5):
                while True:
                    await socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


@pytest.mark.parametrize("kept", range(5))
async def test_a14_parallel_refreshes_on_two_replicas_share_successor(
    carol: ApiUser, kept: int
) -> None:
    async with _at_the_other(carol) as other:
        doors = (carol, other, carol, other, carol)
        body = {"refresh_token": carol.refresh_token}
        answers = await asyncio.gather(
            *(door.http.post("/auth/refresh", json=body) for door in doors)
        )
        successor = answers[kept].json()["refresh_token"]
        renewed = await other.http.post("/auth/refresh", json={"refresh_token": successor})

    assert [answer.status_code for answer in answers] == [200] * 5
    assert renewed.status_code == 200


async def test_a44_unshared_rate_limit_is_at_most_doubled(carol: ApiUser) -> None:
    """Without REDIS_URL each replica counts what it serves: 2 x 60 chats a minute."""
    async with _at_the_other(carol) as other:
        statuses = []
        for door in (carol, other):
            answers = await asyncio.gather(
                *(door.call("POST", "/ai/chat", json={"message": "Hello"}) for _ in range(80))
            )
            statuses += [answer.status_code for answer in answers]

    assert statuses.count(200) in range(60, 121)
    assert statuses.count(429) == 160 - statuses.count(200)


async def test_a68_pushes_reach_only_their_user_on_all_replicas(
    doubled: SystemUnderTest, carol: ApiUser
) -> None:
    async with ApiUser(doubled) as dave:
        await dave.register()
        async with (
            _at_the_other(carol) as carol2,
            _at_the_other(dave) as dave2,
            carol.socket() as c1, carol2.socket() as c2, dave.socket() as d1, dave2.socket() as d2,
        ):  # fmt: skip
            for socket, person in ((c1, carol), (c2, carol2), (d1, dave), (d2, dave2)):
                await authenticate_socket(socket, person)
            for number in range(10):
                for person in (carol, dave):
                    session_id = await person.session(title=f"{person.name}: {number}")
                    told = f"The canary of {person.name} sang for two days in Lisbon, {number}."
                    answer = await person.call(
                        "POST", f"/sessions/{session_id}/complete", json={"transcript": told}
                    )
                    assert answer.status_code == 200
            heard = await asyncio.gather(*(_feedbacks(one, 10) for one in (c1, c2, d1, d2)))

    assert heard[0].keys() == heard[1].keys() and len(heard[0]) == 10
    assert heard[2].keys() == heard[3].keys() and len(heard[2]) == 10
    for mine, person, stranger in (
        (heard[0], carol, dave), (heard[1], carol, dave),
        (heard[2], dave, carol), (heard[3], dave, carol),
    ):  # fmt: skip
        assert all(f"canary of {person.name} " in text for text in mine.values())
        assert not any(f"canary of {stranger.name} " in text for text in mine.values())


async def _feedbacks(socket: object, count: int) -> dict[str, str]:
    found: dict[str, str] = {}
    while len(found) < count:
        frame = await next_frame(socket, "feedback", seconds=60)  # type: ignore[arg-type]
        found[frame["session_id"]] = json.dumps(frame)
    return found


async def test_a31_internal_routes_are_not_exposed_by_any_replica(
    doubled: SystemUnderTest, carol: ApiUser
) -> None:
    async with httpx.AsyncClient() as client:
        for door in doubled.stack.gateway_urls:
            for path in ("/internal/revocations", "/v1/internal/revocations"):
                answer = await client.get(
                    door + path, headers={"authorization": f"Bearer {carol.token}"}
                )
                assert answer.status_code == 404
