"""Collect the confirmations of deletions, and sign complete receipts."""

import asyncio
from datetime import datetime
from uuid import UUID, uuid4

from prometheus_client import Gauge

from coach_auth import receipt_store
from coach_auth.deps import Deps
from coach_auth.receipts import (
    OVERDUE_AFTER,
    RECEIPT_TYPE,
    SERVICES_BY_KIND,
    Receipt,
    ReceiptKind,
    ReceiptNotFound,
)
from coach_auth.use_cases.signing_keys import get_signing_key
from coach_common.db.transaction import MessageContext, Transaction
from coach_common.events.deletions import DeletionCompleted

RECEIPTS_OVERDUE = Gauge(
    "coach_auth_deletion_receipts_overdue",
    "Deletions that not every service has confirmed within an hour.",
)


async def start_account_receipt(deps: Deps, tx: Transaction) -> UUID:
    """Store the receipt of an account that this transaction deletes, confirmed by auth.

    Returns its id.
    """
    receipt_id, now = uuid4(), deps.clock()
    services = SERVICES_BY_KIND[ReceiptKind.ACCOUNT]
    await receipt_store.add_receipt(tx, Receipt(receipt_id, ReceiptKind.ACCOUNT, now, services))
    await receipt_store.add_confirmation(tx, receipt_id, "auth", at=now)
    return receipt_id


async def start_session_receipt(
    deps: Deps,
    receipt_id: UUID,
    *,
    publisher: str,
    deleted_at: datetime | None,
    is_repeated: bool,
    message: MessageContext,
) -> None:
    """Store the receipt of a session or interview that was deleted. Applied once per message.

    `publisher` is the service that has deleted it: sessions, or ai for an interview.

    If `is_repeated` and the receipt is complete, `deletion.completed` was lost and is emitted
    again.
    """
    requested_at = deleted_at or deps.clock()
    services = SERVICES_BY_KIND[ReceiptKind.SESSION]
    async with deps.db.transaction(deduplicate=message) as tx:
        await receipt_store.add_receipt(
            tx, Receipt(receipt_id, ReceiptKind.SESSION, requested_at, services)
        )
        # The publisher deletes its rows in the transaction that emits the event.
        await receipt_store.add_confirmation(tx, receipt_id, publisher, at=requested_at)
        if await _complete_if_confirmed(deps, tx, receipt_id) and is_repeated:
            await tx.emit(DeletionCompleted(receipt_id=receipt_id))


async def record_confirmation(
    deps: Deps, receipt_id: UUID, service: str, message: MessageContext
) -> None:
    """Store that a service has deleted everything. Applied once per message.

    The confirmation may arrive before the deletion of the session does.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        await receipt_store.add_confirmation(tx, receipt_id, service, at=deps.clock())
        await _complete_if_confirmed(deps, tx, receipt_id)


async def get_receipt(deps: Deps, receipt_id: UUID) -> tuple[Receipt, str | None]:
    """Return a receipt with its signature, or None if it is not complete.

    It is signed with the key that is active now, so that the JWKS of now verifies it.

    Raises:
        ReceiptNotFound: If no receipt has this id.
    """
    async with deps.db.read_only() as tx:
        receipt = await receipt_store.find_receipt(tx, receipt_id)
    if receipt is None:
        raise ReceiptNotFound
    if receipt.completed_at is None:
        return receipt, None
    key = await get_signing_key(deps)
    claims = {
        "iss": deps.token_policy.issuer,
        "iat": int(deps.clock().timestamp()),
        **receipt.claims,
    }
    return receipt, await asyncio.to_thread(key.sign, claims, token_type=RECEIPT_TYPE)


async def count_overdue(deps: Deps) -> int:
    """Return how many deletions take longer than an hour, and set the metric."""
    async with deps.db.read_only() as tx:
        count = await receipt_store.count_overdue(tx, requested_before=deps.clock() - OVERDUE_AFTER)
    RECEIPTS_OVERDUE.set(count)
    return count


async def _complete_if_confirmed(deps: Deps, tx: Transaction, receipt_id: UUID) -> bool:
    """Complete a receipt that every service has confirmed. Return whether it was complete before.

    Completing it ends the repetition of the deletion.
    """
    receipt = await receipt_store.find_receipt(tx, receipt_id, is_locked=True)
    if receipt is None or receipt.outstanding:
        return False
    if receipt.completed_at is not None:
        return True
    await receipt_store.mark_complete(
        tx, receipt_id, at=max(receipt.confirmed_at[name] for name in receipt.services)
    )
    if receipt.kind is ReceiptKind.ACCOUNT:
        await deps.deletions.complete(tx, receipt_id)
    else:
        await tx.emit(DeletionCompleted(receipt_id=receipt_id))
    return False
