"""Recordings, completed sessions and deletions of other services. They arrive in any order."""

import asyncio
from uuid import UUID

from coach_ai.deps import Deps
from coach_ai.domain import AskedQuestion, CompletedSession, JobKind, Recording
from coach_ai.store import answers, deletion, jobs, questions, recordings
from coach_ai.use_cases.questions import copy_reference
from coach_common.db.transaction import MessageContext, Transaction


async def register_recording(deps: Deps, recording: Recording, message: MessageContext) -> None:
    """Store a confirmed recording and queue it for transcription. Idempotent.

    Does nothing if its user or session was deleted.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        if await deletion.is_deleted(tx, recording.user_id, recording.session_id):
            return
        await recordings.add_recording(tx, recording)
        stored = await recordings.find_recording(tx, recording.upload_id)
        if stored is None or stored.transcript is not None or stored.has_failed:
            return
        await jobs.add_job(
            tx,
            JobKind.TRANSCRIPTION,
            recording.upload_id,
            recording.user_id,
            at=deps.clock(),
        )
    deps.notify_workers(JobKind.TRANSCRIPTION)


async def link_recording(
    deps: Deps, upload_id: UUID, session_id: UUID, message: MessageContext
) -> None:
    """Store the session of a recording. A recording that has one keeps it."""
    async with deps.db.transaction(deduplicate=message) as tx:
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
    session. A waiting transcription is then retried at once. `asked` is stored only if the creation
    of the session has not been reported yet.
    """
    asked = await copy_reference(deps, session.user_id, asked)
    async with deps.db.transaction(deduplicate=message) as tx:
        if await deletion.is_deleted(tx, session.user_id, session.session_id):
            return
        await questions.save_asked_question(tx, session.session_id, session.user_id, asked)
        await answers.upsert_session(tx, session)
        stored = await answers.find_session(tx, session.session_id)
        if stored is None or stored.is_scored:
            return
        recording = await _find_session_recording(tx, stored)
        if recording is not None:
            await jobs.reschedule_now(
                tx, JobKind.TRANSCRIPTION, recording.upload_id, at=deps.clock()
            )
        if stored.answer(recording) is not None:
            await jobs.add_job(
                tx, JobKind.FEEDBACK, stored.session_id, stored.user_id, at=deps.clock()
            )
    deps.notify_workers()


async def erase_session(
    deps: Deps, session_id: UUID, user_id: UUID, keys: list[str], message: MessageContext
) -> None:
    """Delete a session's data and the transcripts of its recordings, and add a tombstone."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await deletion.add_tombstone(tx, session_id, at=deps.clock())
        await deletion.erase_session(tx, session_id, user_id, keys)


async def erase_user(deps: Deps, user_id: UUID, message: MessageContext) -> None:
    """Delete all data of a user, and add a tombstone."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await deletion.add_tombstone(tx, user_id, at=deps.clock())
        await deletion.erase_user(tx, user_id)
    # A killed process may have left a recording of this user.
    await asyncio.to_thread(deps.downloads.delete_abandoned)


async def _find_session_recording(tx: Transaction, session: CompletedSession) -> Recording | None:
    if session.audio_s3_key is None:
        return None
    return await recordings.find_recording_by_key(tx, session.audio_s3_key, user_id=session.user_id)
