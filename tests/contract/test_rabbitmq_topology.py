"""Queues and exchanges that disappear from RabbitMQ are declared again, and no event is lost."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed
from test_transports import RecordingConsumer, _completed

from coach_common.errors import Unavailable
from coach_common.events.catalog import SessionCompleted
from coach_common.messaging import rabbitmq_topology as topology
from coach_common.messaging.rabbitmq import RabbitMQTransport
from coach_common.messaging.subscriptions import Subscription
from coach_common.testing.harness import wait_until
from coach_common.testing.servers import PrivateRabbitMQ

pytestmark = pytest.mark.servers

DELAYS = (0.1, 0.3)
QUEUE = "ai.session.completed"


@pytest.fixture
def url(rabbitmq: PrivateRabbitMQ) -> Iterator[str]:
    with rabbitmq.vhost() as url:
        yield url


@asynccontextmanager
async def _channel(url: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        yield channel


@asynccontextmanager
async def _running(
    url: str, *subscriptions: Subscription, check_seconds: float = 0.3
) -> AsyncIterator[RabbitMQTransport]:
    transport = RabbitMQTransport(url, delays=DELAYS, topology_check_seconds=check_seconds)
    await transport.start(subscriptions)
    try:
        await wait_until(lambda: _is_ready(transport), description="readiness")
        yield transport
    finally:
        await transport.stop()


async def _is_ready(transport: RabbitMQTransport) -> bool:
    try:
        await transport.check()
    except Unavailable:
        return False
    return True


async def _missing(url: str, *consumed: str) -> list[str]:
    connection = await aio_pika.connect(url)
    async with connection:
        return await topology.find_missing(connection, DELAYS, consumed)


async def test_deleted_queues_and_exchanges_are_declared_again(url: str) -> None:
    consumer = RecordingConsumer()
    async with _running(url, Subscription("ai", SessionCompleted, consumer)) as transport:
        async with _channel(url) as channel:
            for queue in topology.queues(DELAYS):
                await channel.queue_delete(queue.name)
            for exchange in topology.exchanges(DELAYS):
                await channel.exchange_delete(exchange.name)
        assert await _missing(url)

        async def is_complete() -> bool:
            return await _missing(url, QUEUE) == []

        await wait_until(is_complete, description="the declaration of everything")
        await wait_until(lambda: _is_ready(transport), description="readiness")
        event = _completed()

        async def is_published() -> bool:
            return await transport.publish([event]) == {event.id}

        await wait_until(is_published, description="the publication")
        await consumer.until(1)


async def test_readiness_names_what_is_missing(url: str) -> None:
    async with _running(url) as transport:

        async def is_occupied() -> bool:
            """Declare an exchange with other arguments, unless the transport was faster."""
            async with _channel(url) as channel:
                await channel.queue_delete(f"{QUEUE}.dead")
                await channel.exchange_delete("coach.retry.100")
                try:
                    await channel.declare_exchange("coach.retry.100", "direct", durable=True)
                except ChannelPreconditionFailed:
                    return False
            return True

        await wait_until(is_occupied, description="an exchange that cannot be declared again")

        async def is_reported() -> str | None:
            try:
                await transport.check()
            except Unavailable as error:
                return str(error)
            return None

        reported = await wait_until(is_reported, description="the report")
        assert f"queue {QUEUE}.dead" in reported


async def test_misrouted_event_reaches_its_consumer_later(url: str) -> None:
    consumer = RecordingConsumer()
    event = _completed()
    async with _running(url, check_seconds=60) as publisher:
        async with _channel(url) as channel:
            await channel.queue_delete(QUEUE)
        assert await publisher.publish([event]) == {event.id}

    async with _running(url, Subscription("ai", SessionCompleted, consumer)):
        await consumer.until(1)

    assert consumer.deliveries[0].event_id == event.id


async def test_message_is_delivered_again_if_its_retry_cannot_be_published(url: str) -> None:
    consumer = RecordingConsumer(Unavailable("test"), Unavailable("test"))
    async with _running(
        url, Subscription("ai", SessionCompleted, consumer), check_seconds=60
    ) as transport:
        async with _channel(url) as channel:
            for delay in DELAYS:
                await channel.queue_delete(topology.retry_exchange(delay))
        await transport.publish([_completed()])

        await consumer.until(2)
        await _declare(url)
        await consumer.until(3)

        async def is_acknowledged() -> bool:
            return await _count_messages(url, QUEUE) == 0

        await wait_until(is_acknowledged, description="the acknowledgement")

    attempts = [one.attempt for one in consumer.deliveries]
    assert attempts[:2] == [1, 1]
    assert attempts[2] in (1, 2), "2 if the second failure found its retry queue"


async def _declare(url: str) -> None:
    connection = await aio_pika.connect(url)
    async with connection:
        await topology.declare(connection, DELAYS)


async def _count_messages(url: str, name: str) -> int:
    async with _channel(url) as channel:
        queue = await channel.declare_queue(name, passive=True)
        return queue.declaration_result.message_count or 0


async def test_lost_consumer_is_started_again(url: str) -> None:
    consumer = RecordingConsumer()
    async with _running(url, Subscription("ai", SessionCompleted, consumer)) as transport:
        subscriber = transport._consumer.subscribers[0]
        await subscriber._queue_obj.cancel(subscriber._consumer_tag)  # type: ignore[attr-defined]

        async def is_restored() -> bool:
            return await _missing(url, QUEUE) == []

        await wait_until(is_restored, description="the consumer")
        await transport.publish([_completed()])
        await consumer.until(1)


async def test_kept_messages_keep_their_order(url: str) -> None:
    async with _running(url), _channel(url) as channel:
        name = f"{QUEUE}.dead"
        for number in range(20):
            body = f"{number} {'gone' if number % 3 == 0 else 'kept'}".encode()
            await channel.default_exchange.publish(aio_pika.Message(body), name)
        connection = await aio_pika.connect(url)
        async with connection:
            deleted = await topology.delete_messages_about(connection, "gone", [name])

        queue = await channel.declare_queue(name, passive=True)
        bodies = [await queue.get(no_ack=True) for _ in range(13)]
        assert deleted == 7
        assert [body.body.split()[0] for body in bodies] == [
            str(number).encode() for number in range(20) if number % 3
        ]


async def test_stop_is_prompt_at_any_time(url: str) -> None:
    for number in range(60):
        async with _running(url, check_seconds=0.05) as transport:
            await asyncio.sleep(number % 20 / 100)
            started_at = time.monotonic()
            await transport.stop()
            assert time.monotonic() - started_at < 5


async def test_stop_ends_while_the_broker_is_frozen(url: str, rabbitmq: PrivateRabbitMQ) -> None:
    async with _running(url, check_seconds=0.05) as transport:
        os.killpg(rabbitmq.process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(25):
                await transport.stop()
        finally:
            os.killpg(rabbitmq.process.pid, signal.SIGCONT)
