"""The HTTP route of rewrites. ai answers it because it stores the text that was scored."""

from typing import Annotated

from fastapi import APIRouter

from coach_ai.deps import Deps
from coach_ai.domain.rewrites import SessionNotFound
from coach_ai.rewrite_schemas import RewriteResponse
from coach_ai.use_cases import rewrites
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import CurrentUser, inject_deps
from coach_common.ids import parse_id

router = APIRouter(prefix="/sessions", tags=["sessions"], route_class=RetryOnConflictRoute)

AiDeps = Annotated[Deps, inject_deps(Deps)]


@router.post("/{session_id}/rewrite", responses={409: {}})
async def rewrite_answer(session_id: str, caller: CurrentUser, deps: AiDeps) -> RewriteResponse:
    """Return a stronger version of the caller's own answer.

    It contains only what the answer contains. What is missing is a blank in brackets. A repeated
    call returns the stored version. 409 `feedback_pending`: the session has no feedback yet. 422
    `answer_not_scored`: its answer could not be scored.
    """
    parsed = parse_id(session_id, not_found=SessionNotFound)
    return RewriteResponse.from_domain(parsed, await rewrites.rewrite_answer(deps, caller, parsed))
