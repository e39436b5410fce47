"""The durable queue of the embedded profile: one SQLite file, one process, RabbitMQ's meaning.

Publishing writes a row for each durable queue that is bound to the event's type. A task a
subscription takes due rows, dispatches them, then deletes, reschedules or marks them dead.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from coach_common import crash, logs
from coach_common.db.database import Database
from coach_common.db.migrate import upgrade
from coach_common.db.tables import Id, LongText, UtcDateTime, new_metadata
from coach_common.ids import new_id
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

METADATA: MetaData = new_metadata()
MESSAGES = Table(
    "messages",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("queue", String(96), nullable=False),
    Column("event_id", Id, nullable=False),
    Column("body", LongText, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("dead_at", UtcDateTime, nullable=True),
    Column("reason", LongText, nullable=True),
    Index("ix_messages_queue_due_at", "queue", "due_at"),
)

_PREFETCH = 16
_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 1.0
_DRAIN_SECONDS = 3.0


class InProcessBroker:
    """The file, and who listens. Only one process may open it."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, source="broker")
        self.wakes: dict[str, asyncio.Event] = {}
        self.volatile: list[Subscription] = []
        self._bound: dict[str, list[str]] = {}
        for queue, event_type in durable_queues().items():
            self._bound.setdefault(event_type, []).append(queue)

    async def open(self) -> None:
        """Create or migrate the file, and forget unrouted events older than 7 days."""
        await upgrade(self.database, "coach_common.messaging")
        before = self.database.clock() - timedelta(seconds=UNROUTED_SECONDS)
        async with self.database.transaction() as tx:
            await tx.execute(
                delete(MESSAGES).where(MESSAGES.c.queue == UNROUTED, MESSAGES.c.due_at < before)
            )

    async def close(self) -> None:
        """Close the file."""
        await self.database.close()

    async def keep(self, events: Sequence[Outgoing]) -> None:
        """Write a row for every queue bound to each event's type, then wake their consumers."""
        now = self.database.clock()
        rows = [
            {
                "id": new_id(),
                "queue": queue,
                "event_id": event.id,
                "body": event.body.decode(),
                "attempt": 1,
                "due_at": now,
            }
            for event in events
            for queue in self._queues(event.type)
        ]
        if rows:
            async with self.database.transaction() as tx:
                await tx.execute(insert(MESSAGES), rows)
        crash.point("broker.kept")
        for row in rows:
            if wake := self.wakes.get(str(row["queue"])):
                wake.set()

    async def due(
        self, queue: str, in_flight: set[UUID]
    ) -> tuple[list[tuple[UUID, bytes, int]], float]:
        """Return what is due and not in hand, and the seconds until it is worth another look."""
        now = self.database.clock()
        # As it is before the look: what is settled meanwhile may still be in what the look finds.
        busy = frozenset(in_flight)
        room = _PREFETCH - len(busy)
        async with self.database.read() as tx:
            rows = await tx.rows(
                select(MESSAGES)
                .where(MESSAGES.c.queue == queue, MESSAGES.c.dead_at.is_(None))
                .order_by(MESSAGES.c.due_at, MESSAGES.c.id)
                .limit(_PREFETCH * 2)
            )
        due: list[tuple[UUID, bytes, int]] = []
        pause = _POLL_SECONDS
        for row in rows:
            if row["id"] in busy:
                continue
            due_at: datetime = row["due_at"]
            if due_at > now:
                pause = min(pause, (due_at - now).total_seconds())
                break
            if len(due) < room:
                due.append((row["id"], row["body"].encode(), row["attempt"]))
        return due, max(pause, 0.01)

    async def settle(self, message_id: UUID, attempt: int, verdict: Verdict) -> None:
        """Delete, reschedule or mark dead what was dispatched."""
        now = self.database.clock()
        which = MESSAGES.c.id == message_id
        async with self.database.transaction() as tx:
            if verdict.outcome is Outcome.DONE:
                await tx.execute(delete(MESSAGES).where(which))
            elif verdict.outcome is Outcome.RETRY:
                due_at = now + timedelta(seconds=verdict.delay_seconds)
                await tx.execute(
                    update(MESSAGES).where(which).values(attempt=attempt + 1, due_at=due_at)
                )
            else:
                await tx.execute(
                    update(MESSAGES).where(which).values(dead_at=now, reason=verdict.reason)
                )

    async def dead_letters(self) -> list[tuple[str, UUID, str]]:
        """Return (queue, event id, reason) of what was given up."""
        async with self.database.read() as tx:
            rows = await tx.rows(select(MESSAGES).where(MESSAGES.c.dead_at.is_not(None)))
        return [(row["queue"], row["event_id"], row["reason"]) for row in rows]

    async def waiting(self) -> dict[str, int]:
        """Return how many events wait in each queue, dead ones apart."""
        async with self.database.read() as tx:
            rows = await tx.rows(
                select(MESSAGES.c.queue, func.count().label("count"))
                .where(MESSAGES.c.dead_at.is_(None))
                .group_by(MESSAGES.c.queue)
            )
        return {row["queue"]: row["count"] for row in rows}

    def _queues(self, event_type: str) -> list[str]:
        bound = self._bound.get(event_type)
        if bound:
            return bound
        if any(subscription.event.type == event_type for subscription in self.volatile):
            return []
        return [UNROUTED]


class InProcessTransport:
    """One service's Transport over the shared broker."""

    def __init__(
        self, broker: InProcessBroker, *, delays: Sequence[float] = RETRY_DELAYS_SECONDS
    ) -> None:
        self._broker = broker
        self._delays = delays
        self._volatile: list[Subscription] = []
        self._consumers: set[asyncio.Task[None]] = set()
        self._handling: set[asyncio.Task[None]] = set()

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        """Deliver to these from now on, beginning with what waits."""
        for subscription in subscriptions:
            if subscription.is_volatile:
                self._volatile.append(subscription)
                self._broker.volatile.append(subscription)
            else:
                self._broker.wakes[subscription.queue] = asyncio.Event()
                task = asyncio.create_task(self._consume(subscription), name=subscription.queue)
                self._consumers.add(task)

    async def publish(self, events: Sequence[Outgoing]) -> set[UUID]:
        """Keep the events for every durable queue, then tell whoever listens just now."""
        await self._broker.keep(events)
        for event in events:
            for subscription in self._broker.volatile:
                if subscription.event.type == event.type:
                    self._spawn(_tell(subscription, event.body))
        return {event.id for event in events}

    async def check(self) -> None:
        """Raise Unavailable where the file cannot be read."""
        await self._broker.database.check()

    async def stop(self) -> None:
        """Take no more rows and give handlers a moment; what they leave comes at the next start."""
        for subscription in self._volatile:
            self._broker.volatile.remove(subscription)
        for task in self._consumers:
            task.cancel()
        await asyncio.gather(*self._consumers, return_exceptions=True)
        if self._handling:
            await asyncio.wait(self._handling, timeout=_DRAIN_SECONDS)
        for task in list(self._handling):
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)

    async def _consume(self, subscription: Subscription) -> None:
        in_flight: set[UUID] = set()
        wake = self._broker.wakes[subscription.queue]
        while True:
            wake.clear()
            try:
                rows, pause = await self._broker.due(subscription.queue, in_flight)
            except Exception:
                log.exception("broker.failed", consumer=subscription.queue)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            for message_id, body, attempt in rows:
                in_flight.add(message_id)
                self._spawn(self._deliver(subscription, message_id, body, attempt, in_flight, wake))
            try:
                async with asyncio.timeout(pause):
                    await wake.wait()
            except TimeoutError:
                pass

    async def _deliver(
        self,
        subscription: Subscription,
        message_id: UUID,
        body: bytes,
        attempt: int,
        in_flight: set[UUID],
        wake: asyncio.Event,
    ) -> None:
        try:
            verdict = await dispatch(subscription, body, attempt=attempt, delays=self._delays)
            crash.point("broker.handled")
            await self._broker.settle(message_id, attempt, verdict)
        except Exception:
            # The row stays as it was and comes again: the inbox makes that harmless.
            log.exception("broker.failed", consumer=subscription.queue)
            await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            in_flight.discard(message_id)
            wake.set()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)


async def _tell(subscription: Subscription, body: bytes) -> None:
    await dispatch(subscription, body, attempt=1)
