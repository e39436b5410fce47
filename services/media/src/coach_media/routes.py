"""The routes of media: parse, call, shape."""

from typing import Annotated
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import BearerToken, CurrentUser, InjectDeps
from coach_common.ids import parse_id
from coach_media import use_cases
from coach_media.config import MediaSettings
from coach_media.deps import Deps
from coach_media.domain import PLAYBACK_URL_SECONDS, UPLOAD_URL_SECONDS, safe_public_host
from coach_media.schemas import (
    ConfirmUploadRequest,
    ConfirmUploadResponse,
    PlaybackUrlResponse,
    PresignedUploadResponse,
    PresignUploadRequest,
    UploadResponse,
)

router = APIRouter(prefix="/upload", tags=["upload"], route_class=RetryOnConflictRoute)


def _public_endpoint(request: Request) -> str | None:
    """Return the store's address as the phone reaches it, where the settings let it vary."""
    settings: MediaSettings = request.app.state.settings
    if not settings.presign_host_from_request or settings.s3_endpoint_url is None:
        return None
    store = urlsplit(settings.s3_endpoint_url)
    host = safe_public_host(request.headers.get("x-coach-public-host", ""))
    return urlunsplit(store._replace(netloc=f"{host}:{store.port}"))


def _session_id(text: str | None) -> UUID | None:
    return None if text is None else parse_id(text, resource="Session")


MediaDeps = Annotated[Deps, InjectDeps]
PublicEndpoint = Annotated[str | None, Depends(_public_endpoint)]


@router.post("/s3-presign", responses={404: {}})
async def presign_upload(
    body: PresignUploadRequest,
    caller: CurrentUser,
    bearer: BearerToken,
    deps: MediaDeps,
    endpoint: PublicEndpoint,
) -> PresignedUploadResponse:
    """Return a URL that takes one PUT of this recording, straight into the object store."""
    upload, url = await use_cases.presign_upload(
        deps,
        caller,
        content_type=body.content_type,
        extension=body.extension,
        size_bytes=body.size,
        session_id=_session_id(body.session_id),
        bearer=bearer,
        endpoint_url=endpoint,
    )
    return PresignedUploadResponse(
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
    """Say that the recording is there; the service looks at the object itself."""
    upload = await use_cases.confirm_upload(
        deps, caller, key=body.key, session_id=_session_id(body.session_id), bearer=bearer
    )
    return ConfirmUploadResponse.from_domain(upload)


@router.get("/{upload_id}")
async def get_upload(upload_id: str, caller: CurrentUser, deps: MediaDeps) -> UploadResponse:
    """Return one upload, with its transcript once there is one."""
    upload = await use_cases.get_upload(deps, caller, parse_id(upload_id, resource="Recording"))
    return UploadResponse.from_domain(upload)


@router.get("/{upload_id}/url")
async def get_playback_url(
    upload_id: str, caller: CurrentUser, deps: MediaDeps, endpoint: PublicEndpoint
) -> PlaybackUrlResponse:
    """Return a short-lived URL to play the recording back."""
    url = await use_cases.presign_playback(
        deps, caller, parse_id(upload_id, resource="Recording"), endpoint_url=endpoint
    )
    return PlaybackUrlResponse(url=url, expires_in=PLAYBACK_URL_SECONDS)
