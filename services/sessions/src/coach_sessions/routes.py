"""The routes of sessions."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from coach_common.events.feedback import FeedbackView
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.cursor import decode_cursor
from coach_common.http.dependencies import BearerToken, CurrentUser, inject_deps
from coach_common.http.receipts import RECEIPT_LOCATION, receipt_path
from coach_common.ids import parse_id
from coach_sessions import progress_use_cases, use_cases
from coach_sessions.attempt_schemas import ATTEMPTS_CURSOR_NAME, AttemptPage
from coach_sessions.deps import Deps
from coach_sessions.domain import Status
from coach_sessions.kind import SessionKind
from coach_sessions.presentation import build_feedback_view
from coach_sessions.progress import parse_time_zone
from coach_sessions.progress_schemas import Progress, SelfRating, SelfRatingRequest
from coach_sessions.schemas import (
    CURSOR_NAME,
    MAX_DURATION_SECONDS,
    CompleteSessionRequest,
    CreateSessionRequest,
    Session,
    SessionPage,
)

router = APIRouter(prefix="/sessions", tags=["sessions"], route_class=RetryOnConflictRoute)
progress_router = APIRouter(tags=["progress"])

SessionsDeps = Annotated[Deps, inject_deps(Deps)]

_RETRY_AFTER_SECONDS = {
    Status.NOT_COMPLETED: 30,
    Status.WAITING_FOR_RECORDING: 30,
    Status.TRANSCRIBING: 3,
    Status.SCORING: 3,
}


@router.post("", status_code=201, responses={404: {}})
async def create_session(
    body: CreateSessionRequest, caller: CurrentUser, bearer: BearerToken, deps: SessionsDeps
) -> Session:
    """Create a practice session.

    With `question_id`, the expected points of that question are checked when the answer is scored.
    """
    session = await use_cases.create_session(
        deps,
        caller,
        title=body.title,
        question=body.question or None,
        question_id=body.question_id or None,
        seniority=body.seniority or None,
        role=body.role or None,
        bearer=bearer,
    )
    return Session.from_domain(session)


@router.get("")
async def list_sessions(
    caller: CurrentUser,
    deps: SessionsDeps,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
    kind: Annotated[SessionKind | None, Query(description="null lists all kinds")] = None,
) -> SessionPage:
    """List sessions and interviews, newest first, with statistics over all of them."""
    position = (
        None if cursor is None else decode_cursor(cursor, caller.user_id, list_name=CURSOR_NAME)
    )
    page = await use_cases.list_sessions(deps, caller, limit=limit, position=position, kind=kind)
    return SessionPage.from_domain(page, caller.user_id)


@router.get("/{session_id}")
async def get_session(session_id: str, caller: CurrentUser, deps: SessionsDeps) -> Session:
    """Return one session. Of an interview, `GET /ai-interview/sessions/{id}` has the turns."""
    session = await use_cases.get_session(deps, caller, parse_id(session_id, resource="Session"))
    return Session.from_domain(session)


@router.post("/{session_id}/complete", responses={409: {}})
async def complete_session(
    session_id: str,
    caller: CurrentUser,
    bearer: BearerToken,
    deps: SessionsDeps,
    body: CompleteSessionRequest | None = None,
    duration_seconds: Annotated[
        float | None,
        Query(
            ge=0,
            le=MAX_DURATION_SECONDS,
            allow_inf_nan=False,
            description="a fraction is rounded",
        ),
    ] = None,
) -> Session:
    """Mark the session as completed and request feedback.

    May be called before the recording has been uploaded and may be repeated. Values in the body
    override the query parameter.
    """
    completion = body or CompleteSessionRequest()
    if completion.duration_seconds is not None:
        seconds: int | None = completion.duration_seconds
    else:
        seconds = None if duration_seconds is None else round(duration_seconds)
    session = await use_cases.complete_session(
        deps,
        caller,
        parse_id(session_id, resource="Session"),
        duration_seconds=seconds,
        transcript=completion.transcript or None,
        audio_s3_key=completion.audio_s3_key or None,
        bearer=bearer,
    )
    return Session.from_domain(session)


@router.get("/{session_id}/feedback", responses={409: {}})
async def get_feedback(
    session_id: str, caller: CurrentUser, deps: SessionsDeps, response: Response
) -> FeedbackView:
    """Return the feedback in its current state. An interview has none (409 `is_interview`).

    While `status` is not `ready` or `failed`, `Retry-After` gives the polling interval.
    """
    session = await use_cases.get_session(deps, caller, parse_id(session_id, resource="Session"))
    session.require_practice()
    if not session.status.is_final:
        response.headers["retry-after"] = str(_RETRY_AFTER_SECONDS[session.status])
    return build_feedback_view(session)


@router.get("/{session_id}/attempts", responses={409: {}})
async def list_attempts(
    session_id: str,
    caller: CurrentUser,
    deps: SessionsDeps,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> AttemptPage:
    """List the user's attempts at the question of this session, newest first.

    Each attempt states what changed since the scored attempt before it.
    """
    position = (
        None
        if cursor is None
        else decode_cursor(cursor, caller.user_id, list_name=ATTEMPTS_CURSOR_NAME)
    )
    page = await progress_use_cases.list_attempts(
        deps, caller, parse_id(session_id, resource="Session"), limit=limit, position=position
    )
    return AttemptPage.from_domain(page, caller.user_id)


@router.put("/{session_id}/self-rating", responses={404: {}, 409: {}})
async def rate_session(
    session_id: str, body: SelfRatingRequest, caller: CurrentUser, deps: SessionsDeps
) -> SelfRating:
    """Rate the own answer before its score was shown.

    After the first response with the score of a ready session this returns 409
    `feedback_revealed`. Until then a new rating replaces the one before.
    """
    session = await progress_use_cases.rate_session(
        deps, caller, parse_id(session_id, resource="Session"), body.rating
    )
    return SelfRating.from_domain(session)


@router.delete("/{session_id}", status_code=204, responses={204: RECEIPT_LOCATION})
async def delete_session(
    session_id: str, caller: CurrentUser, deps: SessionsDeps, response: Response
) -> None:
    """Delete a session or interview with its recordings, transcripts and feedback.

    `Location` names the receipt, which shows when each service has deleted its data.
    """
    receipt_id = await use_cases.delete_session(
        deps, caller, parse_id(session_id, resource="Session")
    )
    response.headers["location"] = receipt_path(receipt_id)


@progress_router.get("/progress")
async def get_progress(
    caller: CurrentUser,
    deps: SessionsDeps,
    tz: Annotated[
        str, Query(max_length=64, description="IANA name of the time zone of streak days")
    ] = "UTC",
) -> Progress:
    """Return trends, practice, streak, self-assessment, recurring weaknesses and the next drill."""
    found = await progress_use_cases.get_progress(deps, caller, parse_time_zone(tz))
    return Progress.from_domain(found, tz)
