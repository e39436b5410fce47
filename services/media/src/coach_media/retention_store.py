"""All queries about the retention of audio."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, or_, select, update

from coach_common.db import consents
from coach_common.db.transaction import Transaction
from coach_media.audio_retention import AudioRetention, RetentionRule
from coach_media.domain import Upload, UploadStatus
from coach_media.store import list_uploads_where
from coach_media.tables import AUDIO_RETENTION, STORAGE_CONSENTS, UPLOADS

_GET_RULE = select(
    select(AUDIO_RETENTION.c.retention)
    .where(AUDIO_RETENTION.c.user_id == bindparam("user_id"))
    .scalar_subquery()
    .label("chosen"),
    select(STORAGE_CONSENTS.c.is_given)
    .where(STORAGE_CONSENTS.c.user_id == bindparam("user_id"))
    .scalar_subquery()
    .label("is_given"),
)
_HAS_AUDIO = (UPLOADS.c.confirmed_at.is_not(None), UPLOADS.c.audio_deleted_at.is_(None))


@dataclass(frozen=True, slots=True)
class AudioTimes:
    """The times of an upload that decide when its audio is deleted."""

    id: UUID
    confirmed_at: datetime
    feedback_at: datetime | None
    audio_delete_at: datetime | None


async def get_rule(tx: Transaction, user_id: UUID, *, default: AudioRetention) -> RetentionRule:
    """Return what decides how long the audio of the user is kept."""
    row = await tx.fetch_one(_GET_RULE, {"user_id": user_id})
    chosen = None if row is None else row["chosen"]
    return RetentionRule(
        chosen=None if chosen is None else AudioRetention(chosen),
        default=default,
        is_storage_refused=row is not None and row["is_given"] is not None and not row["is_given"],
    )


async def save_storage_consent(
    tx: Transaction, user_id: UUID, *, is_given: bool, changed_at: datetime
) -> bool:
    """Store a decision unless a later one is stored. Return whether it was new."""
    return await consents.save_consent(
        tx, STORAGE_CONSENTS, user_id, is_given=is_given, changed_at=changed_at
    )


async def save_retention(tx: Transaction, user_id: UUID, retention: AudioRetention) -> None:
    """Store the choice of a user."""
    changed = {"retention": retention.value}
    await tx.execute(
        tx.dialect.upsert(AUDIO_RETENTION, {"user_id": user_id, **changed}, update=changed)
    )


async def delete_retention(tx: Transaction, user_id: UUID) -> None:
    """Delete the choice and the consent of a user."""
    for table in (AUDIO_RETENTION, STORAGE_CONSENTS):
        await tx.execute(delete(table).where(table.c.user_id == user_id))


async def list_audio_times(
    tx: Transaction, user_id: UUID, *, session_id: UUID | None = None, keys: Sequence[str] = ()
) -> list[AudioTimes]:
    """Return the times of the user's uploads that have audio, or of those of one session.

    Uploads with one of the `keys` and no session count as uploads of the session.
    """
    columns = [UPLOADS.c[name] for name in AudioTimes.__slots__]
    query = select(*columns).where(UPLOADS.c.user_id == user_id, *_HAS_AUDIO)
    if session_id is not None:
        is_unlinked = and_(UPLOADS.c.session_id.is_(None), UPLOADS.c.key.in_(keys))
        query = query.where(or_(UPLOADS.c.session_id == session_id, is_unlinked))
    return [AudioTimes(**row) for row in await tx.fetch_all(query)]


async def save_audio_times(tx: Transaction, times: Sequence[AudioTimes]) -> None:
    """Store when feedback was ready, and when the audio is deleted."""
    if times:
        await tx.execute(
            update(UPLOADS)
            .where(UPLOADS.c.id == bindparam("upload_id"))
            .values(
                feedback_at=bindparam("new_feedback_at"),
                audio_delete_at=bindparam("new_audio_delete_at"),
            ),
            [
                {
                    "upload_id": one.id,
                    "new_feedback_at": one.feedback_at,
                    "new_audio_delete_at": one.audio_delete_at,
                }
                for one in times
            ],
        )


async def list_due_audio(
    tx: Transaction, now: datetime, *, limit: int
) -> list[tuple[Upload, datetime]]:
    """Return the uploads whose audio is to be deleted, each with its due time, oldest first."""
    due_at = UPLOADS.c.audio_delete_at
    return await list_uploads_where(tx, due_at <= now, order_by=due_at, limit=limit)


async def mark_audio_deleted(
    tx: Transaction, upload: Upload, *, due_at: datetime, at: datetime
) -> bool:
    """Store that the audio is deleted. Returns False if another replica was first.

    Also if the user has chosen another time meanwhile, or the upload was deleted.
    """
    marked = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.audio_delete_at == due_at)
        .values(audio_deleted_at=at, audio_delete_at=None)
    )
    return marked.rowcount == 1


async def postpone_audio_deletion(
    tx: Transaction, upload: Upload, *, due_at: datetime, until: datetime
) -> None:
    """Check the audio again later, because its transcription has not ended."""
    await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.audio_delete_at == due_at)
        .values(audio_delete_at=until)
    )


def is_transcription_over(upload: Upload) -> bool:
    """Return whether nothing needs the audio of the upload any more."""
    return upload.status in (UploadStatus.TRANSCRIBED, UploadStatus.FAILED)
