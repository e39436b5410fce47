"""The events that ai consumes."""

from coach_ai.deps import Deps
from coach_ai.domain import AskedQuestion, CompletedSession, Recording, Seniority
from coach_ai.exported_tables import EXPORTED_TABLES
from coach_ai.use_cases import consent, events, interview_history, repair
from coach_common.db.transaction import MessageContext
from coach_common.events.catalog import (
    SessionCompleted,
    SessionCreated,
    SessionDeleted,
    SessionStalled,
    UploadConfirmed,
    UploadLinked,
    UserDeleted,
)
from coach_common.events.consents import ConsentChanged, Purpose
from coach_common.events.deletions import DeletionCompleted
from coach_common.events.exports import AiExportPartCollected, ExportRequested
from coach_common.exports import emit_parts
from coach_common.messaging.subscriptions import Handlers

_SENIORITIES = frozenset(Seniority)


async def on_upload_confirmed(deps: Deps, event: UploadConfirmed, message: MessageContext) -> None:
    """Queue the recording for transcription."""
    recording = Recording(
        upload_id=event.upload_id,
        user_id=event.user_id,
        key=event.key,
        session_id=event.session_id,
        etag=event.etag,
        size_bytes=event.size,
    )
    if event.is_repeated:
        await repair.repair_recording(deps, recording, message)
    else:
        await events.register_recording(deps, recording, message)


async def on_upload_linked(deps: Deps, event: UploadLinked, message: MessageContext) -> None:
    """Store the recording's session."""
    await events.link_recording(
        deps,
        event.upload_id,
        event.session_id,
        user_id=event.user_id,
        key=event.key,
        message=message,
    )


async def on_session_completed(
    deps: Deps, event: SessionCompleted, message: MessageContext
) -> None:
    """Store the session. It is scored as soon as its transcript is available."""
    await events.register_completed_session(
        deps, _completed_session(event), _asked_question(event), message
    )


async def on_session_stalled(deps: Deps, event: SessionStalled, message: MessageContext) -> None:
    """Publish the session's feedback again, or queue it if its job is missing."""
    await repair.repair_session(deps, _completed_session(event), _asked_question(event), message)


async def on_session_created(deps: Deps, event: SessionCreated, message: MessageContext) -> None:
    """Store what the session asks, for the recogniser and the scorer."""
    asked = _asked_question(event)
    await events.register_question(deps, event.session_id, event.user_id, asked, message)


async def on_session_deleted(deps: Deps, event: SessionDeleted, message: MessageContext) -> None:
    """Delete the session's data."""
    await events.erase_session(
        deps,
        event.session_id,
        event.user_id,
        event.keys,
        message,
        is_repeated=event.is_repeated,
        receipt_id=event.receipt_id,
        kind=event.kind,
    )


async def on_deletion_completed(
    deps: Deps, event: DeletionCompleted, message: MessageContext
) -> None:
    """Stop repeating the deletion of the interview. Other deletions are unknown here."""
    await interview_history.complete_deletion(deps, event.receipt_id, message)


async def on_consent_changed(deps: Deps, event: ConsentChanged, message: MessageContext) -> None:
    """Store whether an outside provider may be called, or the data may be counted with others'."""
    if event.purpose == Purpose.OUTSIDE_PROVIDER:
        await consent.record_consent(deps, event, message)
    elif event.purpose == Purpose.IMPROVEMENT:
        await consent.record_improvement_consent(deps, event, message)


async def on_export_requested(deps: Deps, event: ExportRequested, message: MessageContext) -> None:
    """Emit all rows of the user for the export."""
    await emit_parts(deps.db, EXPORTED_TABLES, AiExportPartCollected, event, message)


async def on_user_deleted(deps: Deps, event: UserDeleted, message: MessageContext) -> None:
    """Delete all data of the user."""
    await events.erase_user(
        deps,
        event.user_id,
        message,
        is_repeated=event.is_repeated,
        receipt_id=event.receipt_id,
    )


def _completed_session(event: SessionCompleted) -> CompletedSession:
    return CompletedSession(
        session_id=event.session_id,
        user_id=event.user_id,
        title=event.title,
        question=event.question,
        duration_seconds=event.duration_seconds,
        audio_s3_key=event.audio_s3_key,
        client_transcript=event.transcript,
    )


def _asked_question(event: SessionCreated | SessionCompleted) -> AskedQuestion:
    return AskedQuestion(
        question=event.question or event.title,
        role=event.role,
        # A newer release may know other levels.
        seniority=Seniority(event.seniority) if event.seniority in _SENIORITIES else None,
        question_id=event.question_id,
    )


SUBSCRIPTIONS: Handlers[Deps] = {
    ExportRequested: on_export_requested,
    UploadConfirmed: on_upload_confirmed,
    UploadLinked: on_upload_linked,
    SessionCreated: on_session_created,
    SessionCompleted: on_session_completed,
    SessionStalled: on_session_stalled,
    SessionDeleted: on_session_deleted,
    UserDeleted: on_user_deleted,
    DeletionCompleted: on_deletion_completed,
    ConsentChanged: on_consent_changed,
}
