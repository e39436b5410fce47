"""The HTTP routes of the interviewer's voice."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from coach_ai.deps import Deps
from coach_ai.interview.model import Interview, Turn
from coach_ai.interview.silence import find_silence_prompt
from coach_ai.interview_dialogue_schemas import MAX_TURN_NUMBER, InterviewSilencePrompt
from coach_ai.store.interviews import InterviewNotFound
from coach_ai.use_cases.interview_voice import speak_silence_prompt, speak_turn
from coach_ai.voice.speech import VoiceName
from coach_common.http.dependencies import CurrentUser, inject_deps
from coach_common.ids import parse_id

router = APIRouter(prefix="/ai-interview/sessions", tags=["interviews"])

_WAV = "audio/wav"


def build_silence_prompt(
    deps: Deps, interview: Interview, turn: Turn
) -> InterviewSilencePrompt | None:
    """Return what is said in a silence after a turn, with its speech if the server has a voice."""
    prompt = find_silence_prompt(interview, turn)
    if prompt is None:
        return None
    path = None if deps.voice is None else f"{router.prefix}/{interview.id}/silence/audio"
    return InterviewSilencePrompt(
        after_seconds=prompt.after_seconds, text=prompt.text, ai_audio_url=path
    )


def build_audio_path(deps: Deps, interview_id: UUID, number: int) -> str | None:
    """Return the path of a turn's speech, or None if the server has no voice."""
    if deps.voice is None:
        return None
    return f"{router.prefix}/{interview_id}/turns/{number}/audio"


_AUDIO_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {_WAV: {"schema": {"type": "string", "format": "binary"}}}},
}
Speed = Annotated[float, Query(ge=0.5, le=2.0, allow_inf_nan=False)]


@router.get(
    "/{session_id}/turns/{number}/audio", response_class=Response, responses=_AUDIO_RESPONSES
)
async def get_turn_audio(
    session_id: str,
    number: Annotated[int, Path(ge=0, le=MAX_TURN_NUMBER)],
    caller: CurrentUser,
    deps: Annotated[Deps, inject_deps(Deps)],
    voice: VoiceName = VoiceName.MEDIUM,
    speed: Speed = 1.0,
) -> Response:
    """Return the interviewer's words of a turn as speech. Turn 0 is the opening."""
    interview_id = parse_id(session_id, not_found=InterviewNotFound)
    data = await speak_turn(deps, caller, interview_id, number, voice=voice, speed=round(speed, 1))
    return _respond(data)


@router.get("/{session_id}/silence/audio", response_class=Response, responses=_AUDIO_RESPONSES)
async def get_silence_audio(
    session_id: str,
    caller: CurrentUser,
    deps: Annotated[Deps, inject_deps(Deps)],
    voice: VoiceName = VoiceName.MEDIUM,
    speed: Speed = 1.0,
) -> Response:
    """Return the words for a silence as speech."""
    interview_id = parse_id(session_id, not_found=InterviewNotFound)
    data = await speak_silence_prompt(
        deps, caller, interview_id, voice=voice, speed=round(speed, 1)
    )
    return _respond(data)


def _respond(data: bytes) -> Response:
    return Response(data, media_type=_WAV, headers={"cache-control": "private, max-age=86400"})
