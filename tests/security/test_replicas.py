"""Revocation, refresh, limits and pushes with two gateway replicas, RabbitMQ and MariaDB."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from attacker import PASSWORD, ApiUser, SystemUnderTest, authenticate_socket, next_frame
from stacks import distributed
from websockets.exceptions import ConnectionClosed

from coach_common.testing.harness import http_client, wait_until
from coach_common.testing.servers import PrivateMariaDB, PrivateRabbitMQ

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.servers]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two_gateways(
    tmp_path_factory: pytest.TempPathFactory,
    target: SystemUnderTest,
    mariadb: PrivateMariaDB,
    rabbitmq: PrivateRabbitMQ,
) -> AsyncIterator[SystemUnderTest]:
    """The distributed system with two gateways. Asserts that no secret was logged."""
    directory = tmp_path_factory.mktemp("doubled")
    async with distributed(directory, mariadb, rabbitmq, BCRYPT_COST="4") as stack:
        two_gateways = SystemUnderTest(stack, directory, target.canary)
        pids = two_gateways.pids
        yield two_gateways
        assert two_gateways.pids == pids
        assert two_gateways.leaked_secrets() == set()


@pytest_asyncio.fixture(loop_scope="session")
async def carol(two_gateways: SystemUnderTest) -> AsyncIterator[ApiUser]:
    """A user of the first gateway."""
    async with ApiUser(two_gateways) as carol:
        await carol.register()
        yield carol


def _at_second_gateway(carol: ApiUser) -> ApiUser:
    other = ApiUser(carol.target, carol.target.stack.socket_url)
    other.token, other.refresh_token = carol.token, carol.refresh_token
    other.email, other.user_id = carol.email, carol.user_id
    return other


@pytest.mark.parametrize("cause", ["logout", "password", "deletion", "reuse"])
async def test_a12_revocation_reaches_other_replica_within_one_second(
    carol: ApiUser, cause: str
) -> None:
    async with _at_second_gateway(carol) as other, other.socket() as socket:
        await authenticate_socket(socket, other)
        assert (await other.call("GET", "/auth/me")).status_code == 200
        if cause == "logout":
            response = await carol.call("POST", "/auth/logout")
        elif cause == "deletion":
            response = await carol.call("DELETE", "/auth/me", json={"password": PASSWORD})
        elif cause == "password":
            await carol.login()
            new_password = "nine violet walrus umbrellas"
            response = await carol.call(
                "PUT", "/auth/me", json={"newPassword": new_password, "currentPassword": PASSWORD}
            )
        else:
            first = carol.refresh_token
            for _ in range(2):
                renewed = await carol.http.post(
                    "/auth/refresh", json={"refresh_token": carol.refresh_token}
                )
                carol.store_tokens(renewed.json())
            response = await carol.http.post("/auth/refresh", json={"refresh_token": first})
        assert response.status_code in (200, 204, 401)

        async def is_revoked() -> bool:
            return (await other.call("GET", "/auth/me")).status_code == 401

        await wait_until(
            is_revoked, description="revocation at the other gateway", timeout_seconds=1.0
        )
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(5):
                while True:
                    await socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


@pytest.mark.parametrize("index", range(5))
async def test_a14_parallel_refreshes_on_two_replicas_share_successor(
    carol: ApiUser, index: int
) -> None:
    async with _at_second_gateway(carol) as other:
        clients = (carol, other, carol, other, carol)
        body = {"refresh_token": carol.refresh_token}
        responses = await asyncio.gather(
            *(client.http.post("/auth/refresh", json=body) for client in clients)
        )
        successor = responses[index].json()["refresh_token"]
        renewed = await other.http.post("/auth/refresh", json={"refresh_token": successor})

    assert [response.status_code for response in responses] == [200] * 5
    assert renewed.status_code == 200


async def test_a44_unshared_rate_limit_is_at_most_doubled(carol: ApiUser) -> None:
    """Without REDIS_URL each replica counts its own requests: 2 x 60 chats per minute."""
    async with _at_second_gateway(carol) as other:
        statuses = []
        for client in (carol, other):
            responses = await asyncio.gather(
                *(client.call("POST", "/ai/chat", json={"message": "Hello"}) for _ in range(80))
            )
            statuses += [response.status_code for response in responses]

    assert statuses.count(200) in range(60, 121)
    assert statuses.count(429) == 160 - statuses.count(200)


async def test_a68_pushes_reach_only_their_user_on_all_replicas(
    two_gateways: SystemUnderTest, carol: ApiUser
) -> None:
    async with ApiUser(two_gateways) as dave:
        await dave.register()
        async with (
            _at_second_gateway(carol) as carol2,
            _at_second_gateway(dave) as dave2,
            carol.socket() as c1, carol2.socket() as c2, dave.socket() as d1, dave2.socket() as d2,
        ):  # fmt: skip
            for socket, user in ((c1, carol), (c2, carol2), (d1, dave), (d2, dave2)):
                await authenticate_socket(socket, user)
            for number in range(10):
                for user in (carol, dave):
                    session_id = await user.session(title=f"{user.name}: {number}")
                    transcript = f"The canary of {user.name} sang for two days in Lisbon, {number}."
                    response = await user.call(
                        "POST", f"/sessions/{session_id}/complete", json={"transcript": transcript}
                    )
                    assert response.status_code == 200
            received = await asyncio.gather(
                *(_feedbacks(socket, 10) for socket in (c1, c2, d1, d2))
            )

    assert received[0].keys() == received[1].keys() and len(received[0]) == 10
    assert received[2].keys() == received[3].keys() and len(received[2]) == 10
    for frames, user, other_user in (
        (received[0], carol, dave), (received[1], carol, dave),
        (received[2], dave, carol), (received[3], dave, carol),
    ):  # fmt: skip
        assert all(f"canary of {user.name} " in text for text in frames.values())
        assert not any(f"canary of {other_user.name} " in text for text in frames.values())


async def _feedbacks(socket: object, count: int) -> dict[str, str]:
    frames: dict[str, str] = {}
    while len(frames) < count:
        frame = await next_frame(socket, "feedback", seconds=120)  # type: ignore[arg-type]
        frames[frame["session_id"]] = json.dumps(frame)
    return frames


async def test_a31_internal_routes_are_not_exposed_by_any_replica(
    two_gateways: SystemUnderTest, carol: ApiUser
) -> None:
    async with http_client() as client:
        for gateway_url in two_gateways.stack.gateway_urls:
            for path in ("/internal/revocations", "/v1/internal/revocations"):
                response = await client.get(
                    gateway_url + path, headers={"authorization": f"Bearer {carol.token}"}
                )
                assert response.status_code == 404
