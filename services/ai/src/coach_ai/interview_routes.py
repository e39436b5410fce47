"""The HTTP routes of interviews."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from coach_ai.deps import Deps
from coach_ai.interview_dialogue_schemas import InterruptionRequest, InterruptionResponse
from coach_ai.interview_schemas import (
    INTERVIEW_LIST_NAME,
    InterviewAnalysis,
    InterviewAssessment,
    InterviewDetailsResponse,
    InterviewMessageRequest,
    InterviewMessageResponse,
    InterviewPageResponse,
    StartInterviewRequest,
    StartInterviewResponse,
)
from coach_ai.store.interviews import InterviewNotFound
from coach_ai.use_cases import interview_interruptions, interview_turns, interviews
from coach_ai.voice_routes import build_audio_path, build_silence_prompt
from coach_common.http.app import RetryOnConflictRoute
from coach_common.http.cursor import decode_cursor
from coach_common.http.dependencies import CurrentUser, inject_deps
from coach_common.http.receipts import RECEIPT_LOCATION, receipt_path
from coach_common.ids import parse_id

router = APIRouter(
    prefix="/ai-interview/sessions", tags=["interviews"], route_class=RetryOnConflictRoute
)

AiDeps = Annotated[Deps, inject_deps(Deps)]
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=128, description="the same key and message make one turn"),
]


@router.post("", status_code=201)
async def start_interview(
    body: StartInterviewRequest, caller: CurrentUser, deps: AiDeps
) -> StartInterviewResponse:
    """Start an interview. The response contains the interviewer's first question."""
    interview, opening = await interviews.start_interview(deps, caller, body.to_domain())
    return StartInterviewResponse(
        session_id=interview.id,
        message="The interview has started.",
        response=opening.response,
        status=interview.status,
        question_count=interview.question_number,
        turn_number=opening.number,
        ai_audio_url=build_audio_path(deps, interview.id, opening.number),
        silence_prompt=build_silence_prompt(deps, interview, opening),
    )


@router.get("")
async def list_interviews(
    caller: CurrentUser,
    deps: AiDeps,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> InterviewPageResponse:
    """List the caller's interviews, newest first."""
    before = None
    if cursor is not None:
        _, before = decode_cursor(cursor, caller.user_id, list_name=INTERVIEW_LIST_NAME)
    page = await interviews.list_interviews(deps, caller, limit=limit, before=before)
    return InterviewPageResponse.from_domain(page, caller.user_id)


@router.get("/{session_id}")
async def get_interview(
    session_id: str, caller: CurrentUser, deps: AiDeps
) -> InterviewDetailsResponse:
    """Return an interview with all turns and, once it is completed, its plan and assessment."""
    details = await interviews.get_interview(deps, caller, _parse_interview_id(session_id))
    return InterviewDetailsResponse.from_details(details, now=deps.clock())


@router.post("/{session_id}/message", responses={409: {}})
async def send_interview_message(
    session_id: str,
    body: InterviewMessageRequest,
    caller: CurrentUser,
    deps: AiDeps,
    idempotency_key: IdempotencyKey = None,
) -> InterviewMessageResponse:
    """Send an answer, or a request such as "repeat", "hint" or "skip".

    While a recording is being transcribed this returns 409 `transcript_pending`. Send the same
    request again after a few seconds. The last answer of the plan completes the interview.
    """
    interview, turn = await interview_turns.send_message(
        deps, caller, _parse_interview_id(session_id), body.to_domain(idempotency_key)
    )
    return InterviewMessageResponse(
        session_id=interview.id,
        response=turn.response,
        status=interview.status,
        question_count=interview.question_number,
        analysis=InterviewAnalysis.from_domain(turn),
        turn_number=turn.number,
        ai_audio_url=build_audio_path(deps, interview.id, turn.number),
        silence_prompt=build_silence_prompt(deps, interview, turn),
    )


@router.post("/{session_id}/interruption")
async def interrupt_turn(
    session_id: str, caller: CurrentUser, deps: AiDeps, body: InterruptionRequest | None = None
) -> InterruptionResponse:
    """Record that the candidate began to answer before the interviewer's turn was over.

    The text of the turn is kept and can be repeated. A repeated call changes nothing.
    """
    interview_id = _parse_interview_id(session_id)
    number = None if body is None else body.turn_number
    turn = await interview_interruptions.interrupt_turn(deps, caller, interview_id, number)
    return InterruptionResponse.from_domain(interview_id, turn)


@router.post("/{session_id}/complete")
async def complete_interview(
    session_id: str, caller: CurrentUser, deps: AiDeps
) -> InterviewAssessment:
    """End the interview and return its assessment. A repeated call changes nothing."""
    details = await interviews.complete_interview(deps, caller, _parse_interview_id(session_id))
    return InterviewAssessment.from_details(details)


@router.post("/{session_id}/assess", responses={409: {}})
async def assess_interview(
    session_id: str, caller: CurrentUser, deps: AiDeps
) -> InterviewAssessment:
    """Score the answers of a completed interview again, and return the new assessment."""
    details = await interviews.assess_interview(deps, caller, _parse_interview_id(session_id))
    return InterviewAssessment.from_details(details)


@router.delete("/{session_id}", status_code=204, responses={204: RECEIPT_LOCATION})
async def delete_interview(
    session_id: str, caller: CurrentUser, deps: AiDeps, response: Response
) -> None:
    """Delete an interview with its turns, its recordings and its assessment.

    `Location` names the receipt, which shows when each service has deleted its data.
    """
    receipt_id = await interviews.delete_interview(deps, caller, _parse_interview_id(session_id))
    response.headers["location"] = receipt_path(receipt_id)


def _parse_interview_id(text: str) -> UUID:
    return parse_id(text, not_found=InterviewNotFound)
