"""Use cases of the media service: presign, confirm, play back and delete recordings."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client import Counter

from coach_common import logs
from coach_common.db.transaction import MessageContext, Transaction
from coach_common.errors import CoachError, NotFound, PayloadTooLarge, TooManyRequests, Unavailable
from coach_common.events.catalog import UploadLinked
from coach_common.events.feedback import AudioCoverage, TranscribedWord
from coach_common.identity import Identity
from coach_common.ids import new_id
from coach_common.recordings import MAGIC_BYTES_LENGTH
from coach_media import deletion_store, store
from coach_media.audio_retention import audio_deletion_time
from coach_media.deps import Deps
from coach_media.domain import (
    MAX_UPLOADS_PER_SESSION,
    PLAYBACK_URL_SECONDS,
    REJECTED_OBJECT_RETENTION,
    UPLOAD_URL_SECONDS,
    AlreadyLinked,
    AudioDeleted,
    EmptyRecording,
    RecordingTooLarge,
    TooManyRecordings,
    Upload,
    UploadNotFound,
    UploadStatus,
    build_object_key,
    format_size,
    normalize_extension,
    parse_media_type,
    validate_object,
)
from coach_media.publishing import build_confirmation
from coach_media.retention import find_rule

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
        TooManyRecordings: If the session has the maximum number of recordings.
    """
    name = parse_media_type(content_type)
    extension = normalize_extension(name, extension)
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
        await store.lock_uploader(tx, caller.user_id)
        if await store.is_deleted(tx, caller.user_id, session_id):
            raise NotFound("Session not found", code="session_not_found")
        if await store.count_pending(tx, caller.user_id) >= limits.max_pending_uploads:
            raise TooManyRequests(
                "Too many uploads are pending. Please wait until they finish.",
                retry_after_seconds=60,
            )
        if session_id is not None:
            await _check_session_limit(tx, caller.user_id, session_id)
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
        TooManyRecordings: If the session has the maximum number of recordings.
        CoachError: One of `REJECTIONS`. A repeated call raises the same error.
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


async def check_live_upload(
    deps: Deps, caller: Identity, *, key: str, content_type: str, session_id: UUID | None
) -> Upload:
    """Return the caller's upload that a live recording continues. Its status may be any.

    Raises:
        UploadNotFound: If the key is unknown, expired or belongs to another user.
        CoachError: If the upload was rejected, the error that rejected it.
        NotLiveUpload: If the upload was not prepared for this media type.
        AlreadyLinked: If the upload is linked to another session.
    """
    async with deps.db.read_only() as tx:
        upload = await store.get_upload_by_key(tx, key, user_id=caller.user_id)
    upload.require_live(content_type, session_id)
    return upload


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


async def find_session_recording(deps: Deps, caller: Identity, session_id: UUID) -> str | None:
    """Return the key of the first uploaded recording of the caller's session, or None.

    A recording that is stored and not confirmed yet is confirmed first.

    Raises:
        Unavailable: If storage cannot be reached.
    """
    async with deps.db.read_only() as tx:
        uploads = await store.list_uploads_by_session(
            tx, session_id, keys=(), user_id=caller.user_id
        )
    for upload in sorted(uploads, key=lambda one: one.id):
        if upload.is_confirmed:
            return upload.key
        try:
            await _verify_and_confirm(deps, upload, None, source="session")
        except Unavailable:
            raise
        except CoachError:
            continue
        return upload.key
    return None


async def presign_playback(
    deps: Deps, caller: Identity, upload_id: UUID, *, endpoint_url: str | None
) -> str:
    """Return a presigned URL that plays the caller's recording.

    Raises:
        UploadNotFound: If it does not exist, is not confirmed or belongs to another user.
        AudioDeleted: If the user's retention has deleted the audio.
    """
    upload = await get_upload(deps, caller, upload_id)
    if not upload.is_confirmed:
        raise UploadNotFound
    if upload.audio_deleted_at is not None:
        raise AudioDeleted
    return await deps.object_store.presign_get(
        upload.key, expires_seconds=PLAYBACK_URL_SECONDS, endpoint_url=endpoint_url
    )


async def sweep_unconfirmed_uploads(deps: Deps) -> int:
    """Check uploads that are due; return how many were due.

    A pending upload whose object has arrived is confirmed. One whose object is no recording is
    rejected. One that has not arrived by its last check is marked as expired. An object that
    replaced a confirmed one is deleted. Several replicas may run this at the same time: each due
    check is claimed by one of them.
    """
    now = deps.clock()
    async with deps.db.read_only() as tx:
        due = await store.list_due_checks(
            tx, now, sweep_interval=deps.limits.sweep_interval, limit=_BATCH_SIZE
        )
    for upload, due_at in due:
        next_check_at = upload.next_check_at(now, deps.limits.sweep_interval, due_at=due_at)
        async with deps.db.transaction() as tx:
            retry_at = next_check_at or now + deps.limits.sweep_interval
            if not await store.claim_check(tx, upload, due_at=due_at, next_check_at=retry_at):
                continue
        try:
            if upload.is_confirmed:
                await _delete_replaced_object(deps, upload)
                async with deps.db.transaction() as tx:
                    await store.claim_check(tx, upload, due_at=retry_at, next_check_at=None)
            else:
                await _verify_and_confirm(deps, upload, None, source="sweep")
        except Unavailable as error:
            log.warning("sweep.store_unavailable", reason=str(error))
            break
        except UploadNotFound:
            if next_check_at is None:
                await _close_upload(
                    deps,
                    upload,
                    UploadStatus.EXPIRED,
                    "The recording was not uploaded in time.",
                    due_at=now,
                )
        except CoachError as error:
            log.info("upload.rejected", upload_id=str(upload.id), code=error.code)
    return len(due)


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


async def mark_transcribing(deps: Deps, upload_id: UUID, message: MessageContext) -> None:
    """Store that transcription has started. Applied once per message."""
    async with deps.db.transaction(deduplicate=message) as tx:
        await store.mark_transcribing(tx, upload_id)


async def record_transcription_failure(
    deps: Deps, upload_id: UUID, reason: str, *, is_final: bool, message: MessageContext
) -> None:
    """Store why transcription failed, once per message. If not `is_final`, it is retried."""
    async with deps.db.transaction(deduplicate=message) as tx:
        status = UploadStatus.FAILED if is_final else UploadStatus.TRANSCRIBING
        await store.record_failure(tx, upload_id, status, reason)


async def _verify_and_confirm(
    deps: Deps, upload: Upload, session_id: UUID | None, *, source: str
) -> None:
    """Verify the stored object, then confirm or reject the upload.

    `source` is `client` or `sweep`; it labels the metric.

    Raises:
        UploadNotFound: If nothing is stored under the key, or the upload has expired.
        TooManyRecordings: If the session has the maximum number of recordings.
        CoachError: One of `REJECTIONS`.
    """
    if upload.status is UploadStatus.REJECTED:
        raise upload.rejection
    if upload.status is UploadStatus.EXPIRED:
        raise UploadNotFound
    try:
        first_bytes, stored = await deps.object_store.read_prefix(
            upload.key, length=MAGIC_BYTES_LENGTH
        )
    except NotFound:
        raise UploadNotFound from None
    if not stored.etag:
        raise Unavailable("The recording is still being stored. Please try again.")
    try:
        content_type = validate_object(
            upload, size_bytes=stored.size_bytes, first_bytes=first_bytes
        )
    except CoachError as error:
        await _reject(deps, upload, error)
        raise
    confirmed = replace(
        upload,
        content_type=content_type,
        size_bytes=stored.size_bytes,
        etag=stored.etag,
        confirmed_at=deps.clock(),
    )
    await _mark_confirmed(deps, confirmed, session_id, source)


async def _mark_confirmed(deps: Deps, upload: Upload, session_id: UUID | None, source: str) -> None:
    linked_session_id = upload.session_id or session_id
    async with deps.db.transaction() as tx:
        if session_id is not None and upload.session_id is None:
            await store.lock_uploader(tx, upload.user_id)
            await _check_session_limit(tx, upload.user_id, session_id)
        # Client and sweep may confirm concurrently; only the one that updates the row emits.
        if await store.mark_confirmed(
            tx,
            upload,
            session_id=session_id,
            repair_after=deps.clock() + deps.repair_delay,
            audio_delete_at=audio_deletion_time(
                (await find_rule(deps, tx, upload.user_id)).effective,
                confirmed_at=upload.confirmed_at or deps.clock(),
                feedback_at=None,
            ),
        ):
            await tx.emit(build_confirmation(replace(upload, session_id=linked_session_id)))
            UPLOADS.labels(f"confirmed_by_{source}").inc()
            log.info("upload.confirmed", upload_id=str(upload.id), source=source)
        if await store.is_deleted(tx, upload.user_id, linked_session_id):
            raise UploadNotFound


async def _reject(deps: Deps, upload: Upload, error: CoachError) -> None:
    """Reject the upload. Its object may be the only copy, so it is kept for a day."""
    is_worthless = isinstance(error, RecordingTooLarge | EmptyRecording)
    retention = timedelta() if is_worthless else REJECTED_OBJECT_RETENTION
    await _close_upload(
        deps,
        upload,
        UploadStatus.REJECTED,
        str(error),
        due_at=deps.clock() + retention,
        rejection_code=error.code,
    )


async def _close_upload(
    deps: Deps,
    upload: Upload,
    status: UploadStatus,
    reason: str,
    *,
    due_at: datetime,
    rejection_code: str | None = None,
) -> None:
    async with deps.db.transaction() as tx:
        if await store.mark_closed(
            tx, upload, status, reason=reason, rejection_code=rejection_code
        ):
            await deletion_store.add_object_deletions(tx, [upload], due_at=due_at)
            UPLOADS.labels(status.value).inc()


async def _delete_replaced_object(deps: Deps, upload: Upload) -> None:
    """Delete the object of a confirmed upload if it is not the one that was confirmed.

    The upload URL can store another object until it expires. Signing `If-None-Match` would
    prevent it, but clients that send only the content type could not upload any more.
    """
    try:
        stored = await deps.object_store.head(upload.key)
    except NotFound:
        return
    if stored.etag in ("", upload.etag):
        return
    async with deps.db.transaction() as tx:
        await deletion_store.add_object_deletions(tx, [upload], due_at=deps.clock())
    UPLOADS.labels("replaced").inc()
    log.warning("upload.replaced_object_deleted", upload_id=str(upload.id))


async def _check_session_limit(tx: Transaction, user_id: UUID, session_id: UUID) -> None:
    if await store.count_session_uploads(tx, user_id, session_id) >= MAX_UPLOADS_PER_SESSION:
        raise TooManyRecordings


async def _link_session(deps: Deps, caller: Identity, key: str, session_id: UUID | None) -> Upload:
    """Return the current upload, linked to `session_id` if one is given."""
    async with deps.db.read_only() as tx:
        upload = await store.get_upload_by_key(tx, key, user_id=caller.user_id)
    if session_id is None or upload.session_id == session_id:
        return upload
    async with deps.db.transaction() as tx:
        await store.lock_uploader(tx, caller.user_id)
        if await store.is_deleted(tx, session_id):
            raise NotFound("Session not found", code="session_not_found")
        await _check_session_limit(tx, caller.user_id, session_id)
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
