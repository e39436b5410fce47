"""Every query of media: a transaction and values in, domain objects out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

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

from coach_common.db.tables import Id
from coach_common.db.tombstones import has_tombstone, insert_tombstone
from coach_common.db.transaction import Transaction
from coach_media.domain import Status, Upload, UploadNotFound
from coach_media.tables import OBJECT_DELETIONS, OUTBOX, TOMBSTONES, UPLOADS

_RECHECK_AFTER_EXPIRY = timedelta(minutes=1)


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
            next_look_at=next_check_at,
        )
    )


async def count_pending(tx: Transaction, user_id: UUID) -> int:
    """Return how many uploads of a person are pending."""
    count: int = await tx.scalar(
        select(func.count())
        .select_from(UPLOADS)
        .where(UPLOADS.c.user_id == user_id, UPLOADS.c.status == Status.PENDING.value)
    )
    return count


async def get_upload(tx: Transaction, upload_id: UUID, *, user_id: UUID) -> Upload:
    """Return the person's upload; UploadNotFound also for somebody else's."""
    return await _get(tx, UPLOADS.c.id == upload_id, user_id)


async def get_upload_by_key(tx: Transaction, key: str, *, user_id: UUID) -> Upload:
    """Return the person's upload under this key; UploadNotFound also for somebody else's."""
    return await _get(tx, UPLOADS.c.key == key, user_id)


async def mark_confirmed(
    tx: Transaction,
    upload: Upload,
    *,
    size_bytes: int,
    etag: str,
    session_id: UUID | None,
    at: datetime,
) -> bool:
    """Flip a pending upload to confirmed; tell whether this call did it."""
    updated = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.status == Status.PENDING.value)
        .values(
            status=Status.CONFIRMED.value,
            size_bytes=size_bytes,
            etag=etag,
            session_id=func.coalesce(UPLOADS.c.session_id, literal(session_id, Id)),
            confirmed_at=at,
            next_look_at=None,
        )
    )
    return updated.rowcount == 1


async def mark_linked(tx: Transaction, upload: Upload, *, session_id: UUID) -> bool:
    """Link an upload that has no session; tell whether this call did it."""
    linked = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.session_id.is_(None))
        .values(session_id=session_id)
    )
    return linked.rowcount == 1


async def mark_closed(
    tx: Transaction, upload: Upload, status: Status, *, reason: str | None
) -> bool:
    """Flip a pending upload to rejected or expired; tell whether this call did it."""
    updated = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.status == Status.PENDING.value)
        .values(status=status.value, reason=reason, next_look_at=None)
    )
    return updated.rowcount == 1


async def record_transcript(tx: Transaction, upload_id: UUID, text: str) -> None:
    """Keep the words; a success beats any failure."""
    await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload_id)
        .values(transcript=text, status=Status.TRANSCRIBED.value, reason=None)
    )


async def record_failure(tx: Transaction, upload_id: UUID, status: Status, reason: str) -> None:
    """Keep why there are no words (yet): never over a success, nor over a final failure."""
    await tx.execute(
        update(UPLOADS)
        .where(
            UPLOADS.c.id == upload_id,
            UPLOADS.c.status.in_([Status.CONFIRMED.value, Status.TRANSCRIBING.value]),
        )
        .values(status=status.value, reason=reason)
    )


async def list_due_checks(
    tx: Transaction, now: datetime, *, limit: int
) -> list[tuple[Upload, datetime]]:
    """Return pending uploads to look for, longest due first, each with the time it was due."""
    rows = await tx.fetch_all(
        select(UPLOADS)
        .where(UPLOADS.c.next_look_at <= now)
        .order_by(UPLOADS.c.next_look_at)
        .limit(limit)
    )
    return [(_upload(row), row["next_look_at"]) for row in rows]


async def claim_check(
    tx: Transaction, upload: Upload, *, due_at: datetime, next_check_at: datetime | None
) -> bool:
    """Take a look that is due, so that no other replica does; tell whether this call did it."""
    claimed = await tx.execute(
        update(UPLOADS)
        .where(UPLOADS.c.id == upload.id, UPLOADS.c.next_look_at == due_at)
        .values(next_look_at=next_check_at)
    )
    return claimed.rowcount == 1


async def list_uploads_by_session(
    tx: Transaction, session_id: UUID, *, keys: Sequence[str], user_id: UUID
) -> list[Upload]:
    """Return a person's uploads that are linked to a session or named by key."""
    return await _list(
        tx,
        and_(
            UPLOADS.c.user_id == user_id,
            or_(UPLOADS.c.session_id == session_id, UPLOADS.c.key.in_(keys)),
        ),
    )


async def list_uploads_by_user(tx: Transaction, user_id: UUID) -> list[Upload]:
    """Return all uploads of a person."""
    return await _list(tx, UPLOADS.c.user_id == user_id)


async def delete_uploads(tx: Transaction, uploads: Sequence[Upload]) -> None:
    """Remove rows."""
    await tx.execute(delete(UPLOADS).where(UPLOADS.c.id.in_([upload.id for upload in uploads])))


async def delete_outbox_by_user(tx: Transaction, user_id: UUID) -> None:
    """Remove what was still to be said about a person."""
    await tx.execute(delete(OUTBOX).where(OUTBOX.c.user_id == user_id))


async def add_object_deletions(
    tx: Transaction, uploads: Sequence[Upload], *, now: datetime
) -> None:
    """Have the objects removed now, and once more after their URLs have expired."""
    for upload in uploads:
        last_at = max(now, upload.url_expires_at + _RECHECK_AFTER_EXPIRY)
        await tx.execute(
            tx.database.insert_ignore(OBJECT_DELETIONS).values(
                key=upload.key, due_at=now, last_at=last_at, tries=0
            )
        )


async def list_object_deletions(tx: Transaction, now: datetime, *, limit: int) -> list[RowMapping]:
    """Return the objects to remove now: rows of (key, due_at, last_at, tries)."""
    return await tx.fetch_all(
        select(OBJECT_DELETIONS)
        .where(OBJECT_DELETIONS.c.due_at <= now)
        .order_by(OBJECT_DELETIONS.c.due_at)
        .limit(limit)
    )


async def delete_object_deletion(tx: Transaction, key: str) -> None:
    """The object is gone for good."""
    await tx.execute(delete(OBJECT_DELETIONS).where(OBJECT_DELETIONS.c.key == key))


async def postpone_object_deletion(
    tx: Transaction, key: str, *, due_at: datetime, tries: int
) -> None:
    """Remove the object again later."""
    await tx.execute(
        update(OBJECT_DELETIONS)
        .where(OBJECT_DELETIONS.c.key == key)
        .values(due_at=due_at, tries=tries)
    )


async def add_tombstone(tx: Transaction, deleted_id: UUID, *, at: datetime) -> None:
    """Remember that this user or session is gone."""
    await insert_tombstone(tx, TOMBSTONES, deleted_id, at=at)


async def is_deleted(tx: Transaction, *ids: UUID | None) -> bool:
    """Tell whether any of these users or sessions was deleted."""
    return await has_tombstone(tx, TOMBSTONES, *ids)


async def _get(tx: Transaction, which: ColumnElement[bool], user_id: UUID) -> Upload:
    row = await tx.fetch_one(select(UPLOADS).where(which, UPLOADS.c.user_id == user_id))
    if row is None:
        raise UploadNotFound
    return _upload(row)


async def _list(tx: Transaction, which: ColumnElement[bool]) -> list[Upload]:
    return [_upload(row) for row in await tx.fetch_all(select(UPLOADS).where(which))]


def _upload(row: RowMapping) -> Upload:
    values = {name: row[name] for name in Upload.__slots__ if name != "status"}
    return Upload(**values, status=Status(row["status"]))
