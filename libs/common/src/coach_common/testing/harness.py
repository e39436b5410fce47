"""Support for tests of a built Service: HTTP client, emitted events, delivery of events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import httpx
from sqlalchemy import select

from coach_common.db.database import Database
from coach_common.events.base import Envelope, Event
from coach_common.events.catalog import CATALOG
from coach_common.ids import new_id
from coach_common.messaging.dispatch import DispatchResult, dispatch
from coach_common.service import Service, close, upgrade

D = TypeVar("D")
E = TypeVar("E", bound=Event)
T = TypeVar("T")


@asynccontextmanager
async def migrated_service(service: Service[D]) -> AsyncIterator[Service[D]]:
    """Migrate the database of a service and close it at the end. No background task runs."""
    await upgrade(service)
    try:
        yield service
    finally:
        await close(service)


def client_for(service: Service[object], **options: object) -> httpx.AsyncClient:
    """Return an HTTP client that calls the service's app without a socket."""
    transport = httpx.ASGITransport(app=service.app)
    return httpx.AsyncClient(transport=transport, base_url="http://test", **options)  # type: ignore[arg-type]


def http_client(**options: Any) -> httpx.AsyncClient:
    """Return an HTTP client for servers on a loaded machine: it waits a minute for a response."""
    return httpx.AsyncClient(**{"timeout": 60.0, **options})


async def emitted_events(database: Database | None, kind: type[E]) -> list[E]:
    """Return the events of one type that were emitted so far, in order."""
    if database is None or database.outbox is None:
        raise TypeError("the service has no outbox")
    outbox = database.outbox
    async with database.read_only() as tx:
        rows = await tx.fetch_all(
            select(outbox.c.body).where(outbox.c.type == kind.type).order_by(outbox.c.id)
        )
    events = [Envelope.from_json(row["body"]).parse_data(CATALOG[kind.type]) for row in rows]
    return [event for event in events if isinstance(event, kind)]


async def deliver_event(
    service: Service[object], event: Event, *, event_id: UUID | None = None, attempt: int = 1
) -> DispatchResult:
    """Deliver an event to the consumer of the service, as a transport does."""
    envelope = Envelope.wrap(
        event,
        id=event_id or new_id(),
        source=f"/services/{event.source}",
        time="2026-11-24T12:00:00.000000Z",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    (subscription,) = (item for item in service.subscriptions if item.event is type(event))
    return await dispatch(subscription, envelope.to_json(), attempt=attempt)


async def wait_until(
    probe: Callable[[], Awaitable[T | None]],
    *,
    description: str,
    timeout_seconds: float = 120.0,
    interval_seconds: float = 0.02,
) -> T:
    """Return the first true result of `probe`. Fails the test after `timeout_seconds`."""
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                found = await probe()
                if found:
                    return found
                await asyncio.sleep(interval_seconds)
    except TimeoutError:
        raise AssertionError(f"{description} did not happen within {timeout_seconds} s") from None
