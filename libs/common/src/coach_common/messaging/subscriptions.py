"""Subscriptions of consumers to events, and the interface of the transports."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from coach_common.events.base import Event
from coach_common.events.catalog import CATALOG
from coach_common.messaging.message import MessageContext

D = TypeVar("D")

Handlers = Mapping[type[Event], Callable[[D, Any, MessageContext], Awaitable[None]]]
"""A service's consumers: `SUBSCRIPTIONS: Handlers[Deps] = {UploadConfirmed: on_…}`."""

RETRY_DELAYS_SECONDS = (0.5, 2.0, 10.0, 60.0, 300.0, 1800.0)
"""Delays before the retries of a message. After the last one it becomes a dead letter."""

UNROUTED_QUEUE = "coach.unrouted"
"""The queue that keeps events without a consumer for 7 days."""

UNROUTED_TTL_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Subscription:
    """One consumer of one event. A transient one receives events only while it is connected."""

    service: str
    event: type[Event]
    handle: Callable[[Any, MessageContext], Awaitable[None]]
    is_transient: bool = False

    @property
    def queue(self) -> str:
        """The name of the queue, and of the consumer in the inbox."""
        return queue_name(self.service, self.event)


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """An outbox row to publish. `body` is the envelope as JSON."""

    id: UUID
    type: str
    body: bytes


class Transport(Protocol):
    """Delivers events between services: at least once, unordered."""

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        """Declare all queues of the catalogue and deliver to these subscriptions."""

    async def publish(self, events: Sequence[OutboxMessage]) -> set[UUID]:
        """Publish events and return the ids that are confirmed. The others may be published."""

    async def check(self) -> None:
        """Raise Unavailable if events cannot be published or received."""

    async def stop(self) -> None:
        """Stop receiving and wait for running handlers."""


class NullTransport:
    """For commands: their events stay in the outbox until the running service publishes them."""

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        return None

    async def publish(self, events: Sequence[OutboxMessage]) -> set[UUID]:
        return set()

    async def check(self) -> None:
        return None

    async def stop(self) -> None:
        return None


def queue_name(service: str, event: type[Event]) -> str:
    """Return the durable queue of `service` for `event`."""
    return f"{service}.{event.type}"


def durable_queues() -> dict[str, str]:
    """Return all durable queues of the system, each with its event type."""
    return {
        queue_name(service, event): event.type
        for event in CATALOG.values()
        for service in event.consumers
    }


def subscribe(
    service: str,
    deps: D,
    handlers: Handlers[D],
    *,
    is_transient: bool = False,
) -> tuple[Subscription, ...]:
    """Return the subscriptions of a service, with `deps` bound to its handlers.

    Raises:
        RuntimeError: If the handlers differ from the consumers in the event catalogue.
    """
    declared = {event for event in CATALOG.values() if service in event.consumers}
    if not is_transient and declared != set(handlers):
        wrong = sorted(event.type for event in declared ^ set(handlers))
        raise RuntimeError(
            f"{service}: handlers do not match the event catalogue: {', '.join(wrong)}"
        )

    def bind(
        handler: Callable[[D, Any, MessageContext], Awaitable[None]],
    ) -> Callable[[Any, MessageContext], Awaitable[None]]:
        async def handle(event: Any, message: MessageContext) -> None:
            await handler(deps, event, message)

        return handle

    return tuple(
        Subscription(service, event, bind(handler), is_transient)
        for event, handler in handlers.items()
    )
