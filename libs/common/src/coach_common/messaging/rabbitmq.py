"""The RabbitMQ transport. The only module that imports FastStream.

`rabbitmq_topology.py` describes the exchanges and queues. Publisher, consumer and maintenance use
separate connections, so that a failed publish or declaration closes no consumer's channel.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import aio_pika
from aio_pika.abc import AbstractConnection
from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage

from coach_common import fault_injection, logs
from coach_common.clock import utc_now
from coach_common.errors import Unavailable
from coach_common.events.catalog import UserDeleted
from coach_common.messaging import rabbitmq_topology as topology
from coach_common.messaging.dispatch import DispatchResult, Outcome, dispatch
from coach_common.messaging.subscriptions import (
    RETRY_DELAYS_SECONDS,
    UNROUTED_QUEUE,
    OutboxMessage,
    Subscription,
)

log = logs.get_logger(__name__)

EVENTS = RabbitExchange(
    topology.EVENTS_EXCHANGE,
    type=ExchangeType.TOPIC,
    durable=True,
    arguments={"alternate-exchange": topology.MISROUTED_QUEUE},
)
_PUBLISH_SECONDS = 5.0
_CONNECT_SECONDS = 10.0
_RECONNECT_SECONDS = 2.0
_SHUTDOWN_TIMEOUT_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_MAX_CANCELLATIONS = 4
_TOPOLOGY_CHECK_SECONDS = 5.0
_TOPOLOGY_TIMEOUT_SECONDS = 60.0
_REQUEUE_DELAY_SECONDS = 2.0
"""How long a message is held whose retry could not be published, before it is delivered again."""
_ATTEMPT = "x-attempt"


class RabbitMQTransport:
    """A Transport over RabbitMQ. It connects in the background and reconnects by itself.

    Every few seconds it declares missing exchanges and queues again and publishes misrouted events
    again. A message whose retry cannot be published stays in its queue.
    """

    def __init__(
        self,
        url: str,
        *,
        prefetch: int = 16,
        delays: Sequence[float] = RETRY_DELAYS_SECONDS,
        topology_check_seconds: float = _TOPOLOGY_CHECK_SECONDS,
    ) -> None:
        self._url = url
        self._delays = delays
        self._topology_check_seconds = topology_check_seconds
        self._maintenance: AbstractConnection | None = None
        self._maintenance_lock = asyncio.Lock()
        self._subscriptions: list[Subscription] = []
        self._missing: list[str] = []
        self._publisher = _broker(url, Channel(publisher_confirms=True, on_return_raises=True))
        self._consumer = _broker(url, Channel(prefetch_count=prefetch))
        self._replica = uuid4().hex[:12]
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._has_topology = False
        self._is_consuming = False
        self._is_unconfirmed = False

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        """Start connecting. Retries until the broker responds."""
        self._subscriptions.extend(subscriptions)
        for subscription in subscriptions:
            self._consumer.subscriber(
                self._queue(subscription),
                EVENTS,
                ack_policy=AckPolicy.MANUAL,
                decoder=_as_bytes,
            )(self._handler(subscription))
        self._task = asyncio.create_task(self._connect_and_maintain(), name="rabbitmq.connection")

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
        """Raise Unavailable if the broker is not connected, lacks parts or confirms no messages."""
        if not (self._has_topology and self._is_consuming):
            raise Unavailable("The message broker is not connected.")
        for broker in (self._publisher, self._consumer):
            if not await broker.ping(1.0):
                raise Unavailable("The message broker is not connected.")
        if self._missing:
            raise Unavailable(f"The message broker lacks: {', '.join(self._missing[:5])}.")
        if self._is_unconfirmed:
            raise Unavailable("The message broker does not confirm published messages.")

    async def stop(self) -> None:
        """Wait up to 10 s for running handlers, then close the connections.

        Closing is bounded too: a broker that is frozen does not respond to it.
        """
        self._is_stopping = True
        if self._task is not None:
            await _cancel(self._task)
        await _bounded(self._consumer.stop(), _SHUTDOWN_TIMEOUT_SECONDS + _CLOSE_SECONDS)
        await _bounded(self._publisher.stop(), _CLOSE_SECONDS)
        if self._maintenance is not None:
            await _bounded(self._maintenance.close(), _CLOSE_SECONDS)

    async def _connect_and_maintain(self) -> None:
        await self._connect()
        while not self._is_stopping:
            try:
                async with asyncio.timeout(_TOPOLOGY_TIMEOUT_SECONDS):
                    await self._repair_topology()
            except Exception as error:
                # A lost connection is reported by `check`; both brokers reconnect by themselves.
                log.warning("rabbitmq.topology_check_failed", reason=type(error).__name__)
            await asyncio.sleep(self._topology_check_seconds)

    async def _repair_topology(self) -> None:
        """Find missing exchanges, queues and consumers, and declare what is missing."""
        connection = await self._maintenance_connection()
        consumed = [one.queue for one in self._subscriptions if not one.is_transient]
        missing = await topology.find_missing(connection, self._delays, consumed)
        if missing:
            log.error("rabbitmq.topology_missing", count=len(missing), names=missing[:5])
            was_missing, self._missing = self._missing, missing
            await topology.declare(connection, self._delays)
            if self._has_lost_consumer(missing, was_missing):
                # The client library usually restores consumers of deleted queues. Here it failed.
                await self._restart_consumers()
            missing = await topology.find_missing(connection, self._delays, consumed)
        self._missing = missing
        published = await topology.publish_misrouted(connection)
        if published:
            log.info("rabbitmq.misrouted_published", count=published)

    @staticmethod
    def _has_lost_consumer(missing: list[str], was_missing: list[str]) -> bool:
        return any(one.startswith("consumer") for one in {*missing} & {*was_missing})

    async def _restart_consumers(self) -> None:
        log.warning("rabbitmq.consumers_restarted")
        await _bounded(self._consumer.stop(), _SHUTDOWN_TIMEOUT_SECONDS + _CLOSE_SECONDS)
        await self._consumer.start()

    async def _maintenance_connection(self) -> AbstractConnection:
        async with self._maintenance_lock:
            if self._maintenance is None or self._maintenance.is_closed:
                self._maintenance = await aio_pika.connect(self._url, timeout=_CONNECT_SECONDS)
            return self._maintenance

    async def _connect(self) -> None:
        while not self._is_stopping:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await topology.declare(await self._maintenance_connection(), self._delays)
                    await self._publisher.start()
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
                try:
                    await self._retry_or_dead_letter(subscription, body, message, attempt, result)
                    await self._delete_messages_of_deleted_user(subscription, result)
                except Exception as error:
                    log.warning(
                        "rabbitmq.message_requeued",
                        consumer=subscription.queue,
                        reason=type(error).__name__,
                    )
                    await asyncio.sleep(_REQUEUE_DELAY_SECONDS)
                    await message.nack(requeue=True)
                    return
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
                exchange=RabbitExchange(
                    topology.retry_exchange(result.delay_seconds),
                    type=ExchangeType.FANOUT,
                    durable=True,
                ),
                routing_key=subscription.queue,
                message_id=message.message_id,
                headers={_ATTEMPT: attempt + 1},
            )
        elif result.outcome is Outcome.DEAD_LETTER:
            await _send(
                self._publisher,
                body,
                routing_key=topology.dead_letter_queue(subscription.queue),
                message_id=message.message_id,
                headers={_ATTEMPT: attempt, "x-reason": result.reason[:500]},
                timestamp=utc_now(),
            )

    async def _delete_messages_of_deleted_user(
        self, subscription: Subscription, result: DispatchResult
    ) -> None:
        """Delete the service's dead letters about a deleted user, and unrouted events."""
        if result.deleted_user_id is None:
            return
        dead_letter_queues = [
            topology.dead_letter_queue(one.queue)
            for one in self._subscriptions
            if one.service == subscription.service and not one.is_transient
        ]
        # One service is enough for the queue that all services share.
        is_first = subscription.service == UserDeleted.consumers[0]
        async with asyncio.timeout(_TOPOLOGY_TIMEOUT_SECONDS):
            await topology.delete_messages_about(
                await self._maintenance_connection(),
                str(result.deleted_user_id),
                [*dead_letter_queues, *([UNROUTED_QUEUE] if is_first else [])],
            )


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends. aiormq can turn a cancellation into another exception."""
    for _ in range(_MAX_CANCELLATIONS):
        task.cancel()
        await asyncio.wait({task}, timeout=_CLOSE_SECONDS / _MAX_CANCELLATIONS)
        if task.done():
            return
    log.warning("rabbitmq.task_not_stopped")


async def _bounded(closing: Awaitable[object], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await closing
    except Exception as error:
        log.warning("rabbitmq.close_failed", reason=type(error).__name__)


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
        arguments={
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": topology.dead_letter_queue(name),
        },
    )
