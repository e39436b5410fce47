"""What becomes known elsewhere, in any order: recordings, completions, deletions."""

from uuid import UUID

from coach_ai.deps import Deps
from coach_ai.domain import CompletedSession, JobKind, Recording
from coach_ai.store import answers, deletion, jobs, recordings
from coach_common.db.transaction import MessageContext, Transaction


async def take_recording(deps: Deps, recording: Recording, delivery: MessageContext) -> None:
    """Queue a confirmed recording for transcription, once."""
    async with deps.db.transaction(deduplicate=delivery) as tx:
        if await deletion.is_gone(tx, recording.user_id, recording.session_id):
            return
        await recordings.add_recording(tx, recording)
        known = await recordings.find_recording(tx, recording.upload_id)
        if known is None or known.transcript is not None or known.has_failed:
            return
        await jobs.add_job(
            tx,
            JobKind.TRANSCRIPTION,
            recording.upload_id,
            recording.user_id,
            at=deps.clock(),
        )
    deps.ring(JobKind.TRANSCRIPTION)


async def link_recording(
    deps: Deps, upload_id: UUID, session_id: UUID, delivery: MessageContext
) -> None:
    """Note which session a recording is for."""
    async with deps.db.transaction(deduplicate=delivery) as tx:
        await recordings.mark_linked(tx, upload_id, session_id)


async def take_session(deps: Deps, session: CompletedSession, delivery: MessageContext) -> None:
    """Keep a completed session, and have it judged as soon as its words are known.

    It comes again when a missing fact was filled in, or when somebody wants a failure retried.
    """
    async with deps.db.transaction(deduplicate=delivery) as tx:
        if await deletion.is_gone(tx, session.user_id, session.session_id):
            return
        await answers.upsert_session(tx, session)
        known = await answers.find_session(tx, session.session_id)
        if known is None or known.is_judged:
            return
        recording = await _recording_of(tx, known)
        if recording is not None:
            await jobs.hurry_job(tx, JobKind.TRANSCRIPTION, recording.upload_id, at=deps.clock())
        if known.answer(recording) is not None:
            await jobs.add_job(
                tx, JobKind.FEEDBACK, known.session_id, known.user_id, at=deps.clock()
            )
    deps.ring()


async def erase_session(
    deps: Deps, session_id: UUID, user_id: UUID, keys: list[str], delivery: MessageContext
) -> None:
    """Remove a session that is gone, with its recordings' words."""
    async with deps.db.transaction(deduplicate=delivery) as tx:
        await deletion.add_tombstone(tx, session_id, at=deps.clock())
        await deletion.erase_session(tx, session_id, user_id, keys)


async def erase_user(deps: Deps, user_id: UUID, delivery: MessageContext) -> None:
    """Remove everything about a person whose account is gone."""
    async with deps.db.transaction(deduplicate=delivery) as tx:
        await deletion.add_tombstone(tx, user_id, at=deps.clock())
        await deletion.erase_user(tx, user_id)


async def _recording_of(tx: Transaction, session: CompletedSession) -> Recording | None:
    if session.audio_s3_key is None:
        return None
    return await recordings.find_recording_by_key(tx, session.audio_s3_key, user_id=session.user_id)
