"""What people do with recordings, and what the sweep finds out about them."""

import secrets
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from prometheus_client import Counter

from coach_common import logs
from coach_common.db.transaction import Delivery
from coach_common.errors import CoachError, NotFound, TooLarge, TooMany, Unavailable
from coach_common.events.catalog import UploadConfirmed, UploadLinked
from coach_common.identity import Identity
from coach_common.ids import new_id
from coach_common.storage import StoredObject
from coach_media import store
from coach_media.deps import Deps
from coach_media.domain import (
    PLAYBACK_SECONDS,
    SNIFFED_BYTES,
    URL_SECONDS,
    LinkedElsewhere,
    NotWhatItSaid,
    Status,
    Upload,
    UploadNotFound,
    check_extension,
    check_object,
    media_type,
    new_key,
)

log = logs.get(__name__)

UPLOADS = Counter("coach_uploads", "Uploads by what became of them.", ["outcome"])

_BATCH = 50
_FIRST_LOOK = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(hours=1)


async def presign_upload(
    deps: Deps,
    caller: Identity,
    *,
    content_type: str,
    extension: str,
    size_bytes: int | None,
    session_id: UUID | None,
    bearer: str,
    endpoint_url: str | None,
) -> tuple[Upload, str]:
    """Return a new upload and the URL that takes its one PUT."""
    name = media_type(content_type)
    check_extension(name, extension)
    limits = deps.limits
    max_bytes = limits.max_video_bytes if name.startswith("video/") else limits.max_audio_bytes
    if size_bytes is not None and size_bytes > max_bytes:
        raise TooLarge(f"A recording may have up to {max_bytes // 2**20} MiB.")
    if session_id is not None:
        await deps.sessions.check(session_id, bearer=bearer)
    now = deps.clock()
    upload = Upload(
        id=new_id(),
        user_id=caller.user_id,
        key=new_key(caller.user_id, now, secrets.token_hex(4), extension),
        content_type=content_type,
        declared_bytes=size_bytes,
        max_bytes=max_bytes,
        created_at=now,
        url_expires_at=now + timedelta(seconds=URL_SECONDS),
        session_id=session_id,
    )
    async with deps.db.transaction() as tx:
        if await store.is_gone(tx, caller.user_id, session_id):
            raise NotFound("Session not found", code="session_not_found")
        if await store.count_pending(tx, caller.user_id) >= limits.max_pending_uploads:
            raise TooMany("Too many recordings are still on their way.", retry_after_seconds=60)
        first_look = min(_FIRST_LOOK, limits.sweep)
        await store.add_upload(tx, upload, next_look_at=now + first_look)
    url = await deps.objects.presign_put(
        upload.key,
        content_type=content_type,
        size_bytes=size_bytes,
        expires_seconds=URL_SECONDS,
        endpoint_url=endpoint_url,
    )
    return upload, url


async def confirm_upload(
    deps: Deps, caller: Identity, *, key: str, session_id: UUID | None, bearer: str
) -> Upload:
    """Confirm the caller's upload once its bytes are really in the store.

    Saying it again gives the same answer and announces nothing; a session named for an upload
    that had none links it.
    """
    async with deps.db.read() as tx:
        upload = await store.get_upload_by_key(tx, key, user_id=caller.user_id)
    if session_id is not None and session_id != upload.session_id:
        await deps.sessions.check(session_id, bearer=bearer)
        if upload.session_id is not None:
            raise LinkedElsewhere
    if not upload.is_there:
        await _confirm(deps, upload, session_id, found_by="phone")
    return await _link(deps, caller, key, session_id)


async def get_upload(deps: Deps, caller: Identity, upload_id: UUID) -> Upload:
    """Return the caller's upload."""
    async with deps.db.read() as tx:
        return await store.get_upload(tx, upload_id, user_id=caller.user_id)


async def presign_playback(
    deps: Deps, caller: Identity, upload_id: UUID, *, endpoint_url: str | None
) -> str:
    """Return a short-lived URL that plays the caller's recording."""
    upload = await get_upload(deps, caller, upload_id)
    if not upload.is_there:
        raise UploadNotFound
    return await deps.objects.presign_get(
        upload.key, expires_seconds=PLAYBACK_SECONDS, endpoint_url=endpoint_url
    )


async def sweep(deps: Deps) -> int:
    """Look for uploads nobody confirmed; return how many were looked for.

    What arrived is confirmed, what is not what it said is rejected, what never came is expired.
    """
    now = deps.clock()
    async with deps.db.read() as tx:
        due = await store.list_due(tx, now, limit=_BATCH)
    for upload, due_at in due:
        next_look_at = upload.next_look(now, deps.limits.sweep)
        async with deps.db.transaction() as tx:
            retry_at = next_look_at or now + deps.limits.sweep
            if not await store.claim_look(tx, upload, due_at=due_at, next_look_at=retry_at):
                continue
        try:
            await _confirm(deps, upload, None, found_by="sweep")
        except Unavailable as error:
            log.warning("sweep.paused", reason=str(error))
            break
        except UploadNotFound:
            if next_look_at is None:
                await _give_up(deps, upload, Status.EXPIRED, "The recording never arrived.")
        except CoachError as error:
            log.info("upload.rejected", upload_id=str(upload.id), code=error.code)
    return len(due)


async def remove_objects(deps: Deps) -> int:
    """Remove what is to be removed from the store; return how many were tried."""
    now = deps.clock()
    async with deps.db.read() as tx:
        rows = await store.list_removals(tx, now, limit=_BATCH)
    for row in rows:
        try:
            await deps.objects.delete(row["key"])
        except Unavailable:
            tries = row["tries"] + 1
            due_at = now + min(_LONGEST_PAUSE, timedelta(seconds=2**tries))
            async with deps.db.transaction() as tx:
                await store.postpone_removal(tx, row["key"], due_at=due_at, tries=tries)
            continue
        async with deps.db.transaction() as tx:
            if now >= row["last_at"]:
                await store.delete_removal(tx, row["key"])
            else:
                await store.postpone_removal(tx, row["key"], due_at=row["last_at"], tries=0)
    return len(rows)


async def record_transcript(deps: Deps, upload_id: UUID, text: str, delivery: Delivery) -> None:
    """Keep a recording's words."""
    async with deps.db.transaction(handling=delivery) as tx:
        await store.record_transcript(tx, upload_id, text)


async def record_transcription_failure(
    deps: Deps, upload_id: UUID, reason: str, *, is_final: bool, delivery: Delivery
) -> None:
    """Keep why a recording has no words, or none yet."""
    async with deps.db.transaction(handling=delivery) as tx:
        status = Status.FAILED if is_final else Status.TRANSCRIBING
        await store.record_failure(tx, upload_id, status, reason)


async def erase_session(
    deps: Deps, session_id: UUID, user_id: UUID, keys: list[str], delivery: Delivery
) -> None:
    """Remove the recordings of a session that is gone."""
    now = deps.clock()
    async with deps.db.transaction(handling=delivery) as tx:
        await store.add_tombstone(tx, session_id, at=now)
        uploads = await store.list_of_session(tx, session_id, keys=keys, user_id=user_id)
        await store.add_removals(tx, uploads, now=now)
        await store.delete_uploads(tx, uploads)


async def erase_user(deps: Deps, user_id: UUID, delivery: Delivery) -> None:
    """Remove everything about a person whose account is gone."""
    now = deps.clock()
    async with deps.db.transaction(handling=delivery) as tx:
        await store.add_tombstone(tx, user_id, at=now)
        uploads = await store.list_of_user(tx, user_id)
        await store.add_removals(tx, uploads, now=now)
        await store.delete_uploads(tx, uploads)
        await store.delete_outbox_of(tx, user_id)


async def _confirm(deps: Deps, upload: Upload, session_id: UUID | None, *, found_by: str) -> None:
    """Look at the object and announce it, or reject it; UploadNotFound where it is not there."""
    if upload.status is Status.REJECTED:
        raise NotWhatItSaid(upload.reason or "The recording was rejected.")
    if upload.status is Status.EXPIRED:
        raise UploadNotFound
    try:
        start, stored = await deps.objects.read_start(upload.key, length=SNIFFED_BYTES)
    except NotFound:
        raise UploadNotFound from None
    try:
        check_object(
            upload, size_bytes=stored.size_bytes, content_type=stored.content_type, start=start
        )
    except CoachError as error:
        await _give_up(deps, upload, Status.REJECTED, str(error))
        raise
    await _announce(deps, upload, stored, session_id, found_by)


async def _announce(
    deps: Deps, upload: Upload, stored: StoredObject, session_id: UUID | None, found_by: str
) -> None:
    linked = upload.session_id or session_id
    async with deps.db.transaction() as tx:
        if await store.is_gone(tx, upload.user_id, linked):
            raise UploadNotFound
        # Phone and sweep may confirm at once: only the one that flips the row announces it.
        if await store.mark_confirmed(
            tx,
            upload,
            size_bytes=stored.size_bytes,
            etag=stored.etag,
            session_id=session_id,
            at=deps.clock(),
        ):
            await tx.emit(
                UploadConfirmed(
                    upload_id=upload.id,
                    user_id=upload.user_id,
                    key=upload.key,
                    content_type=upload.content_type,
                    size=stored.size_bytes,
                    etag=stored.etag,
                    session_id=linked,
                )
            )
            UPLOADS.labels(f"confirmed by {found_by}").inc()
            log.info("upload.confirmed", upload_id=str(upload.id), found_by=found_by)


async def _give_up(deps: Deps, upload: Upload, status: Status, reason: str) -> None:
    now = deps.clock()
    async with deps.db.transaction() as tx:
        if await store.mark_given_up(tx, upload, status, reason=reason):
            await store.add_removals(tx, [upload], now=now)
            UPLOADS.labels(status.value).inc()


async def _link(deps: Deps, caller: Identity, key: str, session_id: UUID | None) -> Upload:
    """Return the upload as it now stands, linked to the session where one was named."""
    async with deps.db.read() as tx:
        upload = await store.get_upload_by_key(tx, key, user_id=caller.user_id)
    if session_id is None or upload.session_id == session_id:
        return upload
    async with deps.db.transaction() as tx:
        if await store.is_gone(tx, session_id):
            raise NotFound("Session not found", code="session_not_found")
        if not await store.mark_linked(tx, upload, session_id=session_id):
            raise LinkedElsewhere
        await tx.emit(
            UploadLinked(
                upload_id=upload.id,
                user_id=upload.user_id,
                key=upload.key,
                etag=upload.etag or "",
                session_id=session_id,
            )
        )
    return replace(upload, session_id=session_id)
