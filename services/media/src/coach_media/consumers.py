"""Event consumers of the media service."""

from coach_common.db.transaction import MessageContext
from coach_common.events.catalog import (
    SessionDeleted,
    SessionJudged,
    SessionStalled,
    TranscriptionCompleted,
    TranscriptionFailed,
    TranscriptionProgressed,
    UserDeleted,
)
from coach_common.events.consents import ConsentChanged, Purpose
from coach_common.events.exports import (
    AiExportPartCollected,
    AuthExportPartCollected,
    ExportPartCollected,
    ExportRequested,
    SessionsExportPartCollected,
)
from coach_common.events.interviews import (
    InterviewAssessed,
    InterviewDeleted,
    InterviewRecordingLinked,
)
from coach_common.messaging.subscriptions import Handlers
from coach_common.session_kind import SessionKind
from coach_media import deletions, exports, interviews, repair, retention, use_cases
from coach_media.deps import Deps


async def on_user_deleted(deps: Deps, event: UserDeleted, message: MessageContext) -> None:
    """Delete all recordings of the user."""
    await deletions.delete_user_data(
        deps,
        event.user_id,
        message,
        is_repeated=event.is_repeated,
        receipt_id=event.receipt_id,
    )


async def on_session_deleted(deps: Deps, event: SessionDeleted, message: MessageContext) -> None:
    """Delete the recordings of the session. Those of an interview wait for its own event."""
    if event.kind == SessionKind.INTERVIEW:
        return
    await deletions.delete_session_data(
        deps,
        event.session_id,
        event.user_id,
        event.keys,
        message,
        is_repeated=event.is_repeated,
        receipt_id=event.receipt_id,
    )


async def on_interview_recording_linked(
    deps: Deps, event: InterviewRecordingLinked, message: MessageContext
) -> None:
    """Link the recording to the interview."""
    await interviews.link_recording(deps, event, message)


async def on_interview_assessed(
    deps: Deps, event: InterviewAssessed, message: MessageContext
) -> None:
    """Store that the interview has feedback."""
    await interviews.record_assessment(deps, event, message)


async def on_interview_deleted(
    deps: Deps, event: InterviewDeleted, message: MessageContext
) -> None:
    """Delete the recordings of the interview."""
    await interviews.delete_interview(deps, event, message)


async def on_consent_changed(deps: Deps, event: ConsentChanged, message: MessageContext) -> None:
    """Store whether the user's audio may be kept."""
    if event.purpose == Purpose.STORAGE:
        await retention.record_storage_consent(deps, event, message)


async def on_transcription_completed(
    deps: Deps, event: TranscriptionCompleted, message: MessageContext
) -> None:
    """Store the transcript."""
    await use_cases.record_transcript(
        deps, event.upload_id, event.text, audio=event.audio, words=event.words, message=message
    )


async def on_transcription_progressed(
    deps: Deps, event: TranscriptionProgressed, message: MessageContext
) -> None:
    """Store that transcription has started, or has started again after a failure."""
    if event.is_restart:
        await repair.mark_restarted(deps, event.upload_id, message)
    else:
        await use_cases.mark_transcribing(deps, event.upload_id, message)


async def on_transcription_failed(
    deps: Deps, event: TranscriptionFailed, message: MessageContext
) -> None:
    """Store the reason of the failure."""
    await use_cases.record_transcription_failure(
        deps, event.upload_id, event.reason, is_final=not event.retryable, message=message
    )


async def on_session_stalled(deps: Deps, event: SessionStalled, message: MessageContext) -> None:
    """Publish the uploads of the session again."""
    await repair.republish_session_uploads(
        deps,
        event.session_id,
        event.user_id,
        status=event.status,
        requested_key=event.requested_key,
        message=message,
    )


async def on_session_judged(deps: Deps, event: SessionJudged, message: MessageContext) -> None:
    """Store that the session has feedback, unless it failed."""
    if event.feedback.status == "ready":
        await retention.record_feedback(deps, event.session_id, event.user_id, message)


async def on_export_requested(deps: Deps, event: ExportRequested, message: MessageContext) -> None:
    """Store the rows of media for the export."""
    await exports.collect_own_parts(deps, event, message)


async def on_export_part(deps: Deps, event: ExportPartCollected, message: MessageContext) -> None:
    """Store a part of an export."""
    await exports.record_part(deps, event, message)


SUBSCRIPTIONS: Handlers[Deps] = {
    ConsentChanged: on_consent_changed,
    ExportRequested: on_export_requested,
    AuthExportPartCollected: on_export_part,
    SessionsExportPartCollected: on_export_part,
    AiExportPartCollected: on_export_part,
    SessionJudged: on_session_judged,
    UserDeleted: on_user_deleted,
    SessionDeleted: on_session_deleted,
    InterviewRecordingLinked: on_interview_recording_linked,
    InterviewAssessed: on_interview_assessed,
    InterviewDeleted: on_interview_deleted,
    SessionStalled: on_session_stalled,
    TranscriptionCompleted: on_transcription_completed,
    TranscriptionProgressed: on_transcription_progressed,
    TranscriptionFailed: on_transcription_failed,
}
