"""Bodies about the conversation of an interview: words in a silence, and interruptions."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from coach_ai.interview.model import Turn

MAX_TURN_NUMBER = 10_000


class InterviewSilencePrompt(BaseModel):
    """Words of the interviewer for a long silence, once per turn. They are no turn."""

    after_seconds: int
    text: str
    ai_audio_url: str | None = Field(description="path of the text as speech; null without a voice")


OptionalSilencePrompt = Annotated[
    InterviewSilencePrompt | None,
    Field(
        description="words of the interviewer for a long silence, once. A socket gets them as"
        " `interview_silence`. Null: none"
    ),
]


class InterruptionRequest(BaseModel):
    """A turn that the candidate interrupted."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"turn_number": 2}]})

    turn_number: Annotated[int, Field(ge=0, le=MAX_TURN_NUMBER)] | None = Field(
        default=None, description="null: the last turn"
    )


class InterruptionResponse(BaseModel):
    """The turn that was interrupted. Its text is kept."""

    session_id: UUID
    turn_number: int
    interrupted_at: datetime

    @classmethod
    def from_domain(cls, interview_id: UUID, turn: Turn) -> "InterruptionResponse":
        """Convert an interrupted turn."""
        if turn.interrupted_at is None:
            raise ValueError("the turn was not interrupted")
        return cls(
            session_id=interview_id, turn_number=turn.number, interrupted_at=turn.interrupted_at
        )
