"""Database queries of the media service. Takes a transaction and values, returns domain objects."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import (
    ColumnElement,
    RowMapping,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from coach_common.db.leases import is_due
from coach_common.db.tables import Id
from coach_common.db.tombstones import has_tombstone, insert_tombstone
from coach_common.db.transaction import Transaction
from coach_common.events.feedback import AudioCoverage, TranscribedWord
from coach_common.repair import MAX_DELAY
from coach_media.domain import (
    FREQUENT_CHECK_PERIOD,
    MAX_CHECK_INTERVAL,
    RECHECK_AFTER_EXPIRY,
    Upload,
    UploadNotFound,
    UploadStatus,
)
from coach_media.tables import OUTBOX, TOMBSTONES, UPLOADERS, UPLOADS

_WORDS = TypeAdapter(list[TranscribedWord])
_UPLOAD_COLUMNS = tuple(UPLOADS.c[name] for name in Upload.__slots__)
"""Without the words: half an hour of speech has 200 KB of them."""


async def add_upload(tx: Transaction, upload: Upload, *, next_check_at: datetime) -> None:
    """Store a new, pending upload."""
    await tx.execute(
        insert(UPLOADS).values(
            id=upload.id,
            user_id=upload.user_id,
            key=upload.key,
            session_id=upload.session_id,
            content_type=upload.content_type,
            declared_bytes=upload.declared_bytes,
            max_bytes=upload.max_bytes,
            status=upload.status.value,
            created_at=upload.created_at,
            url_expires_at=upload.url_expires_at,
            next_check_at=next_check_at,
        )
    )


async def lock_uploader(tx: Transaction, user_id: UUID) -> None:
    """Lock the user's row until the commit.

    Limits hold under concurrent calls, and a deletion sees every upload that was added before it.

    An upsert takes the write lock at once, also if the row is missing.
    """
    values = {"user_id": user_id}
    await tx.execute(tx.dialect.upsert(UPLOADERS, values, update=values))


async def count_session_uploads(tx: Transaction, user_id: UUID, session_id: UUID) -> int:
    """Return the number of uploads of the session, without rejected and expired ones."""
    closed = (UploadStatus.REJECTED.value, UploadStatus.EXPIRED.value)
    count: int = await tx.scalar(
        select(func.count())
        .select_from(UPLOADS)
        .where(
            UPLOADS.c.session_id == session_id,
            UPLOADS.c.user_id == user_id,
            UPLOADS.c.status.not_in(closed),
        )
    )
    return count


async def count_pending(tx: Transaction, user_id: UUID) -> int:
    """Return the number of pending uploads of the user."""
    count: int = await tx.scalar(
        select(func.count())
        .select_from(UPLOADS)
        .where(UPLOADS.c.user_id == user_id, UPLOADS.c.status == UploadStatus.PENDING.value)
    )
    return count


async def get_upload(tx: Transaction, upload_id: UUID, *, user_id: UUID) -> Upload:
    """Return the user's upload. Raises UploadNotFound if it is missing or another user's."""
    return await _get(tx, UPLOADS.c.id == upload_id, user_id)


async def get_upload_by_key(tx: Transaction, key: str, *, user_id: UUID) -> Upload:
    """Return the user's upload with this key. Raises UploadNotFound like `get_upload`."""
    return await _get(tx, UPLOADS.c.key == key, user_id)


async def mark_confirmed(
    tx: Transaction,
    upload: Upload,
    *,
    session_id: UUID | None,
    repair_after: datetime,
    audio_delete_at: datetime | None,
) -> bool:
    """Save a pending upload as confirmed. Returns False if it is no longer pending.

    `session_id` is its session if it has none yet. The object is checked once more after the
    upload URL has expired. The repair sweep checks the upload at `repair_after`. Its audio is
    deleted at `audio_delete_at`, or kept if that is None.
    """
    updated = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.status == UploadStatus.PENDING.value)
        .values(
            status=UploadStatus.CONFIRMED.value,
            content_type=upload.content_type,
            size_bytes=upload.size_bytes,
            etag=upload.etag,
            session_id=func.coalesce(UPLOADS.c.session_id, literal(session_id, Id)),
            confirmed_at=upload.confirmed_at,
            next_check_at=upload.url_expires_at + RECHECK_AFTER_EXPIRY,
            repair_after=repair_after,
            audio_delete_at=audio_delete_at,
        )
    )
    return updated.rowcount == 1


async def mark_linked(tx: Transaction, upload: Upload, *, session_id: UUID) -> bool:
    """Link an upload to a session. Returns False if it already has one."""
    linked = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.session_id.is_(None))
        .values(session_id=session_id)
    )
    return linked.rowcount == 1


async def mark_closed(
    tx: Transaction,
    upload: Upload,
    status: UploadStatus,
    *,
    reason: str,
    rejection_code: str | None = None,
) -> bool:
    """Set a pending upload to rejected or expired. Returns False if it is no longer pending."""
    updated = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.status == UploadStatus.PENDING.value)
        .values(
            status=status.value,
            reason=reason,
            rejection_code=rejection_code,
            next_check_at=None,
        )
    )
    return updated.rowcount == 1


async def record_transcript(
    tx: Transaction,
    upload_id: UUID,
    text: str,
    *,
    audio: AudioCoverage | None,
    words: Sequence[TranscribedWord],
) -> None:
    """Store the transcript. It replaces an earlier failure."""
    await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload_id)
        .values(
            transcript=text,
            audio=None if audio is None else audio.model_dump_json(),
            words=_WORDS.dump_json(list(words)).decode(),
            status=UploadStatus.TRANSCRIBED.value,
            reason=None,
            repair_after=None,
        )
    )


async def list_words(tx: Transaction, upload_id: UUID, *, user_id: UUID) -> list[TranscribedWord]:
    """Return the words of the user's upload, with their times; none before transcription."""
    stored: str | None = await tx.scalar(
        select(UPLOADS.c.words).where(UPLOADS.c.id == upload_id, UPLOADS.c.user_id == user_id)
    )
    return [] if stored is None else _WORDS.validate_json(stored)


async def record_failure(
    tx: Transaction, upload_id: UUID, status: UploadStatus, reason: str
) -> None:
    """Store why transcription failed. Does not replace a transcript or a final failure."""
    repair = {"repair_after": None} if status is UploadStatus.FAILED else {}
    await tx.execute(
        update(UPLOADS)
        .where(
            UPLOADS.c.id == upload_id,
            UPLOADS.c.status.in_([UploadStatus.CONFIRMED.value, UploadStatus.TRANSCRIBING.value]),
        )
        .values(status=status.value, reason=reason, **repair)
    )


async def mark_transcribing(tx: Transaction, upload_id: UUID) -> None:
    """Set a confirmed upload to transcribing. Does nothing in any other state."""
    await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload_id, UPLOADS.c.status == UploadStatus.CONFIRMED.value)
        .values(status=UploadStatus.TRANSCRIBING.value)
    )


async def mark_restarted(tx: Transaction, upload_id: UUID, *, repair_after: datetime) -> None:
    """Set a failed upload to transcribing, without its reason. Does nothing in any other state.

    The repair sweep checks the upload at `repair_after`. If the event of the restart arrived
    after that of its failure, the sweep restores the failure.
    """
    await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload_id, UPLOADS.c.status == UploadStatus.FAILED.value)
        .values(
            status=UploadStatus.TRANSCRIBING.value,
            reason=None,
            repair_after=repair_after,
        )
    )


async def list_due_checks(
    tx: Transaction, now: datetime, *, sweep_interval: timedelta, limit: int
) -> list[tuple[Upload, datetime]]:
    """Return uploads whose check is due, oldest first, each with its due time.

    A pending upload that is checked at every sweep is also due if its next check is later than the
    next sweep: it was scheduled before the clock was set back.
    """
    is_ahead = and_(
        UPLOADS.c.status == UploadStatus.PENDING.value,
        UPLOADS.c.url_expires_at > now - FREQUENT_CHECK_PERIOD,
        UPLOADS.c.next_check_at > now + sweep_interval,
    )
    rows = await tx.fetch_all(
        select(*_UPLOAD_COLUMNS, UPLOADS.c.next_check_at)
        .where(
            is_due(
                UPLOADS.c.next_check_at,
                now=now,
                latest=now + MAX_CHECK_INTERVAL,
                is_undelayed=is_ahead,
            )
        )
        .order_by(UPLOADS.c.next_check_at)
        .limit(limit)
    )
    return [(_upload_from_row(row), row["next_check_at"]) for row in rows]


async def claim_check(
    tx: Transaction, upload: Upload, *, due_at: datetime, next_check_at: datetime | None
) -> bool:
    """Claim a due check and schedule the next. Returns False if another replica claimed it."""
    claimed = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.next_check_at == due_at)
        .values(next_check_at=next_check_at)
    )
    return claimed.rowcount == 1


async def list_due_repairs(
    tx: Transaction, now: datetime, *, limit: int
) -> list[tuple[Upload, datetime]]:
    """Return the uploads that the repair sweep checks, oldest first, each with its due time."""
    rows = await tx.fetch_all(
        select(*_UPLOAD_COLUMNS, UPLOADS.c.repair_after)
        .where(is_due(UPLOADS.c.repair_after, now=now, latest=now + MAX_DELAY))
        .order_by(UPLOADS.c.repair_after)
        .limit(limit)
    )
    return [(_upload_from_row(row), row["repair_after"]) for row in rows]


async def claim_repair(
    tx: Transaction, upload_id: UUID, *, due_at: datetime, next_repair_at: datetime | None
) -> bool:
    """Claim a due repair and schedule the next. Returns False if another replica claimed it."""
    claimed = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload_id, UPLOADS.c.repair_after == due_at)
        .values(repair_after=next_repair_at)
    )
    return claimed.rowcount == 1


async def list_uploads_by_session(
    tx: Transaction, session_id: UUID, *, keys: Sequence[str], user_id: UUID
) -> list[Upload]:
    """Return the user's uploads that are linked to the session or have one of the keys."""
    return await _list(
        tx,
        and_(
            UPLOADS.c.user_id == user_id,
            or_(UPLOADS.c.session_id == session_id, UPLOADS.c.key.in_(keys)),
        ),
    )


async def list_uploads_of_interview(
    tx: Transaction, interview_id: UUID, *, keys: Sequence[str], user_id: UUID
) -> list[Upload]:
    """Return the user's uploads that are linked to the interview, or have a key and no link."""
    is_unlinked = and_(UPLOADS.c.session_id.is_(None), UPLOADS.c.key.in_(keys))
    return await _list(
        tx,
        and_(
            UPLOADS.c.user_id == user_id,
            or_(UPLOADS.c.session_id == interview_id, is_unlinked),
        ),
    )


async def list_uploads_by_user(tx: Transaction, user_id: UUID) -> list[Upload]:
    """Return all uploads of the user."""
    return await _list(tx, UPLOADS.c.user_id == user_id)


async def delete_uploads(tx: Transaction, uploads: Sequence[Upload]) -> None:
    """Delete the rows of these uploads."""
    await tx.execute_bulk(
        delete(UPLOADS).where(UPLOADS.c.id.in_([upload.id for upload in uploads]))
    )


async def delete_outbox_by_user(tx: Transaction, user_id: UUID) -> None:
    """Delete all unpublished events of the user."""
    await tx.execute_bulk(delete(OUTBOX).where(OUTBOX.c.user_id == user_id))


async def delete_uploader(tx: Transaction, user_id: UUID) -> None:
    """Delete the row under which the user's limits are checked."""
    await tx.execute(delete(UPLOADERS).where(UPLOADERS.c.user_id == user_id))


async def add_tombstone(tx: Transaction, deleted_id: UUID, *, at: datetime) -> bool:
    """Record that this user or session was deleted. Return False if it was known."""
    return await insert_tombstone(tx, TOMBSTONES, deleted_id, at=at)


async def is_deleted(tx: Transaction, *ids: UUID | None) -> bool:
    """Return True if any of these users or sessions was deleted."""
    return await has_tombstone(tx, TOMBSTONES, *ids)


async def list_uploads_where(
    tx: Transaction,
    condition: ColumnElement[bool],
    *,
    order_by: ColumnElement[datetime],
    limit: int,
) -> list[tuple[Upload, datetime]]:
    """Return the first uploads that match, each with the time that they are ordered by."""
    rows = await tx.fetch_all(
        select(*_UPLOAD_COLUMNS, order_by.label("due_at"))
        .where(condition)
        .order_by(order_by)
        .limit(limit)
    )
    return [(_upload_from_row(row), row["due_at"]) for row in rows]


async def _get(tx: Transaction, condition: ColumnElement[bool], user_id: UUID) -> Upload:
    row = await tx.fetch_one(
        select(*_UPLOAD_COLUMNS).where(condition, UPLOADS.c.user_id == user_id)
    )
    if row is None:
        raise UploadNotFound
    return _upload_from_row(row)


async def _list(tx: Transaction, condition: ColumnElement[bool]) -> list[Upload]:
    rows = await tx.fetch_all(select(*_UPLOAD_COLUMNS).where(condition))
    return [_upload_from_row(row) for row in rows]


def _upload_from_row(row: RowMapping) -> Upload:
    values = {name: row[name] for name in Upload.__slots__ if name not in ("status", "audio")}
    audio = None if row["audio"] is None else AudioCoverage.model_validate_json(row["audio"])
    return Upload(**values, status=UploadStatus(row["status"]), audio=audio)
