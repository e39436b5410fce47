"""The frames of interviews. The service ai validates their fields."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from coach_gateway.sockets.frame_base import (
    SESSION_ID_EXAMPLE,
    ClientFrame,
    ServerFrame,
    SessionFrame,
    SessionId,
    make_example,
)

_RESPONSE = "Good day. Tell me about a failure."


class InterviewPersona(BaseModel):
    """The character of the interviewer."""

    manner: str | None = None
    position: str | None = None


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
        status="in_progress", question_count=1, analysis=None, ai_audio_url=None,
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
