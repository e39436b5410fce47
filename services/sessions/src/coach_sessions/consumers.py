"""The event consumers of sessions."""

from coach_common.db.transaction import MessageContext
from coach_common.events.catalog import (
    DeliveryMeasured,
    FeedbackDisputed,
    FeedbackFailed,
    FeedbackGenerated,
    TranscriptionCompleted,
    TranscriptionFailed,
    UploadConfirmed,
    UploadLinked,
    UserDeleted,
)
from coach_common.events.deletions import DeletionCompleted
from coach_common.events.exports import ExportRequested, SessionsExportPartCollected
from coach_common.events.interviews import (
    InterviewAssessed,
    InterviewDeleted,
    InterviewRecordingLinked,
    InterviewStarted,
)
from coach_common.exports import emit_parts
from coach_common.messaging.subscriptions import Handlers
from coach_sessions import interviews, use_cases
from coach_sessions.deps import Deps
from coach_sessions.disputes import record_dispute
from coach_sessions.domain import AnswerText, Failure, Feedback, RecordingRef
from coach_sessions.exported_tables import EXPORTED_TABLES

RecordingEvent = (
    UploadConfirmed | UploadLinked | TranscriptionCompleted | TranscriptionFailed | DeliveryMeasured
)


async def on_user_deleted(deps: Deps, event: UserDeleted, message: MessageContext) -> None:
    """Delete all data of the user."""
    await use_cases.delete_user_data(
        deps,
        event.user_id,
        message,
        is_repeated=event.is_repeated,
        receipt_id=event.receipt_id,
    )


async def on_export_requested(deps: Deps, event: ExportRequested, message: MessageContext) -> None:
    """Emit all rows of the user for the export."""
    await emit_parts(deps.db, EXPORTED_TABLES, SessionsExportPartCollected, event, message)


async def on_deletion_completed(
    deps: Deps, event: DeletionCompleted, message: MessageContext
) -> None:
    """Stop repeating the deletion of the session."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await deps.deletions.complete(tx, event.receipt_id)


async def on_upload_confirmed(deps: Deps, event: UploadConfirmed, message: MessageContext) -> None:
    """Save the recording and link it if it was confirmed for a session."""
    await use_cases.link_recording(
        deps, _recording_ref(event), message, is_repeated=event.is_repeated
    )


async def on_upload_linked(deps: Deps, event: UploadLinked, message: MessageContext) -> None:
    """Link the recording to the session."""
    await use_cases.link_recording(deps, _recording_ref(event), message)


async def on_transcription_completed(
    deps: Deps, event: TranscriptionCompleted, message: MessageContext
) -> None:
    """Save the transcript."""
    await use_cases.record_transcript(deps, _recording_ref(event), event.text, message)


async def on_transcription_failed(
    deps: Deps, event: TranscriptionFailed, message: MessageContext
) -> None:
    """Save the reason."""
    failure = Failure(
        message.event_id,
        event.reason,
        is_final=not event.retryable,
        is_restartable=event.restartable,
    )
    await use_cases.record_transcription_failure(deps, _recording_ref(event), failure, message)


async def on_delivery_measured(
    deps: Deps, event: DeliveryMeasured, message: MessageContext
) -> None:
    """Save the delivery metrics."""
    await use_cases.record_delivery_metrics(
        deps,
        _recording_ref(event),
        event.delivery,
        is_complete=event.is_complete,
        message=message,
    )


async def on_feedback_generated(
    deps: Deps, event: FeedbackGenerated, message: MessageContext
) -> None:
    """Save the feedback."""
    feedback = Feedback(
        overall_score=event.overall_score,
        communication_score=event.communication_score,
        technical_score=event.technical_score,
        clarity_score=event.clarity_score,
        strengths=event.strengths,
        improvements=event.improvements,
        detailed_feedback=event.detailed_feedback,
        evidence=event.evidence,
        delivery=event.delivery,
        provider=event.provider,
        model=event.model,
        rubric_version=event.rubric_version,
        generated_at=deps.clock(),
        main_improvement=event.main_improvement,
        star=event.star,
        audio=event.audio,
        points=event.points,
        dimensions=event.dimensions,
        score_spread=event.score_spread,
        prompt_version=event.prompt_version,
        question_type=event.question_type,
        seniority=event.seniority,
        answer=None if event.transcript is None else AnswerText(event.transcript, event.key),
    )
    await use_cases.record_feedback(deps, event.session_id, event.user_id, feedback, message)


async def on_feedback_failed(deps: Deps, event: FeedbackFailed, message: MessageContext) -> None:
    """Save the reason."""
    failure = Failure(
        message.event_id,
        event.reason,
        is_final=not event.retryable,
        is_restartable=event.restartable,
    )
    await use_cases.record_feedback_failure(deps, event.session_id, event.user_id, failure, message)


async def on_feedback_disputed(
    deps: Deps, event: FeedbackDisputed, message: MessageContext
) -> None:
    """Save the dispute with the feedback. The session is pushed again."""
    await record_dispute(deps, event.session_id, event.user_id, event.dispute, message)


async def on_interview_started(
    deps: Deps, event: InterviewStarted, message: MessageContext
) -> None:
    """Add the interview to the history."""
    await interviews.record_start(deps, event, message)


async def on_interview_recording_linked(
    deps: Deps, event: InterviewRecordingLinked, message: MessageContext
) -> None:
    """Link the recording to the interview."""
    await interviews.record_recording(deps, event, message)


async def on_interview_assessed(
    deps: Deps, event: InterviewAssessed, message: MessageContext
) -> None:
    """Save the completion and the scores of the interview."""
    await interviews.record_assessment(deps, event, message)


async def on_interview_deleted(
    deps: Deps, event: InterviewDeleted, message: MessageContext
) -> None:
    """Delete the interview with its recordings."""
    await interviews.delete_interview(deps, event, message)


def _recording_ref(event: RecordingEvent) -> RecordingRef:
    return RecordingRef(event.key, event.user_id, event.session_id)


SUBSCRIPTIONS: Handlers[Deps] = {
    ExportRequested: on_export_requested,
    UserDeleted: on_user_deleted,
    DeletionCompleted: on_deletion_completed,
    UploadConfirmed: on_upload_confirmed,
    UploadLinked: on_upload_linked,
    TranscriptionCompleted: on_transcription_completed,
    TranscriptionFailed: on_transcription_failed,
    DeliveryMeasured: on_delivery_measured,
    FeedbackGenerated: on_feedback_generated,
    FeedbackFailed: on_feedback_failed,
    FeedbackDisputed: on_feedback_disputed,
    InterviewStarted: on_interview_started,
    InterviewRecordingLinked: on_interview_recording_linked,
    InterviewAssessed: on_interview_assessed,
    InterviewDeleted: on_interview_deleted,
}
