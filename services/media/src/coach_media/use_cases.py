"""Use cases of the media service: presign, confirm, play back and delete recordings."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from prometheus_client import Counter

from coach_common import logs
from coach_common.db.transaction import MessageContext
from coach_common.errors import CoachError, NotFound, PayloadTooLarge, TooManyRequests, Unavailable
from coach_common.events.catalog import UploadConfirmed, UploadLinked
from coach_common.events.feedback import AudioCoverage, TranscribedWord
from coach_common.identity import Identity
from coach_common.ids import new_id
from coach_common.storage import StoredObject
from coach_media import store
from coach_media.deps import Deps
from coach_media.domain import (
    MAGIC_BYTES_LENGTH,
    PLAYBACK_URL_SECONDS,
    UPLOAD_URL_SECONDS,
    AlreadyLinked,
    Upload,
    UploadMismatch,
    UploadNotFound,
    UploadStatus,
    build_object_key,
    check_extension,
    format_size,
    parse_media_type,
    validate_object,
)

log = logs.get_logger(__name__)

UPLOADS = Counter("coach_uploads", "Uploads by outcome.", ["outcome"])

_BATCH_SIZE = 50
_FIRST_CHECK_DELAY = timedelta(seconds=5)


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
    """Create an upload and return it with a presigned URL for one PUT.

    Raises:
        UnsupportedMediaType: If the media type is not accepted.
        InvalidInput: If the media type is malformed or does not allow the extension.
        PayloadTooLarge: If the declared size exceeds the limit.
        NotFound: If the session does not exist or belongs to another user.
        TooManyRequests: If the user has too many pending uploads.
    """
    name = parse_media_type(content_type)
    check_extension(name, extension)
    limits = deps.limits
    max_bytes = limits.max_video_bytes if name.startswith("video/") else limits.max_audio_bytes
    if size_bytes is not None and size_bytes > max_bytes:
        raise PayloadTooLarge(f"Recordings may be at most {format_size(max_bytes)}.")
    if session_id is not None:
        await deps.sessions.require_owner(session_id, bearer=bearer)
    now = deps.clock()
    upload = Upload(
        id=new_id(),
        user_id=caller.user_id,
        key=build_object_key(caller.user_id, now, secrets.token_hex(4), extension),
        content_type=content_type,
        declared_bytes=size_bytes,
        max_bytes=max_bytes,
        created_at=now,
        url_expires_at=now + timedelta(seconds=UPLOAD_URL_SECONDS),
        session_id=session_id,
    )
    async with deps.db.transaction() as tx:
        if await store.is_deleted(tx, caller.user_id, session_id):
            raise NotFound("Session not found", code="session_not_found")
        if await store.count_pending(tx, caller.user_id) >= limits.max_pending_uploads:
            raise TooManyRequests(
                "Too many uploads are pending. Please wait until they finish.",
                retry_after_seconds=60,
            )
        first_check_delay = min(_FIRST_CHECK_DELAY, limits.sweep_interval)
        await store.add_upload(tx, upload, next_check_at=now + first_check_delay)
    url = await deps.object_store.presign_put(
        upload.key,
        content_type=content_type,
        size_bytes=size_bytes,
        expires_seconds=UPLOAD_URL_SECONDS,
        endpoint_url=endpoint_url,
    )
    return upload, url


async def confirm_upload(
    deps: Deps, caller: Identity, *, key: str, session_id: UUID | None, bearer: str
) -> Upload:
    """Confirm an upload after verifying the stored object (size, type, first bytes).

    Idempotent: a repeated call returns the same result and emits no event. If the upload has no
    session yet and `session_id` is given, it is linked to that session.

    Raises:
        UploadNotFound: If the key is unknown or belongs to another user, or nothing is stored.
        AlreadyLinked: If the upload is linked to another session.
        UploadMismatch: If the stored object does not match the declared upload.
        PayloadTooLarge: If the stored object exceeds the limit.
    """
    async with deps.db.read_only() as tx:
        upload = await store.get_upload_by_key(tx, key, user_id=caller.user_id)
    if session_id is not None and session_id != upload.session_id:
        await deps.sessions.require_owner(session_id, bearer=bearer)
        if upload.session_id is not None:
            raise AlreadyLinked
    if not upload.is_confirmed:
        await _verify_and_confirm(deps, upload, session_id, source="client")
    return await _link_session(deps, caller, key, session_id)


async def get_upload(deps: Deps, caller: Identity, upload_id: UUID) -> Upload:
    """Return the caller's upload.

    Raises:
        UploadNotFound: If it does not exist or belongs to another user.
    """
    async with deps.db.read_only() as tx:
        return await store.get_upload(tx, upload_id, user_id=caller.user_id)


async def list_words(deps: Deps, caller: Identity, upload_id: UUID) -> list[TranscribedWord]:
    """Return the words of the caller's upload with their times, none before transcription."""
    async with deps.db.read_only() as tx:
        return await store.list_words(tx, upload_id, user_id=caller.user_id)


async def presign_playback(
    deps: Deps, caller: Identity, upload_id: UUID, *, endpoint_url: str | None
) -> str:
    """Return a presigned URL that plays the caller's recording.

    Raises:
        UploadNotFound: If it does not exist, is not confirmed or belongs to another user.
    """
    upload = await get_upload(deps, caller, upload_id)
    if not upload.is_confirmed:
        raise UploadNotFound
    return await deps.object_store.presign_get(
        upload.key, expires_seconds=PLAYBACK_URL_SECONDS, endpoint_url=endpoint_url
    )


async def sweep_unconfirmed_uploads(deps: Deps) -> int:
    """Check pending uploads that are due; return how many were due.

    An upload whose object has arrived is confirmed. One whose object does not match is rejected.
    One that has not arrived by its last check is marked as expired. Several replicas may run this
    at the same time: each due check is claimed by one of them.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await store.list_due_checks(tx, now, limit=_BATCH_SIZE)
    for upload, due_at in due:
        next_check_at = upload.next_check_at(now, deps.limits.sweep_interval)
        async with deps.db.transaction() as tx:
            retry_at = next_check_at or now + deps.limits.sweep_interval
            if not await store.claim_check(tx, upload, due_at=due_at, next_check_at=retry_at):
                continue
        try:
            await _verify_and_confirm(deps, upload, None, source="sweep")
        except Unavailable as error:
            log.warning("sweep.store_unavailable", reason=str(error))
            break
        except UploadNotFound:
            if next_check_at is None:
                await _close_upload(
                    deps, upload, UploadStatus.EXPIRED, "The recording was not uploaded in time."
                )
        except CoachError as error:
            log.info("upload.rejected", upload_id=str(upload.id), code=error.code)
    return len(due)


async def delete_objects(deps: Deps) -> int:
    """Delete due objects from storage; return how many deletions were attempted.

    A failed deletion is retried with backoff. Safe to repeat: deleting a missing object succeeds.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        deletions = await store.list_due_object_deletions(tx, now, limit=_BATCH_SIZE)
    for deletion in deletions:
        try:
            await deps.object_store.delete(deletion.key)
        except Unavailable:
            async with deps.db.transaction() as tx:
                await store.update_object_deletion(tx, deletion.retry(now))
            continue
        async with deps.db.transaction() as tx:
            if now >= deletion.final_attempt_at:
                await store.delete_object_deletion(tx, deletion.key)
            else:
                await store.update_object_deletion(tx, deletion.schedule_final_attempt())
    return len(deletions)


async def record_transcript(
    deps: Deps,
    upload_id: UUID,
    text: str,
    *,
    audio: AudioCoverage | None,
    words: Sequence[TranscribedWord],
    message: MessageContext,
) -> None:
    """Store the transcript of a recording with its word times. Applied once per message."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.record_transcript(tx, upload_id, text, audio=audio, words=words)


async def record_transcription_failure(
    deps: Deps, upload_id: UUID, reason: str, *, is_final: bool, message: MessageContext
) -> None:
    """Store why transcription failed. Applied once per message.

    `is_final` false means that transcription will be retried.
    """
    async with deps.db.transaction(deduplicate=message) as tx:
        status = UploadStatus.FAILED if is_final else UploadStatus.TRANSCRIBING
        await store.record_failure(tx, upload_id, status, reason)


async def delete_session_data(
    deps: Deps, session_id: UUID, user_id: UUID, keys: list[str], message: MessageContext
) -> None:
    """Delete the recordings of a deleted session. Applied once per message."""
    now = deps.clock()
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.add_tombstone(tx, session_id, at=now)
        uploads = await store.list_uploads_by_session(tx, session_id, keys=keys, user_id=user_id)
        await store.add_object_deletions(tx, uploads, now=now)
        await store.delete_uploads(tx, uploads)


async def delete_user_data(deps: Deps, user_id: UUID, message: MessageContext) -> None:
    """Delete all data of a deleted user. Applied once per message."""
    now = deps.clock()
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.add_tombstone(tx, user_id, at=now)
        uploads = await store.list_uploads_by_user(tx, user_id)
        await store.add_object_deletions(tx, uploads, now=now)
        await store.delete_uploads(tx, uploads)
        await store.delete_outbox_by_user(tx, user_id)


async def _verify_and_confirm(
    deps: Deps, upload: Upload, session_id: UUID | None, *, source: str
) -> None:
    """Verify the stored object, then confirm or reject the upload.

    `source` is `client` or `sweep`; it labels the metric.

    Raises:
        UploadNotFound: If nothing is stored under the key, or the upload has expired.
        UploadMismatch: If the object does not match the declared upload.
        PayloadTooLarge: If the object exceeds the limit.
    """
    if upload.status is UploadStatus.REJECTED:
        raise UploadMismatch(upload.reason or "The recording was rejected.")
    if upload.status is UploadStatus.EXPIRED:
        raise UploadNotFound
    try:
        first_bytes, stored = await deps.object_store.read_prefix(
            upload.key, length=MAGIC_BYTES_LENGTH
        )
    except NotFound:
        raise UploadNotFound from None
    try:
        validate_object(
            upload,
            size_bytes=stored.size_bytes,
            content_type=stored.content_type,
            first_bytes=first_bytes,
        )
    except CoachError as error:
        await _close_upload(deps, upload, UploadStatus.REJECTED, str(error))
        raise
    await _mark_confirmed(deps, upload, stored, session_id, source)


async def _mark_confirmed(
    deps: Deps, upload: Upload, stored: StoredObject, session_id: UUID | None, source: str
) -> None:
    linked_session_id = upload.session_id or session_id
    async with deps.db.transaction() as tx:
        if await store.is_deleted(tx, upload.user_id, linked_session_id):
            raise UploadNotFound
        # Client and sweep may confirm concurrently; only the one that updates the row emits.
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
                    session_id=linked_session_id,
                )
            )
            UPLOADS.labels(f"confirmed_by_{source}").inc()
            log.info("upload.confirmed", upload_id=str(upload.id), source=source)


async def _close_upload(deps: Deps, upload: Upload, status: UploadStatus, reason: str) -> None:
    now = deps.clock()
    async with deps.db.transaction() as tx:
        if await store.mark_closed(tx, upload, status, reason=reason):
            await store.add_object_deletions(tx, [upload], now=now)
            UPLOADS.labels(status.value).inc()


async def _link_session(deps: Deps, caller: Identity, key: str, session_id: UUID | None) -> Upload:
    """Return the current upload, linked to `session_id` if one is given."""
    async with deps.db.read_only() as tx:
        upload = await store.get_upload_by_key(tx, key, user_id=caller.user_id)
    if session_id is None or upload.session_id == session_id:
        return upload
    async with deps.db.transaction() as tx:
        if await store.is_deleted(tx, session_id):
            raise NotFound("Session not found", code="session_not_found")
        if not await store.mark_linked(tx, upload, session_id=session_id):
            raise AlreadyLinked
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
