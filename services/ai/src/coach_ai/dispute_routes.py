"""The HTTP route of disputes. ai answers it because it stores what was scored."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints

from coach_ai.deps import Deps
from coach_ai.domain.disputes import MAX_REASON_CHARACTERS
from coach_ai.domain.rewrites import SessionNotFound
from coach_ai.use_cases import disputes
from coach_common.events.feedback import DisputeView
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.dependencies import CurrentUser, inject_deps
from coach_common.ids import parse_id

router = APIRouter(prefix="/sessions", tags=["sessions"], route_class=RetryOnConflictRoute)

AiDeps = Annotated[Deps, inject_deps(Deps)]


class DisputeRequest(BaseModel):
    """Why the user doubts the score. The second scoring does not see it."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"reason": "I did name the result."}]},
    )

    reason: (
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_REASON_CHARACTERS)]
        | None
    ) = None


@router.post("/{session_id}/dispute", status_code=202, responses={409: {}})
async def dispute_score(
    session_id: str, caller: CurrentUser, deps: AiDeps, body: DisputeRequest | None = None
) -> DisputeView:
    """Dispute the score of a session. The answer is scored again, once per session.

    `GET /sessions/{id}/feedback` shows the result as `dispute`. The first score stays.
    409 `already_disputed`: a dispute is running or has finished. 409 `feedback_pending`: there is
    no feedback yet. 422 `answer_not_scored`: there is no score.
    """
    parsed = parse_id(session_id, not_found=SessionNotFound)
    reason = None if body is None else body.reason or None
    return await disputes.dispute_score(deps, caller, parsed, reason=reason)
