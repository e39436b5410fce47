"""Recordings of interviews: their link, the retention of their audio, and their deletion."""

from coach_common.db.transaction import MessageContext
from coach_common.events.interviews import (
    InterviewAssessed,
    InterviewDeleted,
    InterviewRecordingLinked,
)
from coach_common.repair import REPAIRS
from coach_media import deletions, retention, store
from coach_media.deps import Deps


async def link_recording(
    deps: Deps, event: InterviewRecordingLinked, message: MessageContext
) -> None:
    """Link the recording to its interview. A recording that has a session keeps it.

    If the interview was deleted, a recording without another session is deleted as well.
    """
    interview_id, user_id = event.interview_id, event.user_id
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.lock_uploader(tx, user_id)
        found = await store.list_uploads_of_interview(
            tx, interview_id, keys=[event.key], user_id=user_id
        )
        if await store.is_deleted(tx, user_id, interview_id):
            await deletions.delete_uploads(tx, found, user_id, at=deps.clock())
            return
        for upload in found:
            await store.mark_linked(tx, upload, session_id=interview_id)


async def record_assessment(deps: Deps, event: InterviewAssessed, message: MessageContext) -> None:
    """Store that the interview has feedback, for the retention of its audio."""
    await retention.record_feedback(
        deps, event.interview_id, event.user_id, message, keys=event.keys
    )


async def delete_interview(deps: Deps, event: InterviewDeleted, message: MessageContext) -> None:
    """Delete the recordings of an interview, and confirm it once their objects are deleted.

    A deletion that was not known and is repeated counts as a repair.
    """
    interview_id, user_id = event.interview_id, event.user_id
    now = deps.clock()
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.lock_uploader(tx, user_id)
        is_new = await store.add_tombstone(tx, interview_id, at=now)
        found = await store.list_uploads_of_interview(
            tx, interview_id, keys=event.keys, user_id=user_id
        )
        await deletions.delete_uploads(tx, found, user_id, at=now)
        await deletions.confirm_when_deleted(
            tx,
            event.receipt_id,
            user_id=user_id,
            keys={*event.keys, *(upload.key for upload in found)},
        )
    if is_new and event.is_repeated:
        REPAIRS.labels("media", "interview_deletion").inc()
