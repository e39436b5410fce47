"""Publishes the events of a service and deletes their outbox rows. Safe to run in every replica."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
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

    A commit in this process passes its events on directly. The outbox is read every second, for
    events of other processes and of relays that died. If a relay dies with a claim, the claim
    expires after 10 s and the events are published again. The inboxes of the consumers ignore
    duplicates. On SQLite, which only one process uses, a new relay releases the claims of its
    predecessor.
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
        self._committed = database.committed_events
        self._outbox = database.outbox
        self._transport = transport
        self._claim_duration = claim_duration
        self._has_released_all = not database.is_sqlite
        self._read_outbox_at = 0.0

    async def run(self) -> None:
        """Relay until cancelled."""
        self._committed.open(self._claim_duration)
        try:
            while True:
                if await self._try_publish():
                    await self._wait_for_commit()
                else:
                    await asyncio.sleep(_ERROR_BACKOFF_SECONDS)
        finally:
            await self._release(self._committed.close())

    async def relay_once(self) -> tuple[int, int]:
        """Publish a batch of the outbox. Returns the number of claimed and of confirmed events."""
        # A read takes no write lock, so an idle service does not write every second.
        batch = await self._claim() if await self._has_pending_rows() else []
        return len(batch), await self._publish(batch, self._database.commit_count)

    async def _try_publish(self) -> bool:
        """Publish what is due, and return whether all of it was confirmed."""
        try:
            if not self._has_released_all:
                await self._release_all()
                self._has_released_all = True
            return await self._publish_outbox() and await self._publish_committed()
        except CoachError as error:
            log.warning(
                "relay.publish_unavailable", service=self._database.source, reason=str(error)
            )
        except Exception:
            log.exception("relay.failed", service=self._database.source)
        return False

    async def _publish_outbox(self) -> bool:
        if time.monotonic() < self._read_outbox_at:
            return True
        claimed, published = await self.relay_once()
        if claimed < _BATCH_SIZE:
            self._read_outbox_at = time.monotonic() + _POLL_SECONDS
        return claimed == published

    async def _publish_committed(self) -> bool:
        batch = self._committed.take(_BATCH_SIZE)
        return await self._publish(batch, self._committed.commit_count) == len(batch)

    async def _publish(self, batch: Sequence[OutboxMessage], commit_count: int) -> int:
        """Publish claimed events of the first commits, and return how many are confirmed."""
        if not batch:
            return 0
        fault_injection.crash_point("relay.claimed")
        spans = self._start_spans(batch) if tracing.is_exporting() else {}
        confirmed: set[UUID] = set()
        try:
            # An event must not be published before its transaction is durable.
            await self._database.sync(commit_count)
            confirmed = await self._transport.publish(batch)
        finally:
            for event_id, span in spans.items():
                span.end(error="" if event_id in confirmed else "unconfirmed")
            if len(confirmed) < len(batch):
                # The events behind them would fail too, and their claims expire meanwhile.
                waiting = [*batch, *self._committed.take()]
                await self._release([event for event in waiting if event.id not in confirmed])
        fault_injection.crash_point("relay.published")
        async with self._database.transaction(is_durable=False) as tx:
            await tx.execute(delete(self._outbox).where(self._outbox.c.id.in_(confirmed)))
        for event in batch:
            if event.id in confirmed:
                telemetry.EVENTS_PUBLISHED.labels(self._database.source, event.type).inc()
        return len(confirmed)

    def _start_spans(self, batch: Sequence[OutboxMessage]) -> dict[UUID, tracing.Span]:
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
            now = await database_now(tx)
            rows = await tx.fetch_all(
                select(outbox.c.id, outbox.c.type, outbox.c.body)
                .where(
                    is_lease_free(
                        outbox.c.claimed_until, now=now, latest=now + self._claim_duration
                    )
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
        return [OutboxMessage(row["id"], row["type"], row["body"].encode()) for row in rows]

    async def _has_pending_rows(self) -> bool:
        async with self._database.read_only() as tx:
            count = await tx.scalar(select(func.count()).select_from(self._outbox))
        telemetry.OUTBOX_ROWS.labels(self._database.source).set(count)
        return bool(count)

    async def _release(self, events: Sequence[OutboxMessage]) -> None:
        if not events:
            return
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

    async def _wait_for_commit(self) -> None:
        """Wait until events were committed here, or until the outbox is to be read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._read_outbox_at - time.monotonic()):
                await self._committed.arrived.wait()
