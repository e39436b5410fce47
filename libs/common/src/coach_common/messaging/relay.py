"""Publishes outbox rows: claim, publish, delete. Safe to run in every replica."""

import asyncio
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update

from coach_common import fault_injection, logs, telemetry, tracing
from coach_common.db.database import Database, database_now
from coach_common.db.leases import is_lease_free
from coach_common.errors import CoachError
from coach_common.events.base import Envelope
from coach_common.messaging.subscriptions import OutboxMessage, Transport

log = logs.get_logger(__name__)

_BATCH_SIZE = 100
CLAIM_DURATION = timedelta(seconds=10)
"""How long a claim is valid. Longer than the timeout of a publish."""

_POLL_SECONDS = 1.0
_ERROR_BACKOFF_SECONDS = 1.0


class OutboxRelay:
    """Publishes the events that the transactions of a service emitted.

    A commit wakes it; polling is the fallback. If a relay dies with a claim, the claim expires
    after 10 s and the events are published again. The inboxes of the consumers ignore duplicates.
    On SQLite, which only one process uses, a new relay releases the claims of its predecessor.
    """

    def __init__(
        self,
        database: Database,
        transport: Transport,
        *,
        claim_duration: timedelta = CLAIM_DURATION,
    ) -> None:
        if database.outbox is None:
            raise RuntimeError(f"{database.source} has no outbox")
        self._database = database
        self._outbox = database.outbox
        self._transport = transport
        self._claim_duration = claim_duration

    async def run(self) -> None:
        """Relay until cancelled."""
        was_notified = False
        has_released = not self._database.is_sqlite
        while True:
            self._database.outbox_written.clear()
            try:
                if not has_released:
                    await self._release_all()
                    has_released = True
                claimed, published = await self.relay_once(was_notified=was_notified)
            except CoachError as error:
                log.warning(
                    "relay.publish_unavailable", service=self._database.source, reason=str(error)
                )
                was_notified = await self._back_off()
                continue
            except Exception:
                log.exception("relay.failed", service=self._database.source)
                was_notified = await self._back_off()
                continue
            if published < claimed:
                was_notified = await self._back_off()
            elif claimed < _BATCH_SIZE:
                was_notified = await self._wait_for_commit()

    async def relay_once(self, *, was_notified: bool = False) -> tuple[int, int]:
        """Claim and publish a batch. Returns the number of claimed and of confirmed events."""
        # A read takes no write lock, so an idle service does not write every second.
        if not was_notified and not await self._has_pending_rows():
            return 0, 0
        batch = await self._claim()
        if not batch:
            return 0, 0
        fault_injection.crash_point("relay.claimed")
        spans = self._start_spans(batch) if tracing.is_exporting() else {}
        confirmed: set[UUID] = set()
        try:
            confirmed = await self._transport.publish(batch)
        except BaseException:
            await self._release(batch)
            raise
        finally:
            for event_id, span in spans.items():
                span.end(error="" if event_id in confirmed else "unconfirmed")
        fault_injection.crash_point("relay.published")
        async with self._database.transaction(is_durable=False) as tx:
            await tx.execute(delete(self._outbox).where(self._outbox.c.id.in_(confirmed)))
        for event in batch:
            if event.id in confirmed:
                telemetry.EVENTS_PUBLISHED.labels(self._database.source, event.type).inc()
        if len(confirmed) < len(batch):
            await self._release([event for event in batch if event.id not in confirmed])
        return len(batch), len(confirmed)

    def _start_spans(self, batch: list[OutboxMessage]) -> dict[UUID, tracing.Span]:
        return {
            event.id: tracing.start_span(
                self._database.source,
                f"send {event.type}",
                tracing.Kind.PRODUCER,
                parent=Envelope.from_json(event.body).traceparent,
                attributes={"messaging.message.id": str(event.id)},
            )
            for event in batch
        }

    async def _claim(self) -> list[OutboxMessage]:
        outbox = self._outbox
        # A lost claim only lets the events be published again.
        async with self._database.transaction(is_durable=False) as tx:
            commit_count = self._database.commit_count
            now = await database_now(tx)
            rows = await tx.fetch_all(
                select(outbox.c.id, outbox.c.type, outbox.c.body)
                .where(
                    is_lease_free(outbox.c.claimed_until, now=now, duration=self._claim_duration)
                )
                .order_by(outbox.c.id)
                .limit(_BATCH_SIZE)
                .with_for_update(skip_locked=True)
            )
            ids = [row["id"] for row in rows]
            if ids:
                await tx.execute(
                    update(outbox)
                    .where(outbox.c.id.in_(ids))
                    .values(claimed_until=now + self._claim_duration)
                )
        # An event must not be published before its transaction is durable.
        await self._database.sync(commit_count)
        return [OutboxMessage(row["id"], row["type"], row["body"].encode()) for row in rows]

    async def _has_pending_rows(self) -> bool:
        async with self._database.read_only() as tx:
            count = await tx.scalar(select(func.count()).select_from(self._outbox))
        telemetry.OUTBOX_ROWS.labels(self._database.source).set(count)
        return bool(count)

    async def _release(self, events: list[OutboxMessage]) -> None:
        async with self._database.transaction(is_durable=False) as tx:
            await tx.execute(
                update(self._outbox)
                .where(self._outbox.c.id.in_([event.id for event in events]))
                .values(claimed_until=None)
            )

    async def _release_all(self) -> None:
        async with self._database.transaction() as tx:
            await tx.execute(
                update(self._outbox)
                .where(self._outbox.c.claimed_until.is_not(None))
                .values(claimed_until=None)
            )

    async def _back_off(self) -> bool:
        """Wait after a failed pass. Returns False: the next pass counts the rows that wait."""
        await asyncio.sleep(_ERROR_BACKOFF_SECONDS)
        return False

    async def _wait_for_commit(self) -> bool:
        """Return True if a commit ended the wait, or False if the poll interval did."""
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                return await self._database.outbox_written.wait()
        except TimeoutError:
            return False
