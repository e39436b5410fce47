"""Who listens to what, and the one interface both transports have."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from coach_common.db.transaction import MessageContext
from coach_common.events.base import Event
from coach_common.events.catalog import CATALOG

D = TypeVar("D")

Handlers = Mapping[type[Event], Callable[[D, Any, MessageContext], Awaitable[None]]]
"""A service's consumers: `SUBSCRIPTIONS: Handlers[Deps] = {UploadConfirmed: on_…}`."""

RETRY_DELAYS_SECONDS = (0.5, 2.0, 10.0, 60.0, 300.0, 1800.0)
"""Pauses before a delivery is tried again; after the last one it is a dead letter."""

UNROUTED_QUEUE = "coach.unrouted"
"""Where an event without a listener is kept for 7 days."""

UNROUTED_TTL_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Subscription:
    """One consumer of one event. Durable, unless it only matters while the process lives."""

    service: str
    event: type[Event]
    handle: Callable[[Any, MessageContext], Awaitable[None]]
    is_transient: bool = False

    @property
    def queue(self) -> str:
        """The queue's name, and the consumer's in the inbox."""
        return queue_name(self.service, self.event)


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """An outbox row on its way: `body` is the whole envelope as JSON."""

    id: UUID
    type: str
    body: bytes


class Transport(Protocol):
    """What carries events between services: at least once, in no particular order."""

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        """Declare every queue of the catalogue, then deliver to these subscriptions."""

    async def publish(self, events: Sequence[OutboxMessage]) -> set[UUID]:
        """Publish; return the ids that are now safely kept. The others may or may not be."""

    async def check(self) -> None:
        """Return where events flow, else raise Unavailable."""

    async def stop(self) -> None:
        """Let what is being handled finish, then take nothing more."""


class NullTransport:
    """For a command beside a running service: what it emits waits in the outbox for that one."""

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
    """Return every durable queue of the system with the event type that is bound to it."""
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
    """Bind a service's consumers to what they need; refuse a list that the catalogue denies."""
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
