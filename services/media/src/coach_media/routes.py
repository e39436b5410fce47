"""The routes of media: parse, call, shape."""

from typing import Annotated
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from coach_common.http.app import RetryingRoute
from coach_common.http.caller import BearerToken, Caller, FromApp
from coach_common.ids import parse_id
from coach_media import use_cases
from coach_media.config import MediaSettings
from coach_media.deps import Deps
from coach_media.domain import PLAYBACK_SECONDS, URL_SECONDS, public_host
from coach_media.schemas import (
    Announcement,
    Confirmation,
    Confirmed,
    Place,
    Playback,
    UploadOut,
)

router = APIRouter(prefix="/upload", tags=["upload"], route_class=RetryingRoute)


def _endpoint(request: Request) -> str | None:
    """Return the store's address as the phone reaches it, where the settings let it vary."""
    settings: MediaSettings = request.app.state.settings
    if not settings.presign_host_from_request or settings.s3_endpoint_url is None:
        return None
    store = urlsplit(settings.s3_endpoint_url)
    host = public_host(request.headers.get("x-coach-public-host", ""))
    return urlunsplit(store._replace(netloc=f"{host}:{store.port}"))


def _session_id(text: str | None) -> UUID | None:
    return None if text is None else parse_id(text, what="Session")


MediaDeps = Annotated[Deps, FromApp]
Endpoint = Annotated[str | None, Depends(_endpoint)]


@router.post("/s3-presign", responses={404: {}})
async def presign(
    body: Announcement, caller: Caller, bearer: BearerToken, deps: MediaDeps, endpoint: Endpoint
) -> Place:
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
    return Place(
        url=url,
        key=upload.key,
        headers={"Content-Type": upload.content_type},
        expires_in=URL_SECONDS,
        max_size=upload.max_bytes,
    )


@router.post("/confirm", responses={404: {}, 409: {}})
async def confirm(
    body: Confirmation, caller: Caller, bearer: BearerToken, deps: MediaDeps
) -> Confirmed:
    """Say that the recording is there; the service looks at the object itself."""
    upload = await use_cases.confirm_upload(
        deps, caller, key=body.key, session_id=_session_id(body.session_id), bearer=bearer
    )
    return Confirmed.of(upload)


@router.get("/{upload_id}")
async def get_upload(upload_id: str, caller: Caller, deps: MediaDeps) -> UploadOut:
    """Return one upload, with its transcript once there is one."""
    upload = await use_cases.get_upload(deps, caller, parse_id(upload_id, what="Recording"))
    return UploadOut.of(upload)


@router.get("/{upload_id}/url")
async def get_playback_url(
    upload_id: str, caller: Caller, deps: MediaDeps, endpoint: Endpoint
) -> Playback:
    """Return a short-lived URL to play the recording back."""
    url = await use_cases.presign_playback(
        deps, caller, parse_id(upload_id, what="Recording"), endpoint_url=endpoint
    )
    return Playback(url=url, expires_in=PLAYBACK_SECONDS)
