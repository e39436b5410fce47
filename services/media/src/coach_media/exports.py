"""Use cases of exports: collect all data of a user, and send it as a zip archive."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from prometheus_client import Counter

from coach_common.clock import rfc3339
from coach_common.db.export import ExportPart, read_parts
from coach_common.db.transaction import MessageContext, Transaction
from coach_common.errors import Conflict, NotFound, Unauthenticated
from coach_common.events.exports import ExportCompleted, ExportPartCollected, ExportRequested
from coach_common.identity import Identity
from coach_common.ids import new_id
from coach_media import export_store, store
from coach_media.archive import ArchiveWriter
from coach_media.deps import Deps
from coach_media.export_model import (
    EXPORT_LIFETIME,
    RETRY_DELAY,
    Export,
    ExportNotFound,
    has_all_parts,
)

EXPORTS = Counter(
    "coach_media_exports", "Exports by step: requested, retried, completed, downloaded.", ["step"]
)

_BATCH_SIZE = 20


async def request_export(deps: Deps, caller: Identity) -> Export:
    """Start to collect all data of the caller.

    An export that is pending, or that was requested in the last 10 minutes, is returned instead.

    Raises:
        Unauthenticated: If the account was deleted; an access token may outlive it.
    """
    now = deps.clock()
    async with deps.db.transaction() as tx:
        await store.lock_uploader(tx, caller.user_id)
        if await store.is_deleted(tx, caller.user_id):
            raise Unauthenticated("This account no longer exists.", code="account_deleted")
        newest = await export_store.find_export(tx, caller.user_id, None, now=now)
        if newest is not None and newest.is_current(now):
            return newest
        # A copy of all data is kept once.
        await export_store.delete_exports_of_user(tx, caller.user_id)
        export = Export(new_id(), caller.user_id, 1, now, now + EXPORT_LIFETIME)
        await export_store.add_export(tx, export, retry_after=now + RETRY_DELAY)
        await tx.emit(_build_request(export))
    EXPORTS.labels("requested").inc()
    return export


async def get_export(deps: Deps, caller: Identity, export_id: UUID) -> Export:
    """Return the caller's export.

    Raises:
        ExportNotFound: If it does not exist, has expired, or belongs to another user.
    """
    async with deps.db.read_only() as tx:
        export = await export_store.find_export(tx, caller.user_id, export_id, now=deps.clock())
    if export is None:
        raise ExportNotFound
    return export


async def record_part(deps: Deps, event: ExportPartCollected, message: MessageContext) -> None:
    """Store a part of another service once per message. The last one of all completes the export.

    Parts of a deleted export and of an earlier attempt are ignored.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        export = await _lock_attempt(tx, event.export_id, event.attempt)
        if export is not None:
            part = ExportPart(event.number, event.table, event.content, event.is_last)
            await export_store.add_part(tx, export, event.source, part)
            await _complete_if_collected(deps, tx, export)


async def collect_own_parts(deps: Deps, event: ExportRequested, message: MessageContext) -> None:
    """Store the rows of media as parts. Applied once per message."""
    async with deps.db.transaction(deduplicate=message) as tx:
        export = await _lock_attempt(tx, event.export_id, event.attempt)
        if export is None:
            return
        async for part in read_parts(tx, export_store.OWN_TABLES, export.user_id):
            await export_store.add_part(tx, export, "media", part)
        await _complete_if_collected(deps, tx, export)


async def _lock_attempt(tx: Transaction, export_id: UUID, attempt: int) -> Export | None:
    """Lock and return a pending export, or None if this attempt is over."""
    export = await export_store.lock_export(tx, export_id)
    if export is None or export.completed_at is not None or export.attempt != attempt:
        return None
    return export


async def _complete_if_collected(deps: Deps, tx: Transaction, export: Export) -> None:
    if not has_all_parts(await export_store.count_parts(tx, export.id)):
        return
    now = deps.clock()
    expires_at = now + EXPORT_LIFETIME
    await export_store.mark_completed(tx, export.id, at=now, expires_at=expires_at)
    await tx.emit(
        ExportCompleted(export_id=export.id, user_id=export.user_id, expires_at=expires_at)
    )
    EXPORTS.labels("completed").inc()


async def retry_and_expire(deps: Deps) -> int:
    """Request missing parts again, and delete expired exports. Return how many were retried.

    Several replicas may run this at the same time.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await export_store.list_due_retries(tx, now, limit=_BATCH_SIZE)
    for export_id in due:
        async with deps.db.transaction() as tx:
            export = await export_store.lock_export(tx, export_id)
            if export is None or not await export_store.start_attempt(
                tx, export, now=now, retry_after=now + RETRY_DELAY
            ):
                continue
            await tx.emit(_build_request(export, attempt=export.attempt + 1))
        EXPORTS.labels("retried").inc()
    async with deps.db.transaction() as tx:
        await export_store.delete_expired_exports(tx, now)
    return len(due)


async def stream_archive(deps: Deps, export: Export) -> AsyncGenerator[bytes, None]:
    """Yield the zip archive of a completed export: a file per part, and the recordings.

    Memory holds one part and one chunk of a recording at a time. `export.json` is the last file and
    names the recordings that could not be read. An archive without it is incomplete.

    Raises:
        Unavailable: If the database or the store fails. The archive ends early.
    """
    archive = ArchiveWriter(deps.clock())
    async with deps.db.read_only() as tx:
        keys = await export_store.list_part_keys(tx, export.id)
    for service, number, table in keys:
        async with deps.db.read_only() as tx:
            content = await export_store.get_part(tx, export.id, service, number)
        if content is None:
            raise ExportNotFound
        yield await archive.add_text(f"{service}/{number:04d}-{table}.json", content)
    async with deps.db.read_only() as tx:
        recordings = await export_store.list_recordings(tx, export.user_id)
    missing = []
    for upload_id, key, etag in recordings:
        name = f"recordings/{upload_id}.{key.rpartition('.')[2]}"
        chunks = deps.object_store.stream(key, etag=etag)
        try:
            async with aclosing(archive.add_stream(name, chunks)) as pieces:
                async for piece in pieces:
                    yield piece
        except (NotFound, Conflict):
            missing.append(str(upload_id))
    manifest = {
        "export_id": str(export.id),
        "user_id": str(export.user_id),
        "collected_at": None if export.completed_at is None else rfc3339(export.completed_at),
        "missing_recordings": missing,
    }
    yield await archive.add_text("export.json", json.dumps(manifest, indent=2))
    yield archive.finish()
    EXPORTS.labels("downloaded").inc()


def _build_request(export: Export, *, attempt: int = 1) -> ExportRequested:
    return ExportRequested(export_id=export.id, user_id=export.user_id, attempt=attempt)
