"""Recordings, completed sessions and deletions of other services. They arrive in any order."""

import asyncio
from uuid import UUID

from coach_ai.deps import Deps
from coach_ai.domain import AskedQuestion, CompletedSession, JobKind, Recording
from coach_ai.store import answers, deletion, questions, recordings
from coach_ai.use_cases.interview_history import erase_interview
from coach_ai.use_cases.job_queue import queue_job, run_now
from coach_ai.use_cases.questions import copy_reference
from coach_ai.use_cases.transcription import emit_restart
from coach_common.db.transaction import MessageContext, Transaction
from coach_common.events.deletions import AiConfirmedDeletion
from coach_common.ids import recording_id
from coach_common.repair import REPAIRS
from coach_common.session_kind import SessionKind


async def register_recording(deps: Deps, recording: Recording, message: MessageContext) -> None:
    """Store a confirmed recording and queue it for transcription. Idempotent.

    Does nothing if it, its user or its session was deleted.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        if await deletion.is_deleted(
            tx, recording.user_id, recording.session_id, recording_id(recording.key)
        ):
            return
        await recordings.add_recording(tx, recording)
        stored = await recordings.find_recording(tx, recording.upload_id)
        if stored is None or stored.transcript is not None or stored.has_failed:
            return
        await queue_job(deps, tx, JobKind.TRANSCRIPTION, recording.upload_id, recording.user_id)


async def link_recording(
    deps: Deps,
    upload_id: UUID,
    session_id: UUID,
    *,
    user_id: UUID,
    key: str,
    message: MessageContext,
) -> None:
    """Store the session of a recording. A recording that has one keeps it.

    If the session was deleted, the recording is deleted as well.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        if await deletion.is_deleted(tx, user_id, session_id):
            await deletion.add_tombstone(tx, recording_id(key), at=deps.clock())
            await deletion.erase_recording(tx, upload_id)
            return
        await recordings.mark_linked(tx, upload_id, session_id)


async def register_question(
    deps: Deps, session_id: UUID, user_id: UUID, asked: AskedQuestion, message: MessageContext
) -> None:
    """Store what a new session asks. Does nothing if its user or the session was deleted."""
    asked = await copy_reference(deps, user_id, asked)
    async with deps.db.transaction(deduplicate=message) as tx:
        if not await deletion.is_deleted(tx, user_id, session_id):
            await questions.save_asked_question(tx, session_id, user_id, asked)


async def register_completed_session(
    deps: Deps, session: CompletedSession, asked: AskedQuestion, message: MessageContext
) -> None:
    """Store a completed session and queue it for scoring if its transcript is available.

    The event is sent again when missing information was filled in or the user retries a failed
    session. A waiting job then runs at once, and what failed for another reason than the answer
    starts again. An answer that was refused is only scored again if it has changed. `asked` is
    stored only if the creation of the session has not been reported yet.
    """
    asked = await copy_reference(deps, session.user_id, asked)
    async with deps.db.transaction(deduplicate=message) as tx:
        if await deletion.is_deleted(tx, session.user_id, session.session_id):
            return
        await questions.save_asked_question(tx, session.session_id, session.user_id, asked)
        earlier = await answers.find_session(tx, session.session_id)
        stored, recording = await store_completed_session(tx, session)
        if stored is None or stored.is_scored:
            return
        if recording is not None:
            await _restart_transcription(deps, tx, stored, recording)
        answer = stored.answer(recording)
        is_refused = earlier is not None and earlier.has_failed
        if answer is not None and not (
            is_refused and earlier is not None and earlier.answer(recording) == answer
        ):
            await queue_job(deps, tx, JobKind.FEEDBACK, stored.session_id, stored.user_id)


async def store_completed_session(
    tx: Transaction, session: CompletedSession
) -> tuple[CompletedSession | None, Recording | None]:
    """Store a completed session. Return it with all that is known, and its recording.

    Both are locked until the transaction ends. A transcript that is stored at the same time is
    either returned here, or its transaction finds the session.
    """
    earlier = await answers.find_session(tx, session.session_id)
    await lock_session_recording(tx, session, earlier)
    await answers.upsert_session(tx, session)
    stored = await answers.find_session(tx, session.session_id)
    return stored, await lock_session_recording(tx, stored)


async def lock_session_recording(
    tx: Transaction, *sessions: CompletedSession | None
) -> Recording | None:
    """Return the recording that the first of these sessions with one names, locked. Else None."""
    for session in sessions:
        if session is not None and session.audio_s3_key is not None:
            return await recordings.lock_recording_by_key(
                tx, session.audio_s3_key, user_id=session.user_id
            )
    return None


async def _restart_transcription(
    deps: Deps, tx: Transaction, session: CompletedSession, recording: Recording
) -> None:
    """Run a waiting transcription now, or queue one that failed for the provider's reasons."""
    if not recording.has_failed:
        await run_now(deps, tx, JobKind.TRANSCRIPTION, recording.upload_id)
    elif recording.is_restartable and not session.client_transcript:
        await recordings.clear_failure(tx, recording.upload_id)
        await queue_job(deps, tx, JobKind.TRANSCRIPTION, recording.upload_id, recording.user_id)
        await emit_restart(tx, recording)


async def erase_session(
    deps: Deps,
    session_id: UUID,
    user_id: UUID,
    keys: list[str],
    message: MessageContext,
    *,
    is_repeated: bool,
    receipt_id: UUID | None,
    kind: str = SessionKind.PRACTICE.value,
) -> None:
    """Delete a session's data and its recordings, add tombstones for all of them, and confirm it.

    With `is_repeated`, a deletion that was not known counts as a repair. Of an interview, media
    learns the recordings from here.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        if kind == SessionKind.INTERVIEW and receipt_id is not None:
            is_new = await erase_interview(
                deps, tx, session_id, user_id, keys=keys, receipt_id=receipt_id
            )
        else:
            is_new = await deletion.add_tombstone(tx, session_id, at=deps.clock())
            for key in keys:
                await deletion.add_tombstone(tx, recording_id(key), at=deps.clock())
            await deletion.erase_session(tx, session_id, user_id, keys)
        await _confirm_deletion(tx, receipt_id)
    if is_new and is_repeated:
        REPAIRS.labels("ai", "session_deletion").inc()


async def erase_user(
    deps: Deps,
    user_id: UUID,
    message: MessageContext,
    *,
    is_repeated: bool,
    receipt_id: UUID | None,
) -> None:
    """Delete all data of a user, add a tombstone, and confirm it.

    With `is_repeated`, a deletion that was not known counts as a repair.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        is_new = await deletion.add_tombstone(tx, user_id, at=deps.clock())
        await deletion.erase_user(tx, user_id)
        await _confirm_deletion(tx, receipt_id)
    if is_new and is_repeated:
        REPAIRS.labels("ai", "user_deletion").inc()
    # A killed process may have left a recording of this user.
    await asyncio.to_thread(deps.downloads.delete_abandoned)


async def _confirm_deletion(tx: Transaction, receipt_id: UUID | None) -> None:
    """Emit the confirmation. A deletion of an older release has no receipt."""
    if receipt_id is not None:
        await tx.emit(AiConfirmedDeletion(receipt_id=receipt_id))
