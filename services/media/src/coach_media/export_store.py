"""All queries about exports and their parts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, case, delete, func, insert, select, update

from coach_common.db.export import ExportedTable, ExportPart
from coach_common.db.transaction import Transaction
from coach_media.export_model import Export, PartCount
from coach_media.tables import AUDIO_RETENTION, EXPORT_PARTS, EXPORTS, STORAGE_CONSENTS, UPLOADS

OWN_TABLES = (
    ExportedTable(
        UPLOADS,
        hidden=("next_check_at", "repair_after", "audio_delete_at", "max_bytes", "url_expires_at"),
    ),
    ExportedTable(AUDIO_RETENTION),
    ExportedTable(STORAGE_CONSENTS),
)
"""What media adds to an export."""


async def add_export(tx: Transaction, export: Export, *, retry_after: datetime) -> None:
    """Insert an export without parts."""
    await tx.execute(
        insert(EXPORTS).values(
            id=export.id,
            user_id=export.user_id,
            attempt=export.attempt,
            requested_at=export.requested_at,
            completed_at=None,
            expires_at=export.expires_at,
            retry_after=retry_after,
        )
    )


async def find_export(
    tx: Transaction, user_id: UUID, export_id: UUID | None, *, now: datetime
) -> Export | None:
    """Return the user's export with this id, or the newest one, unless it has expired."""
    query = select(EXPORTS).where(EXPORTS.c.user_id == user_id, EXPORTS.c.expires_at > now)
    if export_id is not None:
        query = query.where(EXPORTS.c.id == export_id)
    row = await tx.fetch_one(query.order_by(EXPORTS.c.id.desc()).limit(1))
    return None if row is None else _export(row)


async def lock_export(tx: Transaction, export_id: UUID) -> Export | None:
    """Lock and return an export, or None if it was deleted."""
    row = await tx.fetch_one(select(EXPORTS).where(EXPORTS.c.id == export_id).with_for_update())
    return None if row is None else _export(row)


async def add_part(tx: Transaction, export: Export, service: str, part: ExportPart) -> None:
    """Store a part. The first one with its number counts."""
    await tx.execute(
        tx.dialect.insert_ignore(EXPORT_PARTS).values(
            export_id=export.id,
            service=service,
            number=part.number,
            user_id=export.user_id,
            is_last=part.is_last,
            table_name=part.table,
            content=part.content,
        )
    )


async def list_recordings(tx: Transaction, user_id: UUID) -> list[tuple[UUID, str, str]]:
    """Return id, key and ETag of the user's recordings that have their audio."""
    columns = UPLOADS.c
    rows = await tx.fetch_all(
        select(columns.id, columns.key, columns.etag)
        .where(
            columns.user_id == user_id,
            columns.confirmed_at.is_not(None),
            columns.audio_deleted_at.is_(None),
        )
        .order_by(columns.id)
    )
    return [(row["id"], row["key"], row["etag"] or "") for row in rows]


async def count_parts(tx: Transaction, export_id: UUID) -> dict[str, PartCount]:
    """Return how many parts have arrived, by service."""
    columns = EXPORT_PARTS.c
    rows = await tx.fetch_all(
        select(
            columns.service,
            func.count().label("arrived"),
            func.max(case((columns.is_last, columns.number))).label("last"),
        )
        .where(columns.export_id == export_id)
        .group_by(columns.service)
    )
    return {row["service"]: PartCount(row["arrived"], row["last"]) for row in rows}


async def mark_completed(
    tx: Transaction, export_id: UUID, *, at: datetime, expires_at: datetime
) -> None:
    """Store that all parts have arrived."""
    await tx.execute(
        update(EXPORTS)
        .where(EXPORTS.c.id == export_id)
        .values(completed_at=at, expires_at=expires_at, retry_after=None)
    )


async def list_due_retries(tx: Transaction, now: datetime, *, limit: int) -> list[UUID]:
    """Return the exports whose parts are requested again."""
    query = select(EXPORTS.c.id).where(EXPORTS.c.retry_after <= now).limit(limit)
    return [row["id"] for row in await tx.fetch_all(query)]


async def start_attempt(
    tx: Transaction, export: Export, *, now: datetime, retry_after: datetime
) -> bool:
    """Delete the parts and count an attempt. Returns False if another replica was first."""
    started = await tx.execute(
        update(EXPORTS)
        .where(EXPORTS.c.id == export.id, EXPORTS.c.retry_after <= now)
        .values(attempt=export.attempt + 1, retry_after=retry_after)
    )
    if started.rowcount:
        await tx.execute_bulk(delete(EXPORT_PARTS).where(EXPORT_PARTS.c.export_id == export.id))
    return started.rowcount == 1


async def list_part_keys(tx: Transaction, export_id: UUID) -> list[tuple[str, int, str]]:
    """Return service, number and table of all parts, in order."""
    columns = EXPORT_PARTS.c
    rows = await tx.fetch_all(
        select(columns.service, columns.number, columns.table_name)
        .where(columns.export_id == export_id)
        .order_by(columns.service, columns.number)
    )
    return [(row["service"], row["number"], row["table_name"]) for row in rows]


async def get_part(tx: Transaction, export_id: UUID, service: str, number: int) -> str | None:
    """Return the content of a part, or None if the export was deleted."""
    columns = EXPORT_PARTS.c
    content = await tx.scalar(
        select(columns.content).where(
            columns.export_id == export_id,
            columns.service == service,
            columns.number == number,
        )
    )
    return None if content is None else str(content)


async def delete_expired_exports(tx: Transaction, now: datetime) -> None:
    """Delete expired exports with their parts."""
    expired = EXPORTS.c.expires_at <= now
    ids = [row["id"] for row in await tx.fetch_all(select(EXPORTS.c.id).where(expired).limit(20))]
    await _delete(tx, EXPORTS.c.id.in_(ids), EXPORT_PARTS.c.export_id.in_(ids))


async def delete_exports_of_user(tx: Transaction, user_id: UUID) -> None:
    """Delete all exports of a user with their parts."""
    await _delete(tx, EXPORTS.c.user_id == user_id, EXPORT_PARTS.c.user_id == user_id)


async def _delete(
    tx: Transaction, exports: ColumnElement[bool], parts: ColumnElement[bool]
) -> None:
    await tx.execute_bulk(delete(EXPORT_PARTS).where(parts))
    await tx.execute_bulk(delete(EXPORTS).where(exports))


def _export(row: RowMapping) -> Export:
    return Export(**{name: row[name] for name in Export.__slots__})
