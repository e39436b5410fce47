"""Events about interviews. Ai runs and stores them, sessions shows them in the history.

Each event has everything that the history shows, so a consumer may receive them in any order. Ai
sends the latest state again at growing intervals for 30 days (`is_repeated`), in case a consumer
lost it.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from coach_common.events.base import Event


class InterviewStarted(Event):
    """A user started an interview."""

    type = "interview.started"
    source = "ai"
    consumers: ClassVar[tuple[str, ...]] = ("sessions",)

    interview_id: UUID
    user_id: UUID
    title: str
    interview_type: str
    created_at: datetime
    is_repeated: bool = False


class InterviewRecordingLinked(InterviewStarted):
    """A message of an interview has named a recording of the user, which belongs to it from then.

    It is deleted with the interview. A recording that is linked already keeps its link.
    """

    type = "interview.recording_linked"
    source = "ai"
    consumers = ("sessions", "media")

    key: str


class InterviewAssessed(InterviewStarted):
    """An interview was completed and assessed, or a completed one was assessed again.

    Of two events about one interview the later `assessed_at` counts. Media applies the retention
    of audio to the recordings.
    """

    type = "interview.assessed"
    source = "ai"
    consumers = ("sessions", "media")

    completed_at: datetime
    assessed_at: datetime
    duration_seconds: int | None = Field(
        default=None, description="time from turn to turn; a pause counts at most ten minutes"
    )
    question_count: int
    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    provider: str | None = Field(default=None, description="null if no answer was scored")
    model: str | None = None
    rubric_version: str | None = None
    keys: list[str] = Field(default_factory=list, description="the recordings of its turns")


class InterviewDeleted(Event):
    """Ai has deleted an interview. Sessions and media delete it with its recordings (`keys`).

    They confirm it to auth, which keeps the receipt. It is also sent after the `session.deleted` of
    an interview, with the same receipt, because only ai knows all of its recordings. Sent again at
    growing intervals (`is_repeated`) until all have confirmed it.
    """

    type = "interview.deleted"
    source = "ai"
    consumers = ("sessions", "media", "auth")

    interview_id: UUID
    user_id: UUID
    keys: list[str] = Field(default_factory=list)
    receipt_id: UUID
    deleted_at: datetime = Field(description="when ai has deleted it")
    is_repeated: bool = False
