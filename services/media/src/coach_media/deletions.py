"""Use cases that delete recordings, and confirm deletions once their objects are deleted."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from coach_common.db.transaction import MessageContext, Transaction
from coach_common.errors import Unavailable
from coach_common.events.deletions import MediaConfirmedDeletion
from coach_common.repair import REPAIRS
from coach_media import deletion_store, export_store, retention_store, store
from coach_media.deps import Deps
from coach_media.domain import Upload

_BATCH_SIZE = 50


async def delete_session_data(
    deps: Deps,
    session_id: UUID,
    user_id: UUID,
    keys: list[str],
    message: MessageContext,
    *,
    is_repeated: bool,
    receipt_id: UUID | None,
) -> None:
    """Delete a session's recordings once per message. A new `is_repeated` one is a repair."""
    now = deps.clock()
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.lock_uploader(tx, user_id)
        is_new = await store.add_tombstone(tx, session_id, at=now)
        uploads = await store.list_uploads_by_session(tx, session_id, keys=keys, user_id=user_id)
        await delete_uploads(tx, uploads, user_id, at=now)
        await confirm_when_deleted(
            tx, receipt_id, user_id=user_id, keys={*keys, *(upload.key for upload in uploads)}
        )
    if is_new and is_repeated:
        REPAIRS.labels("media", "session_deletion").inc()


async def delete_user_data(
    deps: Deps,
    user_id: UUID,
    message: MessageContext,
    *,
    is_repeated: bool,
    receipt_id: UUID | None,
) -> None:
    """Delete a user's data once per message. A new `is_repeated` deletion is a repair."""
    now = deps.clock()
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.lock_uploader(tx, user_id)
        is_new = await store.add_tombstone(tx, user_id, at=now)
        uploads = await store.list_uploads_by_user(tx, user_id)
        await delete_uploads(tx, uploads, user_id, at=now)
        await store.delete_outbox_by_user(tx, user_id)
        await store.delete_uploader(tx, user_id)
        await retention_store.delete_retention(tx, user_id)
        await confirm_when_deleted(tx, receipt_id, user_id=user_id, keys=None)
    if is_new and is_repeated:
        REPAIRS.labels("media", "user_deletion").inc()


async def delete_objects(deps: Deps) -> int:
    """Delete due objects from storage; return how many deletions were attempted.

    A failed deletion is retried with backoff. Safe to repeat: deleting a missing object succeeds.
    The final attempt for the last object of a deletion confirms it.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await deletion_store.list_due_object_deletions(tx, now, limit=_BATCH_SIZE)
    for deletion in due:
        try:
            await deps.object_store.delete(deletion.key)
        except Unavailable:
            async with deps.db.transaction() as tx:
                await deletion_store.update_object_deletion(tx, deletion.retry(now))
            continue
        async with deps.db.transaction() as tx:
            if now < deletion.final_attempt_at:
                await deletion_store.update_object_deletion(tx, deletion.schedule_final_attempt())
                continue
            for receipt_id in await deletion_store.delete_object_deletion(tx, deletion.key):
                await tx.emit(MediaConfirmedDeletion(receipt_id=receipt_id))
    return len(due)


async def delete_uploads(
    tx: Transaction, uploads: Sequence[Upload], user_id: UUID, *, at: datetime
) -> None:
    """Delete the rows, schedule the objects, and delete the exports, which have a copy of both."""
    await deletion_store.add_object_deletions(tx, uploads, due_at=at)
    await store.delete_uploads(tx, uploads)
    await export_store.delete_exports_of_user(tx, user_id)


async def confirm_when_deleted(
    tx: Transaction, receipt_id: UUID | None, *, user_id: UUID, keys: Collection[str] | None
) -> None:
    """Confirm the deletion now, or after the final attempt for the last of its objects.

    Args:
        tx: The transaction that deletes the rows.
        receipt_id: None for a deletion of an older release, which has no receipt.
        user_id: The owner of the objects.
        keys: The objects of the deletion. None: all objects of the user.
    """
    if receipt_id is None:
        return
    scheduled = await deletion_store.list_scheduled_keys(
        tx, keys=keys or (), user_id=user_id, is_whole_user=keys is None
    )
    if not await deletion_store.add_unconfirmed(tx, receipt_id, scheduled):
        await tx.emit(MediaConfirmedDeletion(receipt_id=receipt_id))
