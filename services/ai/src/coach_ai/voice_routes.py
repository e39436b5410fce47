"""The HTTP route of the interviewer's voice."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from coach_ai.deps import Deps
from coach_ai.store.interviews import InterviewNotFound
from coach_ai.use_cases.interview_voice import speak_turn
from coach_ai.voice.speech import VoiceName
from coach_common.http.dependencies import CurrentUser, inject_deps
from coach_common.ids import parse_id

router = APIRouter(prefix="/ai-interview/sessions", tags=["interviews"])

_WAV = "audio/wav"
_MAX_TURNS = 10_000


def build_audio_path(deps: Deps, interview_id: UUID, number: int) -> str | None:
    """Return the path of a turn's speech, or None if the server has no voice."""
    if deps.voice is None:
        return None
    return f"{router.prefix}/{interview_id}/turns/{number}/audio"


@router.get(
    "/{session_id}/turns/{number}/audio",
    response_class=Response,
    responses={
        200: {"content": {_WAV: {"schema": {"type": "string", "format": "binary"}}}},
    },
)
async def get_turn_audio(
    session_id: str,
    number: Annotated[int, Path(ge=0, le=_MAX_TURNS)],
    caller: CurrentUser,
    deps: Annotated[Deps, inject_deps(Deps)],
    voice: VoiceName = VoiceName.MEDIUM,
    speed: Annotated[float, Query(ge=0.5, le=2.0, allow_inf_nan=False)] = 1.0,
) -> Response:
    """Return the interviewer's words of a turn as speech. Turn 0 is the opening."""
    interview_id = parse_id(session_id, not_found=InterviewNotFound)
    data = await speak_turn(deps, caller, interview_id, number, voice=voice, speed=round(speed, 1))
    headers = {"cache-control": "private, max-age=86400"}
    return Response(data, media_type=_WAV, headers=headers)
