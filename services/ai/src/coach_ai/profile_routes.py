"""The HTTP routes of the profile."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from coach_ai.deps import Deps
from coach_ai.profile.document_parser import MAX_DOCUMENT_BYTES, MEDIA_TYPES
from coach_ai.profile_schemas import (
    JobMatchResponse,
    ProfileIndexResponse,
    ProfileRequest,
    ProfileResponse,
    ResumeResponse,
)
from coach_ai.use_cases import profile, profile_matching
from coach_common.errors import PayloadTooLarge
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import CurrentUser, inject_deps

router = APIRouter(
    prefix="/ai-interview/profile", tags=["profile"], route_class=RetryOnConflictRoute
)

AiDeps = Annotated[Deps, inject_deps(Deps)]

_FILE_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in MEDIA_TYPES
    },
}


async def _read_document(request: Request) -> bytes:
    """Return the request body. Raises PayloadTooLarge if it exceeds MAX_DOCUMENT_BYTES.

    It is kept for a repetition of the route, because a stream can be read once.
    """
    content: bytes | None = getattr(request.state, "document", None)
    if content is None:
        content = b""
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAX_DOCUMENT_BYTES:
                limit = MAX_DOCUMENT_BYTES // 1024**2
                raise PayloadTooLarge(f"A document may have up to {limit} MiB.")
        request.state.document = content
    return content


DocumentBody = Annotated[bytes, Depends(_read_document)]


@router.get("", responses={404: {}})
async def get_profile(caller: CurrentUser, deps: AiDeps) -> ProfileResponse:
    """Return the caller's profile."""
    return ProfileResponse.from_domain(await profile.get_profile(deps, caller))


@router.post("", status_code=201, responses={409: {}})
async def create_profile(
    body: ProfileRequest, caller: CurrentUser, deps: AiDeps
) -> ProfileResponse:
    """Create the caller's profile."""
    stored = await profile.create_profile(deps, caller, body.to_domain())
    return ProfileResponse.from_domain(stored)


@router.put("", responses={404: {}})
async def replace_profile(
    body: ProfileRequest, caller: CurrentUser, deps: AiDeps
) -> ProfileResponse:
    """Replace the caller's profile. Omitted fields become empty."""
    stored = await profile.replace_profile(deps, caller, body.to_domain())
    return ProfileResponse.from_domain(stored)


@router.delete("", status_code=204, responses={404: {}})
async def delete_profile(caller: CurrentUser, deps: AiDeps) -> Response:
    """Delete the caller's profile."""
    await profile.delete_profile(deps, caller)
    return Response(status_code=204)


@router.post("/resume", responses={413: {}}, openapi_extra={"requestBody": _FILE_BODY})
async def upload_resume(
    content: DocumentBody, request: Request, caller: CurrentUser, deps: AiDeps
) -> ResumeResponse:
    """Store the text of a PDF or DOCX file as the résumé of the profile.

    Without a profile this creates one. The file is the request body, of at most 4 MiB and 20 pages.
    It is not stored. 422 `document_rejected` names what is wrong with a file.
    """
    content_type = request.headers.get("content-type", "")
    stored, document = await profile.store_resume(deps, caller, content_type, content)
    return ResumeResponse.from_domain(stored, document)


@router.post("/index", responses={404: {}})
async def index_profile(caller: CurrentUser, deps: AiDeps) -> ProfileIndexResponse:
    """Compute and store the embeddings of the résumé and the job description.

    A repeated call changes nothing while the texts are the same.
    """
    return ProfileIndexResponse.from_domain(await profile_matching.index_profile(deps, caller))


@router.get("/match", responses={404: {}, 409: {}})
async def match_job(caller: CurrentUser, deps: AiDeps) -> JobMatchResponse:
    """Return which requirements of the job description the résumé and answers show, and where.

    A requirement without a similar sentence is `not_shown`. 409 `job_description_missing` without
    a job description.
    """
    return JobMatchResponse.from_domain(await profile_matching.match_job(deps, caller))
