"""What ai does when something happens elsewhere."""

from coach_ai.deps import Deps
from coach_ai.domain import CompletedSession, Recording
from coach_ai.use_cases import facts
from coach_common.db.transaction import MessageContext
from coach_common.events.catalog import (
    SessionCompleted,
    SessionDeleted,
    UploadConfirmed,
    UploadLinked,
    UserDeleted,
)
from coach_common.messaging.subscriptions import Handlers


async def on_upload_confirmed(deps: Deps, event: UploadConfirmed, delivery: MessageContext) -> None:
    """Queue the recording."""
    recording = Recording(
        upload_id=event.upload_id,
        user_id=event.user_id,
        key=event.key,
        session_id=event.session_id,
        etag=event.etag,
        size_bytes=event.size,
    )
    await facts.take_recording(deps, recording, delivery)


async def on_upload_linked(deps: Deps, event: UploadLinked, delivery: MessageContext) -> None:
    """Note the session."""
    await facts.link_recording(deps, event.upload_id, event.session_id, delivery)


async def on_session_completed(
    deps: Deps, event: SessionCompleted, delivery: MessageContext
) -> None:
    """Have it judged as soon as its words are known."""
    session = CompletedSession(
        session_id=event.session_id,
        user_id=event.user_id,
        title=event.title,
        question=event.question,
        duration_seconds=event.duration_seconds,
        audio_s3_key=event.audio_s3_key,
        client_transcript=event.transcript,
    )
    await facts.take_session(deps, session, delivery)


async def on_session_deleted(deps: Deps, event: SessionDeleted, delivery: MessageContext) -> None:
    """Erase it."""
    await facts.erase_session(deps, event.session_id, event.user_id, event.keys, delivery)


async def on_user_deleted(deps: Deps, event: UserDeleted, delivery: MessageContext) -> None:
    """Erase everything the person had here."""
    await facts.erase_user(deps, event.user_id, delivery)


SUBSCRIPTIONS: Handlers[Deps] = {
    UploadConfirmed: on_upload_confirmed,
    UploadLinked: on_upload_linked,
    SessionCompleted: on_session_completed,
    SessionDeleted: on_session_deleted,
    UserDeleted: on_user_deleted,
}
