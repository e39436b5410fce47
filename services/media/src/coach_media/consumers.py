"""What media does when something happens elsewhere."""

from coach_common.db.transaction import Delivery
from coach_common.events.catalog import (
    SessionDeleted,
    TranscriptionCompleted,
    TranscriptionFailed,
    UserDeleted,
)
from coach_common.messaging.subscriptions import Handlers
from coach_media import use_cases
from coach_media.deps import Deps


async def on_user_deleted(deps: Deps, event: UserDeleted, delivery: Delivery) -> None:
    """Erase the person's recordings."""
    await use_cases.erase_user(deps, event.user_id, delivery)


async def on_session_deleted(deps: Deps, event: SessionDeleted, delivery: Delivery) -> None:
    """Erase the session's recordings."""
    await use_cases.erase_session(deps, event.session_id, event.user_id, event.keys, delivery)


async def on_transcription_completed(
    deps: Deps, event: TranscriptionCompleted, delivery: Delivery
) -> None:
    """Keep the words."""
    await use_cases.record_transcript(deps, event.upload_id, event.text, delivery)


async def on_transcription_failed(
    deps: Deps, event: TranscriptionFailed, delivery: Delivery
) -> None:
    """Keep the reason."""
    await use_cases.record_transcription_failure(
        deps, event.upload_id, event.reason, is_final=not event.retryable, delivery=delivery
    )


SUBSCRIPTIONS: Handlers[Deps] = {
    UserDeleted: on_user_deleted,
    SessionDeleted: on_session_deleted,
    TranscriptionCompleted: on_transcription_completed,
    TranscriptionFailed: on_transcription_failed,
}
