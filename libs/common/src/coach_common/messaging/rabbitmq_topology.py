"""The exchanges and queues on RabbitMQ: declare them, find missing ones, move their messages.

Topic exchange `coach.events` with a durable queue per service and event. A retry waits in
`coach.retry.<ms>`, whose messages expire back to the work queue. Dead letters are in
`<queue>.dead`. An event that reaches no queue goes to `coach.misrouted` if its type has
consumers, and to `coach.unrouted` otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from aio_pika import ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from coach_common import fault_injection
from coach_common.errors import InvalidInput
from coach_common.events.base import Envelope
from coach_common.messaging.subscriptions import (
    UNROUTED_QUEUE,
    UNROUTED_TTL_SECONDS,
    durable_queues,
)

EVENTS_EXCHANGE = "coach.events"
MISROUTED_QUEUE = "coach.misrouted"
"""Events whose type has consumers and whose queues were missing. They are published again."""

_DEAD = ".dead"
_CLOSE_SECONDS = 2.0
_MAX_MOVED_MESSAGES = 10_000
"""Most messages of one queue that one call reads."""


@dataclass(frozen=True, slots=True)
class ExchangeSpec:
    """A durable exchange."""

    name: str
    kind: ExchangeType
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable queue with its bindings, as pairs of exchange and routing key."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    bindings: tuple[tuple[str, str], ...] = ()


class Move(Enum):
    """What `move_messages` does with a message."""

    KEEP = "keep"
    DROP = "drop"
    PUBLISH_AGAIN = "publish_again"
    """To all queues of the event."""
    REPLAY = "replay"
    """To the work queue of the dead letter queue, at its first attempt."""


def retry_exchange(delay_seconds: float) -> str:
    """Return the exchange whose messages return to their work queue after the delay."""
    return f"coach.retry.{int(delay_seconds * 1000)}"


def dead_letter_queue(queue: str) -> str:
    """Return the queue for the dead letters of a work queue."""
    return f"{queue}{_DEAD}"


def exchanges(delays: Sequence[float]) -> list[ExchangeSpec]:
    """Return all exchanges. An exchange comes after the one that its arguments name."""
    return [
        ExchangeSpec(UNROUTED_QUEUE, ExchangeType.FANOUT),
        ExchangeSpec(MISROUTED_QUEUE, ExchangeType.TOPIC, {"alternate-exchange": UNROUTED_QUEUE}),
        ExchangeSpec(EVENTS_EXCHANGE, ExchangeType.TOPIC, {"alternate-exchange": MISROUTED_QUEUE}),
        *(ExchangeSpec(retry_exchange(delay), ExchangeType.FANOUT) for delay in delays),
    ]


def queues(delays: Sequence[float]) -> list[QueueSpec]:
    """Return all durable queues."""
    keep = {"x-message-ttl": UNROUTED_TTL_SECONDS * 1000}
    work_queues = durable_queues()
    event_types = sorted(set(work_queues.values()))
    return [
        QueueSpec(UNROUTED_QUEUE, keep, ((UNROUTED_QUEUE, ""),)),
        QueueSpec(MISROUTED_QUEUE, keep, tuple((MISROUTED_QUEUE, kind) for kind in event_types)),
        *(
            QueueSpec(
                name,
                {
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": dead_letter_queue(name),
                },
                ((EVENTS_EXCHANGE, event_type),),
            )
            for name, event_type in work_queues.items()
        ),
        *(QueueSpec(dead_letter_queue(name)) for name in work_queues),
        *(
            # A fanout exchange keeps the routing key: the name of the work queue to return to.
            QueueSpec(
                retry_exchange(delay),
                {"x-message-ttl": int(delay * 1000), "x-dead-letter-exchange": ""},
                ((retry_exchange(delay), ""),),
            )
            for delay in delays
        ),
    ]


async def declare(connection: AbstractConnection, delays: Sequence[float]) -> None:
    """Declare all exchanges, queues and bindings, so that every event reaches its queues."""
    async with open_channel(connection) as channel:
        for exchange in exchanges(delays):
            await channel.declare_exchange(
                exchange.name, exchange.kind, durable=True, arguments=exchange.arguments
            )
        for spec in queues(delays):
            queue = await channel.declare_queue(spec.name, durable=True, arguments=spec.arguments)
            for exchange_name, routing_key in spec.bindings:
                await queue.bind(exchange_name, routing_key)


async def find_missing(
    connection: AbstractConnection, delays: Sequence[float], consumed: Sequence[str]
) -> list[str]:
    """Return what is missing, in words: exchanges, queues, and consumers of `consumed` queues."""
    async with _ReopeningChannel(connection) as channels:
        missing = [
            f"exchange {exchange.name}"
            for exchange in exchanges(delays)
            if not await channels.has_exchange(exchange.name)
        ]
        for queue in queues(delays):
            consumers = await channels.count_consumers(queue.name)
            if consumers is None:
                missing.append(f"queue {queue.name}")
            elif consumers == 0 and queue.name in consumed:
                missing.append(f"consumer of {queue.name}")
    return missing


async def publish_misrouted(connection: AbstractConnection) -> int:
    """Publish misrouted events again; return how many there were."""
    return await move_messages(connection, MISROUTED_QUEUE, lambda _: Move.PUBLISH_AGAIN)


async def delete_messages_about(
    connection: AbstractConnection, user_id: str, names: Sequence[str]
) -> int:
    """Delete the messages of these queues that contain the user's id; return how many.

    Reads the oldest messages of each queue, up to a limit. The order of the others is kept.
    """
    marker = user_id.encode()

    def choose(body: bytes) -> Move:
        return Move.DROP if marker in body else Move.KEEP

    return sum([await move_messages(connection, name, choose) for name in names])


async def move_messages(
    connection: AbstractConnection, name: str, choose: Callable[[bytes], Move]
) -> int:
    """Take each message that is in the queue now and apply what `choose` returns.

    A kept message is published to the end of the queue before its delivery is acknowledged, so a
    crash leaves a duplicate and loses nothing. Returns how many were not kept.
    """
    moved = 0
    async with open_channel(connection) as channel:
        queue = await channel.declare_queue(name, durable=True, passive=True)
        events = await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)
        for _ in range(min(queue.declaration_result.message_count or 0, _MAX_MOVED_MESSAGES)):
            message = await queue.get(fail=False)
            if message is None:
                break
            choice = choose(message.body)
            if choice is Move.PUBLISH_AGAIN:
                await events.publish(_copy(message), message.routing_key or "")
            elif choice is Move.REPLAY:
                await channel.default_exchange.publish(
                    _copy(message, is_first_attempt=True), name.removesuffix(_DEAD)
                )
            elif choice is Move.KEEP:
                await channel.default_exchange.publish(_copy(message, name), name)
            fault_injection.crash_point("dead_letters.published")
            await message.ack()
            moved += choice is not Move.KEEP
    return moved


@asynccontextmanager
async def open_channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """Open a channel that confirms publishes and raises if a message reaches no queue."""
    channel = connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        await channel.initialize()
        yield channel
    finally:
        await _close(channel)


async def _close(channel: AbstractChannel) -> None:
    """Close a channel. A broker that is frozen does not respond, so the wait is bounded."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await channel.close()


class _ReopeningChannel:
    """A channel for passive declarations. RabbitMQ closes a channel if the entity is missing."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._channel: AbstractChannel | None = None

    async def __aenter__(self) -> "_ReopeningChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._channel is not None:
            await _close(self._channel)

    async def has_exchange(self, name: str) -> bool:
        channel = await self._open()
        try:
            await channel.get_exchange(name)
        except ChannelNotFoundEntity:
            self._channel = None
            return False
        return True

    async def count_consumers(self, name: str) -> int | None:
        """Return the number of consumers, or None if the queue is missing."""
        channel = await self._open()
        try:
            queue = await channel.declare_queue(name, durable=True, passive=True)
        except ChannelNotFoundEntity:
            self._channel = None
            return None
        return queue.declaration_result.consumer_count or 0

    async def _open(self) -> AbstractChannel:
        if self._channel is None:
            self._channel = self._connection.channel(publisher_confirms=False)
            await self._channel.initialize()
        return self._channel


def _copy(
    message: AbstractIncomingMessage, queue: str | None = None, *, is_first_attempt: bool = False
) -> Message:
    """Return a copy to publish again. In `coach.unrouted` it still expires at the same time."""
    expiration = _remaining_ttl(message.body) if queue == UNROUTED_QUEUE else None
    return Message(
        message.body,
        headers={} if is_first_attempt else message.headers,
        content_type=message.content_type,
        delivery_mode=message.delivery_mode,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        timestamp=None if is_first_attempt else message.timestamp,
        expiration=expiration,
    )


def _remaining_ttl(body: bytes) -> timedelta:
    whole = timedelta(seconds=UNROUTED_TTL_SECONDS)
    try:
        published_at = datetime.fromisoformat(Envelope.from_json(body).time)
    except (InvalidInput, ValueError):
        return whole
    return max(timedelta(seconds=1), min(whole, whole - (datetime.now(UTC) - published_at)))
