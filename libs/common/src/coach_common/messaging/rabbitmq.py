"""The RabbitMQ transport. The only module that imports FastStream.

Topic exchange `coach.events` with a durable queue per service and event. A retry waits in
`coach.retry.<ms>`, whose messages expire back to the work queue. Dead letters are in
`<queue>.dead`, events without a consumer in `coach.unrouted`. Publisher and consumer use separate
connections, so that a failed publish does not close a consumer's channel.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage

from coach_common import fault_injection, logs
from coach_common.errors import Unavailable
from coach_common.messaging.dispatch import DispatchResult, Outcome, dispatch
from coach_common.messaging.subscriptions import (
    RETRY_DELAYS_SECONDS,
    UNROUTED_QUEUE,
    UNROUTED_TTL_SECONDS,
    OutboxMessage,
    Subscription,
    durable_queues,
)

log = logs.get_logger(__name__)

EVENTS = RabbitExchange(
    "coach.events",
    type=ExchangeType.TOPIC,
    durable=True,
    arguments={"alternate-exchange": UNROUTED_QUEUE},
)
_UNROUTED = RabbitExchange(UNROUTED_QUEUE, type=ExchangeType.FANOUT, durable=True)
_PUBLISH_SECONDS = 5.0
_CONNECT_SECONDS = 10.0
_RECONNECT_SECONDS = 2.0
_SHUTDOWN_TIMEOUT_SECONDS = 10.0
_ATTEMPT = "x-attempt"


class RabbitMQTransport:
    """A Transport over RabbitMQ. It connects in the background and reconnects by itself."""

    def __init__(
        self,
        url: str,
        *,
        prefetch: int = 16,
        delays: Sequence[float] = RETRY_DELAYS_SECONDS,
    ) -> None:
        self._delays = delays
        self._publisher = _broker(url, Channel(publisher_confirms=True, on_return_raises=True))
        self._consumer = _broker(url, Channel(prefetch_count=prefetch))
        self._replica = uuid4().hex[:12]
        self._connect_task: asyncio.Task[None] | None = None
        self._has_topology = False
        self._is_consuming = False
        self._is_unconfirmed = False

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        """Start connecting. Retries until the broker responds."""
        for subscription in subscriptions:
            self._consumer.subscriber(
                self._queue(subscription),
                EVENTS,
                ack_policy=AckPolicy.MANUAL,
                decoder=_as_bytes,
            )(self._handler(subscription))
        self._connect_task = asyncio.create_task(self._connect(), name="rabbit.connect")

    async def publish(self, events: Sequence[OutboxMessage]) -> set[UUID]:
        """Publish with pipelined confirms and return the ids that the broker has confirmed."""
        if not self._has_topology:
            raise Unavailable("The message broker is not connected.")
        results = await asyncio.gather(*map(self._publish, events), return_exceptions=True)
        confirmed: set[UUID] = set()
        for event, result in zip(events, results, strict=True):
            if isinstance(result, Exception):
                log.warning(
                    "rabbitmq.publish_unconfirmed", type=event.type, reason=type(result).__name__
                )
            elif result is None:
                confirmed.add(event.id)
        self._is_unconfirmed = bool(events) and not confirmed
        return confirmed

    async def check(self) -> None:
        """Raise Unavailable if the broker is not connected or does not confirm messages."""
        if not (self._has_topology and self._is_consuming):
            raise Unavailable("The message broker is not connected.")
        for broker in (self._publisher, self._consumer):
            if not await broker.ping(1.0):
                raise Unavailable("The message broker is not connected.")
        if self._is_unconfirmed:
            raise Unavailable("The message broker does not confirm published messages.")

    async def stop(self) -> None:
        """Wait up to 10 s for running handlers, then close both connections."""
        if self._connect_task is not None:
            self._connect_task.cancel()
            await asyncio.gather(self._connect_task, return_exceptions=True)
        await self._consumer.stop()
        await self._publisher.stop()

    async def _connect(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._publisher.start()
                    await _declare_topology(self._publisher, self._delays)
                self._has_topology = True
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._consumer.start()
                self._is_consuming = True
                log.info("rabbitmq.connected")
                return
            except Exception as error:
                log.warning("rabbitmq.connection_failed", reason=type(error).__name__)
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _publish(self, event: OutboxMessage) -> None:
        await _send(
            self._publisher,
            event.body,
            exchange=EVENTS,
            routing_key=event.type,
            message_id=str(event.id),
        )

    def _queue(self, subscription: Subscription) -> RabbitQueue:
        if subscription.is_transient:
            return RabbitQueue(
                f"{subscription.queue}.{self._replica}",
                routing_key=subscription.event.type,
                durable=False,
                exclusive=True,
                auto_delete=True,
            )
        return _durable_queue(subscription.queue, subscription.event.type)

    def _handler(
        self, subscription: Subscription
    ) -> Callable[[bytes, RabbitMessage], Awaitable[None]]:
        async def handle(body: bytes, message: RabbitMessage) -> None:
            attempt = int(message.headers.get(_ATTEMPT, 1))
            result = await dispatch(subscription, body, attempt=attempt, delays=self._delays)
            fault_injection.crash_point("broker.handled")
            if not subscription.is_transient:
                await self._retry_or_dead_letter(subscription, body, message, attempt, result)
            await message.ack()

        return handle

    async def _retry_or_dead_letter(
        self,
        subscription: Subscription,
        body: bytes,
        message: RabbitMessage,
        attempt: int,
        result: DispatchResult,
    ) -> None:
        """Publish an unfinished message to its retry or dead letter queue before the ack."""
        if result.outcome is Outcome.RETRY:
            await _send(
                self._publisher,
                body,
                exchange=_delay_exchange(result.delay_seconds),
                routing_key=subscription.queue,
                message_id=message.message_id,
                headers={_ATTEMPT: attempt + 1},
            )
        elif result.outcome is Outcome.DEAD_LETTER:
            await _send(
                self._publisher,
                body,
                routing_key=f"{subscription.queue}.dead",
                message_id=message.message_id,
                headers={_ATTEMPT: attempt, "x-reason": result.reason[:500]},
            )


async def _send(broker: RabbitBroker, body: bytes, **options: Any) -> None:
    # FastStream ignores publish(timeout=…) on RabbitMQ, so a frozen broker would block it.
    async with asyncio.timeout(_PUBLISH_SECONDS):
        await broker.publish(
            body,
            persist=True,
            mandatory=True,
            content_type="application/cloudevents+json",
            **options,
        )


async def _as_bytes(message: Any) -> bytes:
    return bytes(message.body)


def _broker(url: str, channel: Channel) -> RabbitBroker:
    return RabbitBroker(
        url,
        default_channel=channel,
        graceful_timeout=_SHUTDOWN_TIMEOUT_SECONDS,
        reconnect_interval=_RECONNECT_SECONDS,
        logger=None,
    )


def _durable_queue(name: str, event_type: str) -> RabbitQueue:
    return RabbitQueue(
        name,
        routing_key=event_type,
        durable=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.dead"},
    )


def _delay_exchange(seconds: float) -> RabbitExchange:
    return RabbitExchange(
        f"coach.retry.{int(seconds * 1000)}", type=ExchangeType.FANOUT, durable=True
    )


async def _declare_topology(broker: RabbitBroker, delays: Sequence[float]) -> None:
    """Declare all exchanges, queues and bindings, so that every event finds its queue."""
    unrouted = await broker.declare_exchange(_UNROUTED)
    unrouted_queue = await broker.declare_queue(
        RabbitQueue(
            UNROUTED_QUEUE, durable=True, arguments={"x-message-ttl": UNROUTED_TTL_SECONDS * 1000}
        )
    )
    await unrouted_queue.bind(unrouted)
    events = await broker.declare_exchange(EVENTS)
    for name, event_type in durable_queues().items():
        queue = await broker.declare_queue(_durable_queue(name, event_type))
        await queue.bind(events, routing_key=event_type)
        await broker.declare_queue(RabbitQueue(f"{name}.dead", durable=True))
    for seconds in delays:
        exchange = await broker.declare_exchange(_delay_exchange(seconds))
        # A fanout exchange keeps the routing key: the name of the work queue to return to.
        delay_queue = await broker.declare_queue(
            RabbitQueue(
                exchange.name,
                durable=True,
                arguments={
                    "x-message-ttl": int(seconds * 1000),
                    "x-dead-letter-exchange": "",
                },
            )
        )
        await delay_queue.bind(exchange)
