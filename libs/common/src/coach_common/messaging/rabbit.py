"""RabbitMQ through FastStream: the only file that knows either.

Topic exchange `coach.events`; a durable queue for each (service, event); pauses by queues
whose messages expire back to the work queue; dead letters in `<queue>.dead`; events without a
listener in `coach.unrouted`. Publishing and consuming have a connection each, so that a bad
publish closes no consumer's channel.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage

from coach_common import crash, logs
from coach_common.errors import Unavailable
from coach_common.messaging.dispatch import Outcome, Verdict, dispatch
from coach_common.messaging.subscriptions import (
    RETRY_DELAYS_SECONDS,
    UNROUTED,
    UNROUTED_SECONDS,
    Outgoing,
    Subscription,
    durable_queues,
)

log = logs.get(__name__)

EVENTS = RabbitExchange(
    "coach.events",
    type=ExchangeType.TOPIC,
    durable=True,
    arguments={"alternate-exchange": UNROUTED},
)
_UNROUTED = RabbitExchange(UNROUTED, type=ExchangeType.FANOUT, durable=True)
_PUBLISH_SECONDS = 5.0
_CONNECT_SECONDS = 10.0
_RECONNECT_SECONDS = 2.0
_DRAIN_SECONDS = 10.0
_ATTEMPT = "x-attempt"


class RabbitTransport:
    """A Transport over one RabbitMQ. It connects by itself, whenever the broker is there."""

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
        self._starting: asyncio.Task[None] | None = None
        self._has_topology = False
        self._is_consuming = False
        self._frozen = False

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        """Begin connecting; a broker that is away is tried again until it answers."""
        for subscription in subscriptions:
            self._consumer.subscriber(
                self._queue(subscription),
                EVENTS,
                ack_policy=AckPolicy.MANUAL,
                decoder=_as_bytes,
            )(self._handler(subscription))
        self._starting = asyncio.create_task(self._connect(), name="rabbit.connect")

    async def publish(self, events: Sequence[Outgoing]) -> set[UUID]:
        """Publish with pipelined confirms; return the ids the broker has on disk."""
        if not self._has_topology:
            raise Unavailable("The message broker is away.")
        results = await asyncio.gather(*map(self._publish, events), return_exceptions=True)
        safe: set[UUID] = set()
        for event, result in zip(events, results, strict=True):
            if isinstance(result, Exception):
                log.warning("rabbit.unconfirmed", type=event.type, reason=type(result).__name__)
            elif result is None:
                safe.add(event.id)
        self._frozen = bool(events) and not safe
        return safe

    async def check(self) -> None:
        """Raise Unavailable where the broker is not connected or confirms nothing."""
        if not (self._has_topology and self._is_consuming):
            raise Unavailable("The message broker is away.")
        for broker in (self._publisher, self._consumer):
            if not await broker.ping(1.0):
                raise Unavailable("The message broker is away.")
        if self._frozen:
            raise Unavailable("The message broker confirms nothing.")

    async def stop(self) -> None:
        """Finish what is being handled (up to 10 s), then close both connections."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
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
                log.info("rabbit.connected")
                return
            except Exception as error:
                log.warning("rabbit.away", reason=type(error).__name__)
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _publish(self, event: Outgoing) -> None:
        await _send(
            self._publisher,
            event.body,
            exchange=EVENTS,
            routing_key=event.type,
            message_id=str(event.id),
        )

    def _queue(self, subscription: Subscription) -> RabbitQueue:
        if subscription.is_volatile:
            return RabbitQueue(
                f"{subscription.queue}.{self._replica}",
                routing_key=subscription.event.type,
                durable=False,
                exclusive=True,
                auto_delete=True,
            )
        return _durable(subscription.queue, subscription.event.type)

    def _handler(
        self, subscription: Subscription
    ) -> Callable[[bytes, RabbitMessage], Awaitable[None]]:
        async def handle(body: bytes, message: RabbitMessage) -> None:
            attempt = int(message.headers.get(_ATTEMPT, 1))
            verdict = await dispatch(subscription, body, attempt=attempt, delays=self._delays)
            crash.point("broker.handled")
            if not subscription.is_volatile:
                await self._settle(subscription, body, message, attempt, verdict)
            await message.ack()

        return handle

    async def _settle(
        self,
        subscription: Subscription,
        body: bytes,
        message: RabbitMessage,
        attempt: int,
        verdict: Verdict,
    ) -> None:
        """Put what is not done where it belongs, confirmed, before it is acknowledged."""
        if verdict.outcome is Outcome.RETRY:
            await _send(
                self._publisher,
                body,
                exchange=_pause_exchange(verdict.delay_seconds),
                routing_key=subscription.queue,
                message_id=message.message_id,
                headers={_ATTEMPT: attempt + 1},
            )
        elif verdict.outcome is Outcome.DEAD:
            await _send(
                self._publisher,
                body,
                routing_key=f"{subscription.queue}.dead",
                message_id=message.message_id,
                headers={_ATTEMPT: attempt, "x-reason": verdict.reason[:500]},
            )


async def _send(broker: RabbitBroker, body: bytes, **where: Any) -> None:
    # FastStream ignores publish(timeout=…) on RabbitMQ: a frozen broker would hang it for ever.
    async with asyncio.timeout(_PUBLISH_SECONDS):
        await broker.publish(
            body, persist=True, mandatory=True, content_type="application/cloudevents+json", **where
        )


async def _as_bytes(message: Any) -> bytes:
    return bytes(message.body)


def _broker(url: str, channel: Channel) -> RabbitBroker:
    return RabbitBroker(
        url,
        default_channel=channel,
        graceful_timeout=_DRAIN_SECONDS,
        reconnect_interval=_RECONNECT_SECONDS,
        logger=None,
    )


def _durable(name: str, event_type: str) -> RabbitQueue:
    return RabbitQueue(
        name,
        routing_key=event_type,
        durable=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.dead"},
    )


def _pause_exchange(seconds: float) -> RabbitExchange:
    return RabbitExchange(
        f"coach.pause.{int(seconds * 1000)}", type=ExchangeType.FANOUT, durable=True
    )


async def _declare_topology(broker: RabbitBroker, delays: Sequence[float]) -> None:
    """Declare all exchanges, queues and bindings, so that no event meets a missing queue."""
    unrouted = await broker.declare_exchange(_UNROUTED)
    kept = await broker.declare_queue(
        RabbitQueue(UNROUTED, durable=True, arguments={"x-message-ttl": UNROUTED_SECONDS * 1000})
    )
    await kept.bind(unrouted)
    events = await broker.declare_exchange(EVENTS)
    for name, event_type in durable_queues().items():
        queue = await broker.declare_queue(_durable(name, event_type))
        await queue.bind(events, routing_key=event_type)
        await broker.declare_queue(RabbitQueue(f"{name}.dead", durable=True))
    for seconds in delays:
        exchange = await broker.declare_exchange(_pause_exchange(seconds))
        # Fanout: the routing key stays the work queue's name, by which the message returns.
        pause = await broker.declare_queue(
            RabbitQueue(
                exchange.name,
                durable=True,
                arguments={
                    "x-message-ttl": int(seconds * 1000),
                    "x-dead-letter-exchange": "",
                },
            )
        )
        await pause.bind(exchange)
