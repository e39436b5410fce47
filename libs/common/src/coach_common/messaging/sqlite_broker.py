"""The durable queue of the embedded profile: one SQLite file, one process, RabbitMQ's semantics.

Publishing inserts a row per durable queue that is bound to the event's type, and passes the message
to its consumer. One task per subscription dispatches messages, then deletes, reschedules or
dead-letters their rows. It reads the file for what was not passed to it.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from coach_common import fault_injection, logs
from coach_common.db.database import WAL_TRUNCATE_SECONDS, Database
from coach_common.db.migrate import upgrade
from coach_common.db.tables import Id, LongText, UtcDateTime, new_metadata
from coach_common.ids import new_id
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
    Index("ix_messages_queue_due_at_id", "queue", "due_at", "id"),
    Index("ix_messages_dead_at", "dead_at"),
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DELAY = timedelta(seconds=max(RETRY_DELAYS_SECONDS))
_PREFETCH = 16
_POLL_SECONDS = 1.0
_ERROR_BACKOFF_SECONDS = 1.0
_SHUTDOWN_TIMEOUT_SECONDS = 3.0

_LIST_WAITING = (
    select(MESSAGES.c.id, MESSAGES.c.body, MESSAGES.c.attempt, MESSAGES.c.due_at)
    .where(MESSAGES.c.queue == bindparam("queue"), MESSAGES.c.dead_at.is_(None))
    .order_by(MESSAGES.c.due_at, MESSAGES.c.id)
    .limit(_PREFETCH * 2)
)
"""Built once, because building it takes longer than to run it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a queue, as its consumer gets it."""

    id: UUID
    body: bytes
    attempt: int


@dataclass(slots=True)
class WorkQueue:
    """What the consumer of a queue knows without reading the file."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: list[Message] = field(default_factory=list)
    in_flight: set[UUID] = field(default_factory=set)
    must_read: bool = True
    """Whether the file may have due messages that were not passed on."""
    read_at: float = 0.0
    """When the file is read next, on the monotonic clock."""

    @property
    def capacity(self) -> int:
        """How many messages may be dispatched now."""
        return _PREFETCH - len(self.in_flight)

    def add(self, message: Message) -> None:
        """Pass on a message whose row is committed. If too many wait, they are read later."""
        if len(self.arrived) < _PREFETCH:
            self.arrived.append(message)
        else:
            self.must_read = True
        self.wake.set()

    def take_arrived(self) -> list[Message] | None:
        """Return the messages that were passed on, or None if the file is to be read."""
        is_due = time.monotonic() >= self.read_at
        if self.must_read or is_due or len(self.arrived) > self.capacity:
            return None
        arrived, self.arrived = self.arrived, []
        return arrived

    def finish(self, message: Message, *, must_read: bool) -> None:
        """Note that a message was dispatched. If its row is still there, the file must be read."""
        self.in_flight.discard(message.id)
        self.must_read = self.must_read or must_read
        if self.must_read:
            self.wake.set()


class SqliteBroker:
    """The file and its subscriptions. Only one process may open it."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, source="broker")
        self.work_queues: dict[str, WorkQueue] = {}
        self.transient_subscriptions: list[Subscription] = []
        self._maintenance: asyncio.Task[None] | None = None
        self._queues_by_event_type: dict[str, list[str]] = {}
        for queue, event_type in durable_queues().items():
            self._queues_by_event_type.setdefault(event_type, []).append(queue)

    async def open(self) -> None:
        """Create or migrate the file and start its maintenance."""
        await upgrade(self.database, "coach_common.messaging")
        self._maintenance = asyncio.create_task(self._maintain(), name="broker.maintenance")

    async def purge_unrouted(self) -> None:
        """Delete unrouted events older than 7 days."""
        before = self.database.clock() - timedelta(seconds=UNROUTED_TTL_SECONDS)
        async with self.database.transaction() as tx:
            await tx.execute_bulk(
                delete(MESSAGES).where(
                    MESSAGES.c.queue == UNROUTED_QUEUE, MESSAGES.c.due_at < before
                )
            )

    async def close(self) -> None:
        """Stop the maintenance and close the file."""
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.gather(self._maintenance, return_exceptions=True)
        await self.database.close()

    async def _maintain(self) -> None:
        """Purge unrouted events and truncate the write-ahead log until cancelled."""
        while True:
            try:
                await self.purge_unrouted()
                await self.database.truncate_wal()
            except Exception:
                log.exception("broker.maintenance_failed")
            await asyncio.sleep(WAL_TRUNCATE_SECONDS)

    async def enqueue(self, events: Sequence[OutboxMessage]) -> bool:
        """Insert a row per event and bound queue and wake the consumers. Return whether any was.

        Consumers need not wait for the disk: the outbox has the events until `sync` has returned.
        """
        now = self.database.clock()
        routed = [
            (queue, event.id, Message(new_id(), event.body, 1))
            for event in events
            for queue in self._queues(event.type)
        ]
        rows = [
            {
                "id": message.id,
                "queue": queue,
                "event_id": event_id,
                "body": message.body.decode(),
                "attempt": message.attempt,
                "due_at": now,
            }
            for queue, event_id, message in routed
        ]
        if rows:
            async with self.database.transaction(is_durable=False) as tx:
                await tx.execute(insert(MESSAGES), rows)
        fault_injection.crash_point("broker.kept")
        for queue, _, message in routed:
            if work_queue := self.work_queues.get(queue):
                work_queue.add(message)
        return bool(rows)

    async def receive(self, queue: str) -> list[Message]:
        """Return the messages to dispatch now, from memory or from the file."""
        work_queue = self.work_queues[queue]
        messages = work_queue.take_arrived()
        if messages is None:
            work_queue.must_read = True  # also if the file cannot be read
            work_queue.arrived.clear()
            messages, wait_seconds = await self.fetch_due(
                queue, work_queue.in_flight, limit=work_queue.capacity
            )
            # A message that has arrived while the query ran can be in its result.
            ids = {message.id for message in messages}
            work_queue.arrived = [one for one in work_queue.arrived if one.id not in ids]
            work_queue.must_read = len(messages) == work_queue.capacity
            work_queue.read_at = time.monotonic() + wait_seconds
        work_queue.in_flight.update(message.id for message in messages)
        return messages

    async def fetch_due(
        self, queue: str, in_flight: set[UUID], *, limit: int = _PREFETCH
    ) -> tuple[list[Message], float]:
        """Return the due messages that are not in flight, and the seconds until the next check."""
        now = self.database.clock()
        # Copy before the query: a message that is completed while the query runs can still be in
        # its result and must not be delivered again.
        in_flight_ids = frozenset(in_flight)
        async with self.database.read_only() as tx:
            rows = await tx.fetch_all(_LIST_WAITING, {"queue": queue})
        due_messages: list[Message] = []
        wait_seconds = _POLL_SECONDS
        for row in rows:
            if row["id"] in in_flight_ids:
                continue
            due_at: datetime = row["due_at"]
            # Further ahead than any retry delay: scheduled before the clock was set back.
            if now < due_at <= now + _MAX_DELAY:
                wait_seconds = min(wait_seconds, (due_at - now).total_seconds())
                continue
            if len(due_messages) < limit:
                due_messages.append(Message(row["id"], row["body"].encode(), row["attempt"]))
        return due_messages, max(wait_seconds, 0.01)

    async def apply_result(self, message: Message, result: DispatchResult) -> None:
        """Delete, reschedule or dead-letter a dispatched message."""
        now = self.database.clock()
        by_id = MESSAGES.c.id == message.id
        if result.deleted_user_id is not None:
            await self.delete_messages_about(result.deleted_user_id)
        # If this is lost, the message is delivered again and its inbox row makes it harmless.
        async with self.database.transaction(is_durable=False) as tx:
            if result.outcome is Outcome.DONE:
                await tx.execute(delete(MESSAGES).where(by_id))
            elif result.outcome is Outcome.RETRY:
                due_at = now + timedelta(seconds=result.delay_seconds)
                await tx.execute(
                    update(MESSAGES).where(by_id).values(attempt=message.attempt + 1, due_at=due_at)
                )
            else:
                await tx.execute(
                    update(MESSAGES).where(by_id).values(dead_at=now, reason=result.reason)
                )

    async def delete_messages_about(self, user_id: UUID) -> None:
        """Delete the dead letters and unrouted events that contain the user's id."""
        is_about_user = MESSAGES.c.body.contains(str(user_id))
        async with self.database.transaction() as tx:
            # A range of `dead_at`, because `is not null` would not use its index.
            for is_kept in (MESSAGES.c.dead_at > EPOCH, MESSAGES.c.queue == UNROUTED_QUEUE):
                await tx.execute_bulk(delete(MESSAGES).where(is_kept, is_about_user))

    async def queue_depths(self) -> dict[str, int]:
        """Return the number of messages per queue, without dead letters."""
        async with self.database.read_only() as tx:
            rows = await tx.fetch_all(
                select(MESSAGES.c.queue, func.count().label("count"))
                .where(MESSAGES.c.dead_at.is_(None))
                .group_by(MESSAGES.c.queue)
            )
        return {row["queue"]: row["count"] for row in rows}

    def _queues(self, event_type: str) -> list[str]:
        queues = self._queues_by_event_type.get(event_type)
        if queues:
            return queues
        if any(
            subscription.event.type == event_type for subscription in self.transient_subscriptions
        ):
            return []
        return [UNROUTED_QUEUE]


class SqliteTransport:
    """The Transport of one service over the shared broker."""

    def __init__(
        self, broker: SqliteBroker, *, delays: Sequence[float] = RETRY_DELAYS_SECONDS
    ) -> None:
        self._broker = broker
        self._delays = delays
        self._transient_subscriptions: list[Subscription] = []
        self._consumer_tasks: set[asyncio.Task[None]] = set()
        self._handler_tasks: set[asyncio.Task[None]] = set()

    async def start(self, subscriptions: Sequence[Subscription]) -> None:
        """Deliver to these subscriptions, waiting messages first."""
        for subscription in subscriptions:
            if subscription.is_transient:
                self._transient_subscriptions.append(subscription)
                self._broker.transient_subscriptions.append(subscription)
            else:
                self._broker.work_queues[subscription.queue] = WorkQueue()
                task = asyncio.create_task(self._consume(subscription), name=subscription.queue)
                self._consumer_tasks.add(task)

    async def publish(self, events: Sequence[OutboxMessage]) -> set[UUID]:
        """Insert the events into the durable queues and deliver them to transient subscriptions.

        Returns when the rows are durable.
        """
        has_rows = await self._broker.enqueue(events)
        for event in events:
            for subscription in self._broker.transient_subscriptions:
                if subscription.event.type == event.type:
                    self._start_handler(_dispatch_once(subscription, event.body))
        if has_rows:
            await self._broker.database.sync()
        return {event.id for event in events}

    async def check(self) -> None:
        """Raise Unavailable if the file cannot be read."""
        await self._broker.database.check()

    async def stop(self) -> None:
        """Stop receiving and wait up to 3 s for handlers. Unfinished rows are delivered again."""
        for subscription in self._transient_subscriptions:
            self._broker.transient_subscriptions.remove(subscription)
        for task in self._consumer_tasks:
            task.cancel()
        await asyncio.gather(*self._consumer_tasks, return_exceptions=True)
        if self._handler_tasks:
            await asyncio.wait(self._handler_tasks, timeout=_SHUTDOWN_TIMEOUT_SECONDS)
        for task in list(self._handler_tasks):
            task.cancel()
        await asyncio.gather(*self._handler_tasks, return_exceptions=True)

    async def _consume(self, subscription: Subscription) -> None:
        queue = self._broker.work_queues[subscription.queue]
        while True:
            queue.wake.clear()
            try:
                messages = await self._broker.receive(subscription.queue)
            except Exception:
                log.exception("broker.failed", consumer=subscription.queue)
                await asyncio.sleep(_ERROR_BACKOFF_SECONDS)
                continue
            for message in messages:
                self._start_handler(self._deliver(subscription, message, queue))
            with suppress(TimeoutError):
                async with asyncio.timeout(queue.read_at - time.monotonic()):
                    await queue.wake.wait()

    async def _deliver(
        self, subscription: Subscription, message: Message, queue: WorkQueue
    ) -> None:
        is_kept = True
        try:
            result = await dispatch(
                subscription, message.body, attempt=message.attempt, delays=self._delays
            )
            fault_injection.crash_point("broker.handled")
            await self._broker.apply_result(message, result)
            is_kept = result.outcome is Outcome.RETRY
        except Exception:
            # The row is unchanged and is delivered again. The inbox ignores duplicates.
            log.exception("broker.failed", consumer=subscription.queue)
            await asyncio.sleep(_ERROR_BACKOFF_SECONDS)
        finally:
            queue.finish(message, must_read=is_kept)

    def _start_handler(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._handler_tasks.add(task)
        task.add_done_callback(self._handler_tasks.discard)


async def _dispatch_once(subscription: Subscription, body: bytes) -> None:
    await dispatch(subscription, body, attempt=1)
