"""What sessions does when something happens elsewhere."""

from coach_common.clock import rfc3339
from coach_common.db.transaction import MessageContext
from coach_common.events.catalog import (
    DeliveryMeasured,
    FeedbackFailed,
    FeedbackGenerated,
    TranscriptionCompleted,
    TranscriptionFailed,
    UploadConfirmed,
    UploadLinked,
    UserDeleted,
)
from coach_common.messaging.subscriptions import Handlers
from coach_sessions import use_cases
from coach_sessions.deps import Deps
from coach_sessions.domain import Failure, Feedback


async def on_user_deleted(deps: Deps, event: UserDeleted, message: MessageContext) -> None:
    """Erase everything the person had here."""
    await use_cases.delete_user_data(deps, event.user_id, message)


async def on_upload_confirmed(deps: Deps, event: UploadConfirmed, message: MessageContext) -> None:
    """Link the recording where it was confirmed for a session."""
    if event.session_id is not None:
        await use_cases.link_recording(
            deps,
            key=event.key,
            user_id=event.user_id,
            session_id=event.session_id,
            message=message,
        )


async def on_upload_linked(deps: Deps, event: UploadLinked, message: MessageContext) -> None:
    """Link the recording."""
    await use_cases.link_recording(
        deps, key=event.key, user_id=event.user_id, session_id=event.session_id, message=message
    )


async def on_transcription_completed(
    deps: Deps, event: TranscriptionCompleted, message: MessageContext
) -> None:
    """Keep the words."""
    await use_cases.record_transcript(
        deps, key=event.key, user_id=event.user_id, text=event.text, message=message
    )


async def on_transcription_failed(
    deps: Deps, event: TranscriptionFailed, message: MessageContext
) -> None:
    """Keep the reason."""
    await use_cases.record_transcription_failure(
        deps,
        key=event.key,
        user_id=event.user_id,
        failure=Failure(message.event_id, event.reason, is_final=not event.retryable),
        message=message,
    )


async def on_delivery_measured(
    deps: Deps, event: DeliveryMeasured, message: MessageContext
) -> None:
    """Keep the figures."""
    await use_cases.record_delivery_metrics(
        deps,
        key=event.key,
        user_id=event.user_id,
        metrics=event.delivery,
        is_complete=event.is_complete,
        message=message,
    )


async def on_feedback_generated(
    deps: Deps, event: FeedbackGenerated, message: MessageContext
) -> None:
    """Keep the judgement."""
    feedback = Feedback(
        **event.model_dump(mode="json", exclude={"session_id", "user_id"}),
        generated_at=rfc3339(deps.clock()),
    )
    await use_cases.record_feedback(deps, event.session_id, event.user_id, feedback, message)


async def on_feedback_failed(deps: Deps, event: FeedbackFailed, message: MessageContext) -> None:
    """Keep the reason."""
    failure = Failure(message.event_id, event.reason, is_final=not event.retryable)
    await use_cases.record_feedback_failure(deps, event.session_id, event.user_id, failure, message)


SUBSCRIPTIONS: Handlers[Deps] = {
    UserDeleted: on_user_deleted,
    UploadConfirmed: on_upload_confirmed,
    UploadLinked: on_upload_linked,
    TranscriptionCompleted: on_transcription_completed,
    TranscriptionFailed: on_transcription_failed,
    DeliveryMeasured: on_delivery_measured,
    FeedbackGenerated: on_feedback_generated,
    FeedbackFailed: on_feedback_failed,
}
