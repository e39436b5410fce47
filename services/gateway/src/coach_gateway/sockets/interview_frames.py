"""The frames of interviews. The service ai validates their fields."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from coach_common.validation import MeasuredNumber
from coach_gateway.sockets.frame_base import (
    SESSION_ID_EXAMPLE,
    ClientFrame,
    ServerFrame,
    SessionFrame,
    SessionId,
    make_example,
)

_RESPONSE = "Good day. Tell me about a failure."
_SILENCE = "Take your time, I am listening to you."
_SILENCE_PROMPT: JsonValue = {"after_seconds": 20, "text": _SILENCE, "ai_audio_url": None}


class InterviewPersona(BaseModel):
    """The character of the interviewer."""

    manner: str | None = None
    position: str | None = None


WordsPerMinute = Annotated[
    MeasuredNumber | None,
    Field(
        ge=50,
        le=1000,
        description="pace of the `interview_delta` frames; null: all of them at once",
    ),
]


class InterviewStartFrame(ClientFrame):
    """Start an interview. The fields are those of `POST /ai-interview/sessions`."""

    model_config = make_example(
        type="interview_start", title="Mock interview", interview_type="behavioral"
    )

    type: Literal["interview_start"]
    title: str
    interview_type: str
    role_context: str | None = None
    company_context: str | None = None
    difficulty_level: str | None = None
    custom_instructions: str | None = None
    persona: InterviewPersona | None = None
    question_limit: int | None = None
    time_limit_seconds: int | None = None
    company_style: str | None = None
    silence_seconds: float | None = None
    words_per_minute: WordsPerMinute = None


class InterviewMessageFrame(SessionFrame):
    """Answer the interviewer; without `session_id`, in the last interview of the socket."""

    model_config = make_example(
        type="interview_message", message="Last year I led a move.", idempotency_key="k1"
    )

    type: Literal["interview_message"]
    message: str | None = Field(default=None, description="required without `audio_s3_key`")
    audio_s3_key: str | None = Field(
        default=None, description="object key of a recording, such as of `audio_started`"
    )
    idempotency_key: str | None = Field(
        default=None,
        pattern=r"^[!-~]{1,128}$",
        description="the same key and message make one turn",
    )
    words_per_minute: WordsPerMinute = None


class InterviewReplyStartFrame(SessionFrame):
    """The candidate begins to answer: speaks, types or records.

    The text of the interviewer's turn stops, and no word is said in a silence of this turn.
    """

    model_config = make_example(type="interview_reply_start", interrupts=True)

    type: Literal["interview_reply_start"]
    interrupts: bool = Field(
        default=False, description="true if the client was still playing the interviewer's speech"
    )


class InterviewThinkingFrame(ServerFrame):
    """The interviewer prepares its turn. `interview_turn` or `error` follows."""

    model_config = make_example(type="interview_thinking", session_id=SESSION_ID_EXAMPLE)

    type: Literal["interview_thinking"] = "interview_thinking"
    session_id: SessionId | None = Field(description="null for `interview_start`")


class InterviewListeningFrame(ServerFrame):
    """The response to `interview_reply_start`."""

    model_config = make_example(
        type="interview_listening", session_id=SESSION_ID_EXAMPLE, was_interrupted=True
    )

    type: Literal["interview_listening"] = "interview_listening"
    session_id: SessionId
    was_interrupted: bool = Field(description="true if the interruption of the turn was stored")


class InterviewSilenceFrame(ServerFrame):
    """The interviewer's word in a long silence, once per turn. It is no turn."""

    model_config = make_example(
        type="interview_silence", session_id=SESSION_ID_EXAMPLE, turn_number=0,
        text=_SILENCE, ai_audio_url=None,
    )  # fmt: skip

    type: Literal["interview_silence"] = "interview_silence"
    session_id: SessionId
    turn_number: int | None
    text: str
    ai_audio_url: str | None = Field(
        default=None, description="path of the spoken text; null without a voice"
    )


class InterviewSilencePrompt(BaseModel):
    """What the interviewer says once if nothing is said for a while."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    after_seconds: int
    text: str
    ai_audio_url: str | None = None


class InterviewDeltaFrame(ServerFrame):
    """The next piece of the interviewer's turn. All pieces together are its `response`."""

    model_config = make_example(
        type="interview_delta", session_id=SESSION_ID_EXAMPLE, text="Good day. "
    )

    type: Literal["interview_delta"] = "interview_delta"
    session_id: SessionId
    text: str


class InterviewGap(BaseModel):
    """What a turn probes, and the passage that it quotes."""

    kind: str
    quote: str


class InterviewAnalysis(BaseModel):
    """How the interviewer understood a message."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    intent: str
    question_number: int
    gap: InterviewGap | None = None
    method: str


class InterviewTurnFrame(ServerFrame):
    """The interviewer's turn, which is stored. The fields are those of the HTTP response."""

    model_config = make_example(
        type="interview_turn", session_id=SESSION_ID_EXAMPLE, response=_RESPONSE,
        status="in_progress", question_count=1, analysis=None, ai_audio_url=None, turn_number=0,
        was_interrupted=False, silence_prompt=_SILENCE_PROMPT,
    )  # fmt: skip

    type: Literal["interview_turn"] = "interview_turn"
    session_id: SessionId
    response: str
    status: Literal["in_progress", "completed"]
    question_count: int
    analysis: InterviewAnalysis | None = Field(
        default=None, description="as in `POST …/message`; null for the opening"
    )
    ai_audio_url: str | None = Field(
        default=None, description="path of the spoken turn; null without a voice"
    )
    turn_number: int | None = None
    was_interrupted: bool = Field(
        default=False, description="true if the candidate began to answer during the text"
    )
    silence_prompt: InterviewSilencePrompt | None = Field(
        default=None, description="what `interview_silence` says if nothing is said; null: nothing"
    )
