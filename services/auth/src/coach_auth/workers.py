"""Background workers of auth: mails, key rotation, overdue receipts, purge of expired rows."""

import asyncio
from contextlib import suppress
from functools import partial

from coach_auth.deps import Deps
from coach_auth.use_cases import consents, logins, mails, receipts, signing_keys
from coach_common.batches import run_batches
from coach_common.errors import Unavailable

_PURGE_INTERVAL_SECONDS = 600.0
_MAIL_POLL_SECONDS = 5.0
_RECEIPT_COUNT_SECONDS = 60.0


async def purge_expired_logins(deps: Deps) -> None:
    """Delete expired logins and revocations every ten minutes."""
    while True:
        with suppress(Unavailable):
            await logins.purge(deps)
        await asyncio.sleep(_PURGE_INTERVAL_SECONDS)


async def deliver_mails(deps: Deps) -> None:
    """Deliver due mails when one is queued, and poll for retries and mails of other replicas."""
    while True:
        deps.mail_queued.clear()
        with suppress(Unavailable):
            while await mails.deliver_due_mails(deps):
                pass
        with suppress(TimeoutError):
            async with asyncio.timeout(_MAIL_POLL_SECONDS):
                await deps.mail_queued.wait()


async def count_overdue_receipts(deps: Deps) -> None:
    """Count the deletions that take longer than an hour, once per minute."""
    while True:
        with suppress(Unavailable):
            await receipts.count_overdue(deps)
        await asyncio.sleep(_RECEIPT_COUNT_SECONDS)


async def republish_consents(deps: Deps) -> None:
    """Publish due decisions of users again, once per repair delay, until cancelled."""
    republish = partial(consents.republish_due, deps)
    await run_batches(republish, idle_seconds=deps.repair_delay.total_seconds())


async def rotate_keys(deps: Deps) -> None:
    """Take the due rotation step at each poll. Every replica may run this."""
    while True:
        with suppress(Unavailable):
            await signing_keys.rotate_keys(deps)
        await asyncio.sleep(deps.key_policy.poll_seconds)
