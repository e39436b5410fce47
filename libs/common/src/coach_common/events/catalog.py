"""Every event, declared once. docs/events.md and docs/asyncapi.json are made from this file;
golden samples in tests/contract/golden freeze what goes over the wire."""

from typing import Any
from uuid import UUID

from pydantic import Field

from coach_common.events.base import Event


class UserRegistered(Event):
    """Somebody made an account."""

    type = "user.registered"

    user_id: UUID


class UserDeleted(Event):
    """An account is gone; everything it owns goes too."""

    type = "user.deleted"
    consumers = ("sessions", "media", "ai")

    user_id: UUID


class UploadConfirmed(Event):
    """A recording is in the store and is what it said it was; `etag` names those very bytes."""

    type = "upload.confirmed"
    consumers = ("ai", "sessions")

    upload_id: UUID
    user_id: UUID
    key: str
    content_type: str
    size: int = Field(description="bytes")
    etag: str
    session_id: UUID | None = None


class UploadLinked(Event):
    """A session was named for a recording after it was confirmed."""

    type = "upload.linked"
    consumers = ("sessions", "ai")

    upload_id: UUID
    user_id: UUID
    key: str
    etag: str
    session_id: UUID


class TranscriptionCompleted(Event):
    """A recording has its words."""

    type = "transcription.completed"
    consumers = ("sessions", "media")

    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None = None
    text: str
    language: str
    duration_seconds: float
    provider: str
    model: str


class TranscriptionFailed(Event):
    """A recording has no words yet (`retryable`: still being tried) or never will."""

    type = "transcription.failed"
    consumers = ("sessions", "media")

    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None = None
    reason: str = Field(description="one sentence for the person who recorded it")
    retryable: bool


class TranscriptionProgressed(Event):
    """A part of a long recording has its words; what the gateway pushes as `progress`."""

    type = "transcription.progressed"

    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None = None
    done_seconds: float
    duration_seconds: float


class DeliveryMeasured(Event):
    """How a recording was spoken, in figures, ahead of any judgement: first what its sound alone
    tells (`is_complete` is false), then, with its words, all of it."""

    type = "delivery.measured"
    consumers = ("sessions",)

    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None = None
    delivery: dict[str, Any]
    is_complete: bool = Field(
        default=True, description="false: the figures that need the words are still missing"
    )


class SessionTranscribed(Event):
    """A session has its transcript; what the gateway pushes as `transcript`."""

    type = "session.transcribed"

    session_id: UUID
    user_id: UUID
    key: str
    text: str


class SessionCompleted(Event):
    """The answer is given; sent again, with a new id, when a missing fact was filled in."""

    type = "session.completed"
    consumers = ("ai",)

    session_id: UUID
    user_id: UUID
    title: str
    question: str | None
    duration_seconds: int | None
    audio_s3_key: str | None = None
    transcript: str | None = None


class FeedbackGenerated(Event):
    """A session was judged. A score is null where it could not be, with the reason in words."""

    type = "feedback.generated"
    consumers = ("sessions",)

    session_id: UUID
    user_id: UUID
    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    strengths: list[str]
    improvements: list[str]
    detailed_feedback: str
    evidence: list[dict[str, Any]]
    delivery: dict[str, Any]
    main_improvement: dict[str, Any] | None = Field(
        default=None, description="the one thing to work on: text, quote, drill"
    )
    star: dict[str, str | None] = Field(
        default_factory=dict,
        description="situation, task, action and result, each with its quote or null",
    )
    provider: str
    model: str
    rubric_version: str


class FeedbackFailed(Event):
    """A session has no judgement yet (`retryable`: still being tried) or never will."""

    type = "feedback.failed"
    consumers = ("sessions",)

    session_id: UUID
    user_id: UUID
    reason: str = Field(description="one sentence for the person who practised")
    retryable: bool


class SessionMeasured(Event):
    """The feedback while the answer is still being judged, with its delivery; pushed as
    `feedback` with the status `scoring`."""

    type = "session.measured"

    session_id: UUID
    user_id: UUID
    feedback: dict[str, Any]


class SessionJudged(Event):
    """The feedback as the API shows it; what the gateway pushes as `feedback`."""

    type = "session.judged"

    session_id: UUID
    user_id: UUID
    feedback: dict[str, Any]


class SessionDeleted(Event):
    """A session is gone; its recordings (`keys`) and transcripts go too."""

    type = "session.deleted"
    consumers = ("media", "ai")

    session_id: UUID
    user_id: UUID
    keys: list[str] = Field(default_factory=list)


CATALOG: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        UserRegistered,
        UserDeleted,
        UploadConfirmed,
        UploadLinked,
        TranscriptionCompleted,
        TranscriptionFailed,
        TranscriptionProgressed,
        DeliveryMeasured,
        SessionTranscribed,
        SessionCompleted,
        FeedbackGenerated,
        FeedbackFailed,
        SessionMeasured,
        SessionJudged,
        SessionDeleted,
    )
}
