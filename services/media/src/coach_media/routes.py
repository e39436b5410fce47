"""HTTP routes of the media service."""

from typing import Annotated
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import BearerToken, CurrentUser, inject_deps
from coach_common.ids import parse_id
from coach_media import retention, use_cases
from coach_media.deps import Deps
from coach_media.domain import PLAYBACK_URL_SECONDS, UPLOAD_URL_SECONDS, safe_public_host
from coach_media.schemas import (
    CheckLiveUploadRequest,
    ConfirmUploadRequest,
    ConfirmUploadResponse,
    LiveUploadResponse,
    PlaybackUrlResponse,
    PresignRequest,
    PresignResponse,
    RetentionRequest,
    RetentionResponse,
    SessionRecordingResponse,
    UploadResponse,
)

IncludeWords = Annotated[bool, Query(description="Include the words with their times.")]

router = APIRouter(prefix="/upload", tags=["upload"], route_class=RetryOnConflictRoute)
internal_router = APIRouter(prefix="/internal", include_in_schema=False)


MediaDeps = Annotated[Deps, inject_deps(Deps)]


async def _public_endpoint(request: Request, deps: MediaDeps) -> str | None:
    """Return the object storage URL for presigned URLs, or None to use the settings.

    With PRESIGN_HOST_FROM_REQUEST, its host is the private host of the client's request.
    """
    if deps.request_host_endpoint is None:
        return None
    storage = urlsplit(deps.request_host_endpoint)
    host = safe_public_host(request.headers.get("x-coach-public-host", ""))
    netloc = host if storage.port is None else f"{host}:{storage.port}"
    return urlunsplit(storage._replace(netloc=netloc))


internal_router = APIRouter(prefix="/internal", include_in_schema=False)


def _session_id(text: str | None) -> UUID | None:
    """Return the id in `text`, or None if it is missing or empty."""
    return parse_id(text, resource="Session") if text else None


PublicEndpoint = Annotated[str | None, Depends(_public_endpoint)]


@router.post("/s3-presign", responses={404: {}})
async def presign_upload(
    body: PresignRequest,
    caller: CurrentUser,
    bearer: BearerToken,
    deps: MediaDeps,
    endpoint: PublicEndpoint,
) -> PresignResponse:
    """Return a presigned URL for uploading a recording with HTTP PUT to object storage."""
    upload, url = await use_cases.presign_upload(
        deps,
        caller,
        content_type=body.content_type,
        extension=body.extension,
        size_bytes=body.size_bytes,
        session_id=_session_id(body.session_id),
        bearer=bearer,
        endpoint_url=endpoint,
    )
    return PresignResponse(
        url=url,
        key=upload.key,
        headers={"Content-Type": upload.content_type},
        expires_in=UPLOAD_URL_SECONDS,
        max_size=upload.max_bytes,
    )


@router.post("/confirm", responses={404: {}, 409: {}})
async def confirm_upload(
    body: ConfirmUploadRequest, caller: CurrentUser, bearer: BearerToken, deps: MediaDeps
) -> ConfirmUploadResponse:
    """Confirm that the upload has finished.

    The server verifies size and type of the stored file. May be repeated.
    """
    upload = await use_cases.confirm_upload(
        deps, caller, key=body.key, session_id=_session_id(body.session_id), bearer=bearer
    )
    return ConfirmUploadResponse.from_domain(upload)


@router.get("/retention")
async def get_retention(caller: CurrentUser, deps: MediaDeps) -> RetentionResponse:
    """Return how long the audio of the user's recordings is kept."""
    return RetentionResponse.from_domain(await retention.get_retention(deps, caller))


@router.put("/retention")
async def choose_retention(
    body: RetentionRequest, caller: CurrentUser, deps: MediaDeps
) -> RetentionResponse:
    """Choose how long the audio of all recordings is kept, earlier ones included.

    Transcripts and feedback stay. After a refusal of `storage`, audio is deleted
    `after_feedback`, and the choice counts once the consent is given.
    """
    return RetentionResponse.from_domain(await retention.choose_retention(deps, caller, body.audio))


@router.get("/{upload_id}")
async def get_upload(
    upload_id: str, caller: CurrentUser, deps: MediaDeps, words: IncludeWords = False
) -> UploadResponse:
    """Return an upload and, when available, its transcript. With `words=true`, also word times."""
    upload_uuid = parse_id(upload_id, resource="Recording")
    upload = await use_cases.get_upload(deps, caller, upload_uuid)
    spoken = await use_cases.list_words(deps, caller, upload_uuid) if words else None
    return UploadResponse.from_domain(upload, spoken)


@router.get("/{upload_id}/url")
async def get_playback_url(
    upload_id: str, caller: CurrentUser, deps: MediaDeps, endpoint: PublicEndpoint
) -> PlaybackUrlResponse:
    """Return a presigned URL for playback (valid 5 minutes)."""
    url = await use_cases.presign_playback(
        deps, caller, parse_id(upload_id, resource="Recording"), endpoint_url=endpoint
    )
    return PlaybackUrlResponse(url=url, expires_in=PLAYBACK_URL_SECONDS)


@internal_router.post("/uploads/check")
async def check_live_upload(
    body: CheckLiveUploadRequest, caller: CurrentUser, deps: MediaDeps
) -> LiveUploadResponse:
    """Return the upload that a live recording continues. For the gateway."""
    upload = await use_cases.check_live_upload(
        deps,
        caller,
        key=body.key,
        content_type=body.content_type,
        session_id=_session_id(body.session_id),
    )
    return LiveUploadResponse.from_domain(upload)


@internal_router.get("/sessions/{session_id}/recording")
async def find_session_recording(
    session_id: str, caller: CurrentUser, deps: MediaDeps
) -> SessionRecordingResponse:
    """Return the first uploaded recording of the caller's session. For the sessions service."""
    key = await use_cases.find_session_recording(
        deps, caller, parse_id(session_id, resource="Session")
    )
    return SessionRecordingResponse(key=key)
