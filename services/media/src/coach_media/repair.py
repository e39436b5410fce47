"""The repair sweep: confirmed uploads are published again if a result or a link may be lost."""

from uuid import UUID

from coach_common import logs
from coach_common.db.transaction import MessageContext
from coach_common.repair import is_settled, next_repair_at
from coach_media import store
from coach_media.deps import Deps
from coach_media.publishing import build_confirmation

log = logs.get_logger(__name__)

_BATCH_SIZE = 100
_STATUSES_WITHOUT_TRANSCRIPT = ("waiting_for_recording", "transcribing")


async def republish_untranscribed_uploads(deps: Deps) -> int:
    """Publish due uploads without a transcript again; return how many were due.

    ai ignores an upload whose job waits or runs. Several replicas may run this at the same time:
    each due upload is claimed by one of them.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await store.list_due_repairs(tx, now, limit=_BATCH_SIZE)
    for upload, due_at in due:
        next_at = next_repair_at(
            now, waiting_since=upload.confirmed_at or upload.created_at, delay=deps.repair_delay
        )
        async with deps.db.transaction() as tx:
            if not await store.claim_repair(tx, upload.id, due_at=due_at, next_repair_at=next_at):
                continue
            await tx.emit(build_confirmation(upload, is_repeated=True))
        log.info("upload.republished", upload_id=str(upload.id))
    return len(due)


async def republish_session_uploads(
    deps: Deps,
    session_id: UUID,
    user_id: UUID,
    *,
    status: str,
    requested_key: str | None,
    message: MessageContext,
) -> None:
    """Publish the confirmed uploads of a stalled session again, unless it waits for its scores.

    The recording that the session requested belongs to it. Applied once per message.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        if status not in _STATUSES_WITHOUT_TRANSCRIPT:
            return
        keys = [] if requested_key is None else [requested_key]
        for upload in await store.list_uploads_by_session(
            tx, session_id, keys=keys, user_id=user_id
        ):
            is_of_session = upload.session_id in (None, session_id)
            if (
                is_of_session
                and upload.is_confirmed
                and is_settled(upload.confirmed_at, deps.clock())
            ):
                await tx.emit(build_confirmation(upload, is_repeated=True))


async def mark_restarted(deps: Deps, upload_id: UUID, message: MessageContext) -> None:
    """Store that a failed transcription has started again. Applied once per message."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.mark_restarted(tx, upload_id, repair_after=deps.clock() + deps.repair_delay)
