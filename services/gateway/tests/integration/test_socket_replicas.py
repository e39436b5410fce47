"""Two gateway replicas on one RabbitMQ: pushes reach the sockets of both."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest

from coach_common.errors import Unavailable
from coach_common.events.base import Envelope
from coach_common.events.catalog import SessionJudged
from coach_common.ids import new_id
from coach_common.messaging.rabbitmq import RabbitMQTransport
from coach_common.messaging.subscriptions import OutboxMessage, Transport
from coach_common.service import listen, running
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import wait_until
from coach_common.testing.servers import PrivateRabbitMQ
from coach_gateway.app import build

pytestmark = pytest.mark.servers

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def vhost(rabbitmq: PrivateRabbitMQ) -> Iterator[str]:
    with rabbitmq.vhost() as url:
        yield url


@pytest.fixture
def transport(vhost: str) -> RabbitMQTransport:
    return RabbitMQTransport(vhost)


@pytest.fixture
async def second_port(gateway: Any, vhost: str) -> AsyncIterator[int]:
    """The port of a second replica with the same settings."""
    listener = listen("127.0.0.1", 0)
    other = build(gateway.service.settings, RabbitMQTransport(vhost))
    async with running(other, listener):
        await wait_until(
            lambda: _is_connected(other.transport), description="the second replica's broker"
        )
        yield listener.getsockname()[1]


@pytest.fixture
async def publisher(vhost: str) -> AsyncIterator[RabbitMQTransport]:
    transport = RabbitMQTransport(vhost)
    await transport.start(())
    await wait_until(lambda: _is_connected(transport), description="the publisher's broker")
    yield transport
    await transport.stop()


async def _is_connected(transport: Transport) -> bool:
    try:
        await transport.check()
    except Unavailable:
        return False
    return True


async def _publish(transport: RabbitMQTransport, user_id: UUID) -> str:
    """Publish feedback for `user_id`; return the event id."""
    event = SessionJudged(
        session_id=new_id(),
        user_id=user_id,
        feedback={"session_id": "s", "status": "ready", "transcript": str(user_id)},
    )
    event_id = new_id()
    envelope = Envelope.wrap(
        event, id=event_id, source="/services/sessions", time="2026-11-24T12:00:00.000000Z",
        traceparent=TRACE,
    )  # fmt: skip
    assert await transport.publish([OutboxMessage(event_id, event.type, envelope.to_json())])
    return str(event_id)


async def test_every_replica_pushes_all_events_to_their_users_only(
    gateway: Any, second_port: int, publisher: RabbitMQTransport, open_socket: Any
) -> None:
    users = [new_id(), new_id()]
    async with AsyncExitStack() as stack:
        peers = [
            (user_id, await stack.enter_async_context(open_socket(user_id, port=port)))
            for user_id in users
            for port in (gateway.port, gateway.port, second_port, second_port)
        ]
        published: dict[UUID, set[str]] = {user_id: set() for user_id in users}
        for number in range(200):
            user_id = users[number % 2]
            published[user_id].add(await _publish(publisher, user_id))

        for user_id, peer in peers:
            got = [await peer.receive_json() for _ in range(100)]
            assert {frame["event_id"] for frame in got} == published[user_id]
            assert {frame["transcript"] for frame in got} == {str(user_id)}


async def test_client_resumes_on_another_replica(
    gateway: Any,
    second_port: int,
    publisher: RabbitMQTransport,
    open_socket: Any,
    issuer: TokenIssuer,
) -> None:
    user_id = new_id()
    async with open_socket(user_id) as peer, open_socket(user_id, port=second_port) as other:
        first = await _publish(publisher, user_id)
        assert [(await one.receive_json())["event_id"] for one in (peer, other)] == [first, first]
    async with open_socket(user_id) as still_there:
        missed = await _publish(publisher, user_id)
        await still_there.receive_json()
    async with open_socket(port=second_port) as peer:
        await peer.send_json(type="auth", token=issuer.issue(user_id), last_event_id=first)

        assert (await peer.receive_json())["resumed"] is True
        assert [(await peer.receive_json())["event_id"] for _ in range(2)] == [first, missed]
