"""The HTTP routes of the profile."""

from typing import Annotated

from fastapi import APIRouter, Response

from coach_ai.deps import Deps
from coach_ai.profile_schemas import ProfileRequest, ProfileResponse
from coach_ai.use_cases import profile
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import CurrentUser, inject_deps

router = APIRouter(
    prefix="/ai-interview/profile", tags=["profile"], route_class=RetryOnConflictRoute
)

AiDeps = Annotated[Deps, inject_deps(Deps)]


@router.get("")
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


@router.put("")
async def replace_profile(
    body: ProfileRequest, caller: CurrentUser, deps: AiDeps
) -> ProfileResponse:
    """Replace the caller's profile. Omitted fields become empty."""
    stored = await profile.replace_profile(deps, caller, body.to_domain())
    return ProfileResponse.from_domain(stored)


@router.delete("", status_code=204)
async def delete_profile(caller: CurrentUser, deps: AiDeps) -> Response:
    """Delete the caller's profile."""
    await profile.delete_profile(deps, caller)
    return Response(status_code=204)
