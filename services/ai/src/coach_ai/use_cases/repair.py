"""Repair of lost events: missing jobs are queued, and results that were lost are emitted again."""

from coach_ai import delivery
from coach_ai.deps import Deps
from coach_ai.domain import AskedQuestion, CompletedSession, JobFailure, JobKind, Recording
from coach_ai.store import answers, deletion, profiles, questions, recordings
from coach_ai.use_cases.events import store_completed_session
from coach_ai.use_cases.feedback import build_feedback_event
from coach_ai.use_cases.job_queue import queue_missing_job
from coach_ai.use_cases.questions import copy_reference
from coach_ai.use_cases.transcription import emit_failure, emit_transcript
from coach_common.db.transaction import MessageContext, Transaction
from coach_common.ids import recording_id
from coach_common.repair import REPAIRS, is_settled

_UNKNOWN_REASON = "We could not process this recording."


async def repair_recording(deps: Deps, recording: Recording, message: MessageContext) -> None:
    """Queue a recording that is unknown or has no job, or emit its result again.

    A job that waits or runs is not changed. Does nothing if its user or session was deleted.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        if await deletion.is_deleted(
            tx, recording.user_id, recording.session_id, recording_id(recording.key)
        ):
            return
        await recordings.add_recording(tx, recording)
        if recording.session_id is not None:
            await recordings.mark_linked(tx, recording.upload_id, recording.session_id)
        stored = await recordings.find_recording(tx, recording.upload_id)
        if stored is None:
            return
        if stored.is_finished:
            await _emit_result_again(deps, tx, stored)
        elif await queue_missing_job(
            deps, tx, JobKind.TRANSCRIPTION, stored.upload_id, stored.user_id
        ):
            REPAIRS.labels("ai", "transcription_job").inc()


async def repair_session(
    deps: Deps, session: CompletedSession, asked: AskedQuestion, message: MessageContext
) -> None:
    """Emit the feedback of a session again, or queue a session that has no job for scoring.

    A job that waits or runs is not changed. Does nothing if its user or the session was deleted,
    or while its transcript is missing. `asked` is stored if it is unknown.
    """
    asked = await copy_reference(deps, session.user_id, asked)
    async with deps.db.transaction(deduplicate=message) as tx:
        if await deletion.is_deleted(tx, session.user_id, session.session_id):
            return
        await questions.save_asked_question(tx, session.session_id, session.user_id, asked)
        stored, recording = await store_completed_session(tx, session)
        if stored is None:
            return
        if stored.is_scored:
            await _emit_feedback_again(deps, tx, stored, recording)
        elif stored.answer(recording) is not None and await queue_missing_job(
            deps, tx, JobKind.FEEDBACK, stored.session_id, stored.user_id
        ):
            REPAIRS.labels("ai", "scoring_job").inc()


async def _emit_result_again(deps: Deps, tx: Transaction, recording: Recording) -> None:
    if not is_settled(recording.finished_at, deps.clock()):
        return
    if recording.transcript is not None:
        switched_off = await profiles.list_accommodations(tx, recording.user_id)
        metrics = delivery.measure(recording.transcript, switched_off)
        await emit_transcript(tx, recording, recording.transcript, metrics)
    else:
        failure = JobFailure(
            recording.failure_reason or _UNKNOWN_REASON,
            is_final=True,
            is_restartable=recording.is_restartable,
        )
        await emit_failure(tx, recording, failure)
    REPAIRS.labels("ai", "transcript").inc()


async def _emit_feedback_again(
    deps: Deps, tx: Transaction, session: CompletedSession, recording: Recording | None
) -> None:
    """Emit feedback and transcript again: sessions shows feedback only with all of its parts."""
    stored = await answers.find_feedback(tx, session.session_id)
    if stored is None or not is_settled(stored.scored_at, deps.clock()):
        return
    transcript = None if recording is None else recording.transcript
    coverage = None
    if recording is not None and transcript is not None:
        is_of_recording = stored.scored is None or stored.scored.key == recording.key
        coverage = transcript.coverage if is_of_recording else None
        switched_off = await profiles.list_accommodations(tx, recording.user_id)
        metrics = delivery.measure(transcript, switched_off)
        await emit_transcript(tx, recording, transcript, metrics)
    await tx.emit(build_feedback_event(session, stored.feedback, stored.scored, coverage))
    REPAIRS.labels("ai", "feedback").inc()
