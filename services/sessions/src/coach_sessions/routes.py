"""The routes of sessions: parse, call, shape."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from coach_common.http.app import RetryingRoute
from coach_common.http.caller import Caller, FromApp
from coach_common.http.cursor import read_cursor
from coach_common.ids import parse_id
from coach_sessions import use_cases
from coach_sessions.deps import Deps
from coach_sessions.domain import Status
from coach_sessions.schemas import (
    CURSOR,
    MAX_SECONDS,
    Completion,
    FeedbackOut,
    NewSession,
    SessionOut,
    SessionsOut,
)

router = APIRouter(prefix="/sessions", tags=["sessions"], route_class=RetryingRoute)

SessionsDeps = Annotated[Deps, FromApp]

_RETRY_AFTER_SECONDS = {
    Status.NOT_COMPLETED: 30,
    Status.WAITING_FOR_RECORDING: 30,
    Status.TRANSCRIBING: 3,
    Status.SCORING: 3,
}


@router.post("", status_code=201)
async def create_session(body: NewSession, caller: Caller, deps: SessionsDeps) -> SessionOut:
    """Open an interview session."""
    session = await use_cases.create_session(
        deps, caller, title=body.title, question=body.question or None
    )
    return SessionOut.of(session)


@router.get("")
async def list_sessions(
    caller: Caller,
    deps: SessionsDeps,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> SessionsOut:
    """List the caller's sessions, newest first, with statistics over all of them."""
    before = None if cursor is None else read_cursor(cursor, caller.user_id, of=CURSOR)
    page = await use_cases.list_sessions(deps, caller, limit=limit, before=before)
    return SessionsOut.of(page, caller.user_id)


@router.get("/{session_id}")
async def get_session(session_id: str, caller: Caller, deps: SessionsDeps) -> SessionOut:
    """Return one session."""
    session = await use_cases.get_session(deps, caller, parse_id(session_id, what="Session"))
    return SessionOut.of(session)


@router.post("/{session_id}/complete")
async def complete_session(
    session_id: str,
    caller: Caller,
    deps: SessionsDeps,
    body: Completion | None = None,
    duration_seconds: Annotated[int | None, Query(ge=0, le=MAX_SECONDS)] = None,
) -> SessionOut:
    """Say that the answer is given; the feedback follows, whatever arrives first.

    Where the query and the body disagree, the body wins.
    """
    said = body or Completion()
    session = await use_cases.complete_session(
        deps,
        caller,
        parse_id(session_id, what="Session"),
        duration_seconds=duration_seconds
        if said.duration_seconds is None
        else said.duration_seconds,
        transcript=said.transcript or None,
        audio_s3_key=said.audio_s3_key or None,
    )
    return SessionOut.of(session)


@router.get("/{session_id}/feedback")
async def get_feedback(
    session_id: str, caller: Caller, deps: SessionsDeps, response: Response
) -> FeedbackOut:
    """Return the feedback, whatever its state; `Retry-After` says when to look again."""
    session = await use_cases.get_session(deps, caller, parse_id(session_id, what="Session"))
    if not session.status.is_final:
        response.headers["retry-after"] = str(_RETRY_AFTER_SECONDS[session.status])
    return FeedbackOut.model_validate(session.feedback_shown())


@router.delete("/{session_id}", status_code=204)
async def delete_session(session_id: str, caller: Caller, deps: SessionsDeps) -> None:
    """Remove a session, its recording and its transcript."""
    await use_cases.delete_session(deps, caller, parse_id(session_id, what="Session"))
