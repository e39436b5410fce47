"""All events. docs/events.md and docs/asyncapi.json are generated from this file.

Golden samples in tests/contract/golden fix the wire format.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from coach_common.events.base import Event
from coach_common.events.consents import ConsentChanged
from coach_common.events.deletions import (
    AiConfirmedDeletion,
    DeletionCompleted,
    MediaConfirmedDeletion,
    SessionsConfirmedDeletion,
)
from coach_common.events.exports import (
    AiExportPartCollected,
    AuthExportPartCollected,
    ExportCompleted,
    ExportRequested,
    SessionsExportPartCollected,
)
from coach_common.events.feedback import (
    AudioCoverage,
    DeliveryMetrics,
    DimensionLevel,
    DisputeView,
    EvidenceItem,
    FeedbackView,
    MainImprovement,
    Number,
    PointCoverage,
    QuestionType,
    Seniority,
    StarStory,
    TranscribedWord,
)
from coach_common.events.interviews import (
    InterviewAssessed,
    InterviewDeleted,
    InterviewRecordingLinked,
    InterviewStarted,
)
from coach_common.session_kind import SessionKind


class UserRegistered(Event):
    """An account was created."""

    type = "user.registered"
    source = "auth"

    user_id: UUID


class UserDeleted(Event):
    """An account was deleted. Consumers delete all data of this user and confirm it.

    Sent again at growing intervals (`is_repeated`) until every service has confirmed it.
    """

    type = "user.deleted"
    source = "auth"
    consumers = ("sessions", "media", "ai")

    user_id: UUID
    is_repeated: bool = False
    receipt_id: UUID | None = Field(
        default=None, description="what confirmations name; null in events of older releases"
    )


class UploadConfirmed(Event):
    """An uploaded recording was verified in object storage.

    `etag` identifies the verified content.
    """

    type = "upload.confirmed"
    source = "media"
    consumers = ("ai", "sessions")

    upload_id: UUID
    user_id: UUID
    key: str
    content_type: str
    size: int = Field(description="bytes")
    etag: str
    session_id: UUID | None = None
    is_repeated: bool = Field(
        default=False, description="published again because its effect has not been seen"
    )


class UploadLinked(Event):
    """A confirmed recording was linked to a session."""

    type = "upload.linked"
    source = "media"
    consumers = ("sessions", "ai")

    upload_id: UUID
    user_id: UUID
    key: str
    etag: str
    session_id: UUID


class TranscriptionCompleted(Event):
    """A recording was transcribed."""

    type = "transcription.completed"
    source = "ai"
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
    audio: AudioCoverage | None = Field(
        default=None, description="how much of the recording was transcribed"
    )
    words: list[TranscribedWord] = Field(
        default_factory=list, description="empty if the provider returned no word times"
    )


class TranscriptionFailed(Event):
    """Transcription failed. `retryable` true: it will be retried; false: final."""

    type = "transcription.failed"
    source = "ai"
    consumers = ("sessions", "media")

    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None = None
    reason: str = Field(description="one sentence for the user")
    retryable: bool
    restartable: bool = Field(
        default=False,
        description="after a final failure: completing the session again starts another try",
    )


class TranscriptionProgressed(Event):
    """The start of a transcription, and its progress if the recording is long.

    The progress is pushed to clients as `progress`. The event of the start is not: both of its
    numbers are 0.
    """

    type = "transcription.progressed"
    source = "ai"
    consumers = ("media",)

    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None = None
    done_seconds: float
    duration_seconds: float
    is_restart: bool = False
    """True if transcription had failed for good and was started again."""


class DeliveryMeasured(Event):
    """Delivery metrics of a recording.

    Sent twice: first with acoustic metrics only (`is_complete` false), then complete with
    transcript-based metrics.
    """

    type = "delivery.measured"
    source = "ai"
    consumers = ("sessions",)

    upload_id: UUID
    user_id: UUID
    key: str
    session_id: UUID | None = None
    delivery: DeliveryMetrics
    is_complete: bool = Field(
        default=True, description="false: transcript-based metrics are still missing"
    )


class SessionTranscribed(Event):
    """The transcript of a session is available. Pushed to clients as `transcript`."""

    type = "session.transcribed"
    source = "sessions"

    session_id: UUID
    user_id: UUID
    key: str
    text: str


class SessionCreated(Event):
    """A session was created.

    The recogniser is given the words of its question. The question with this id and its expected
    points are copied, so that a later edit changes no score.
    """

    type = "session.created"
    source = "sessions"
    consumers = ("ai",)

    session_id: UUID
    user_id: UUID
    title: str
    question: str | None = None
    role: str | None = None
    question_id: str | None = None
    seniority: Seniority | None = None


class SessionCompleted(Event):
    """The user completed the session.

    Sent again with a new id when missing information becomes available.
    """

    type = "session.completed"
    source = "sessions"
    consumers: ClassVar[tuple[str, ...]] = ("ai",)

    session_id: UUID
    user_id: UUID
    title: str
    question: str | None
    duration_seconds: int | None
    audio_s3_key: str | None = None
    transcript: str | None = None
    question_id: str | None = None
    seniority: Seniority | None = None
    role: str | None = None


class SessionStalled(SessionCompleted):
    """A completed session has waited for a recording, a transcript or feedback for too long.

    An event about it may be lost. Media and ai publish again what they know about the session.
    """

    type = "session.stalled"
    source = "sessions"
    consumers = ("media", "ai")

    status: str = Field(description="what it waits for, as in the API")
    requested_key: str | None = Field(
        default=None, description="a recording that the client named and that is not linked yet"
    )


class FeedbackGenerated(Event):
    """Scoring finished.

    A score is null when it could not be determined; `detailed_feedback` gives the reason.
    """

    type = "feedback.generated"
    source = "ai"
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
    evidence: list[EvidenceItem]
    delivery: DeliveryMetrics
    main_improvement: MainImprovement | None = None
    star: StarStory = Field(default_factory=StarStory)
    audio: AudioCoverage | None = Field(
        default=None, description="null if the answer was not scored from a recording"
    )
    provider: str
    model: str
    rubric_version: str
    transcript: str | None = Field(
        default=None, description="the text that was scored; null in events of older releases"
    )
    key: str | None = Field(
        default=None,
        description="the recording that was scored; null if the client's own transcript was",
    )
    points: list[PointCoverage] = Field(
        default_factory=list,
        description="coverage of the expected points; empty if the question has none",
    )
    dimensions: list[DimensionLevel] = Field(
        default_factory=list, description="empty if the answer was not scored"
    )
    score_spread: Number | None = Field(
        default=None,
        description="by how many points `overall_score` differs if the answer is scored again",
    )
    prompt_version: str | None = None
    question_type: QuestionType | None = None
    seniority: Seniority | None = None


class FeedbackFailed(Event):
    """Scoring failed. `retryable` true: it will be retried; false: final."""

    type = "feedback.failed"
    source = "ai"
    consumers = ("sessions",)

    session_id: UUID
    user_id: UUID
    reason: str = Field(description="one sentence for the user")
    retryable: bool
    restartable: bool = Field(
        default=False,
        description="after a final failure: completing the session again starts another try",
    )


class FeedbackDisputed(Event):
    """A user disputes a score, or the second scoring has finished or failed."""

    type = "feedback.disputed"
    source = "ai"
    consumers = ("sessions",)

    session_id: UUID
    user_id: UUID
    dispute: DisputeView


class SessionMeasured(Event):
    """Interim feedback with delivery metrics, before scoring has finished.

    Pushed to clients as `feedback` with status `transcribing` or `scoring`.
    """

    type = "session.measured"
    source = "sessions"

    session_id: UUID
    user_id: UUID
    feedback: FeedbackView


class SessionJudged(Event):
    """Final feedback, as returned by `GET /sessions/{id}/feedback`.

    Pushed to clients as `feedback`. Media deletes the audio if the user has chosen so.
    """

    type = "session.judged"
    source = "sessions"
    consumers = ("media",)

    session_id: UUID
    user_id: UUID
    feedback: FeedbackView


class SessionDeleted(Event):
    """A session was deleted. Media and ai delete its recordings (`keys`) and transcripts.

    They confirm it to auth, which keeps the receipt. Sent again at growing intervals
    (`is_repeated`) until both have confirmed it. Media waits for the `interview.deleted` of an
    interview.
    """

    type = "session.deleted"
    source = "sessions"
    consumers = ("media", "ai", "auth")

    session_id: UUID
    user_id: UUID
    keys: list[str] = Field(default_factory=list)
    is_repeated: bool = False
    receipt_id: UUID | None = Field(
        default=None, description="what confirmations name; null in events of older releases"
    )
    deleted_at: datetime | None = Field(
        default=None, description="when the user deleted it; null in events of older releases"
    )
    kind: str = SessionKind.PRACTICE.value


CATALOG: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        UserRegistered,
        UserDeleted,
        ConsentChanged,
        UploadConfirmed,
        UploadLinked,
        TranscriptionCompleted,
        TranscriptionFailed,
        TranscriptionProgressed,
        DeliveryMeasured,
        SessionTranscribed,
        SessionCreated,
        SessionCompleted,
        SessionStalled,
        FeedbackGenerated,
        FeedbackFailed,
        FeedbackDisputed,
        SessionMeasured,
        SessionJudged,
        SessionDeleted,
        InterviewStarted,
        InterviewRecordingLinked,
        InterviewAssessed,
        InterviewDeleted,
        SessionsConfirmedDeletion,
        MediaConfirmedDeletion,
        AiConfirmedDeletion,
        DeletionCompleted,
        ExportRequested,
        AuthExportPartCollected,
        SessionsExportPartCollected,
        AiExportPartCollected,
        ExportCompleted,
    )
}
