"""From the outbox to the transport: claim, publish, remove. Safe to run in every replica."""

import asyncio
from datetime import timedelta

from sqlalchemy import delete, func, or_, select, update

from coach_common import crash, logs, telemetry
from coach_common.db.database import Database, database_now
from coach_common.errors import CoachError
from coach_common.messaging.subscriptions import Outgoing, Transport

log = logs.get(__name__)

_BATCH = 100
CLAIM = timedelta(seconds=30)
"""How long a batch is a relay's own; longer than any publish may take."""

_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 1.0


class Relay:
    """Publishes what a service's transactions emitted.

    Woken by the commit, it polls as the safety net. A claim that was lost with its relay ends
    after 30 s and the same ids go out again; the consumers' inboxes make that harmless.
    """

    def __init__(
        self, database: Database, transport: Transport, *, claim_for: timedelta = CLAIM
    ) -> None:
        if database.outbox is None:
            raise RuntimeError(f"{database.source} has no outbox")
        self._database = database
        self._outbox = database.outbox
        self._transport = transport
        self._claim_for = claim_for

    async def run(self) -> None:
        """Relay until cancelled."""
        is_woken = False
        while True:
            self._database.committed.clear()
            try:
                claimed, published = await self.relay_once(is_woken=is_woken)
            except CoachError as error:
                log.warning("relay.paused", service=self._database.source, reason=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            except Exception:
                log.exception("relay.failed", service=self._database.source)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if published < claimed:
                await asyncio.sleep(_PAUSE_SECONDS)
                is_woken = False
            elif claimed < _BATCH:
                is_woken = await self._wait()

    async def relay_once(self, *, is_woken: bool = False) -> tuple[int, int]:
        """Claim a batch and publish it; return how many were claimed and how many are safe."""
        # A look that takes no lock: an idle service must not write once a second.
        if not is_woken and not await self._has_rows():
            return 0, 0
        batch = await self._claim()
        if not batch:
            return 0, 0
        crash.point("relay.claimed")
        try:
            safe = await self._transport.publish(batch)
        except BaseException:
            await self._release(batch)
            raise
        crash.point("relay.published")
        async with self._database.transaction() as tx:
            await tx.execute(delete(self._outbox).where(self._outbox.c.id.in_(safe)))
        for event in batch:
            if event.id in safe:
                telemetry.EVENTS_PUBLISHED.labels(self._database.source, event.type).inc()
        if len(safe) < len(batch):
            await self._release([event for event in batch if event.id not in safe])
        return len(batch), len(safe)

    async def _claim(self) -> list[Outgoing]:
        outbox = self._outbox
        async with self._database.transaction() as tx:
            now = await database_now(tx)
            rows = await tx.rows(
                select(outbox.c.id, outbox.c.type, outbox.c.body)
                .where(or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until < now))
                .order_by(outbox.c.id)
                .limit(_BATCH)
                .with_for_update(skip_locked=True)
            )
            ids = [row["id"] for row in rows]
            if ids:
                await tx.execute(
                    update(outbox)
                    .where(outbox.c.id.in_(ids))
                    .values(claimed_until=now + self._claim_for)
                )
        return [Outgoing(row["id"], row["type"], row["body"].encode()) for row in rows]

    async def _has_rows(self) -> bool:
        async with self._database.read() as tx:
            count = await tx.scalar(select(func.count()).select_from(self._outbox))
        telemetry.OUTBOX_ROWS.labels(self._database.source).set(count)
        return bool(count)

    async def _release(self, events: list[Outgoing]) -> None:
        async with self._database.transaction() as tx:
            await tx.execute(
                update(self._outbox)
                .where(self._outbox.c.id.in_([event.id for event in events]))
                .values(claimed_until=None)
            )

    async def _wait(self) -> bool:
        """Return whether a commit woke us before it was time to look anyway."""
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                return await self._database.committed.wait()
        except TimeoutError:
            return False
