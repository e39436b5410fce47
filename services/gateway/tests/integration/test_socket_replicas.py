"""Two gateways on one RabbitMQ: a push reaches a user's sockets, whichever replica holds them."""

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
    """Another replica of the gateway, with the same settings."""
    door = listen("127.0.0.1", 0)
    other = build(gateway.service.settings, RabbitMQTransport(vhost))
    async with running(other, door):
        await wait_until(
            lambda: _is_there(other.transport), description="the second replica's broker"
        )
        yield door.getsockname()[1]


@pytest.fixture
async def publisher(vhost: str) -> AsyncIterator[RabbitMQTransport]:
    transport = RabbitMQTransport(vhost)
    await transport.start(())
    await wait_until(lambda: _is_there(transport), description="the publisher's broker")
    yield transport
    await transport.stop()


async def _is_there(transport: Transport) -> bool:
    try:
        await transport.check()
    except Unavailable:
        return False
    return True


async def _publish(transport: RabbitMQTransport, user_id: UUID) -> str:
    """Publish feedback that only `user_id` may see; return the event's id."""
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


async def test_every_socket_gets_all_that_is_its_users_on_every_replica_and_nothing_else(
    gateway: Any, second_port: int, publisher: RabbitMQTransport, dial: Any
) -> None:
    users = [new_id(), new_id()]
    async with AsyncExitStack() as stack:
        peers = [
            (user_id, await stack.enter_async_context(dial(user_id, port=port)))
            for user_id in users
            for port in (gateway.port, gateway.port, second_port, second_port)
        ]
        published: dict[UUID, set[str]] = {user_id: set() for user_id in users}
        for number in range(200):
            user_id = users[number % 2]
            published[user_id].add(await _publish(publisher, user_id))

        for user_id, peer in peers:
            got = [await peer.next() for _ in range(100)]
            assert {frame["event_id"] for frame in got} == published[user_id]
            assert {frame["transcript"] for frame in got} == {str(user_id)}


async def test_a_phone_may_come_back_to_the_other_replica(
    gateway: Any, second_port: int, publisher: RabbitMQTransport, dial: Any, issuer: TokenIssuer
) -> None:
    user_id = new_id()
    async with dial(user_id) as peer, dial(user_id, port=second_port) as other:
        first = await _publish(publisher, user_id)
        assert [(await one.next())["event_id"] for one in (peer, other)] == [first, first]
    async with dial(user_id) as still_there:
        missed = await _publish(publisher, user_id)
        await still_there.next()
    async with dial(port=second_port) as peer:
        await peer.say(type="auth", token=issuer.issue(user_id), last_event_id=first)

        assert (await peer.next())["resumed"] is True
        assert [(await peer.next())["event_id"] for _ in range(2)] == [first, missed]
