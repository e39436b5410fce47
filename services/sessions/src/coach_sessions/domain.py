"""A practice session: facts that arrive in any order, and the state derived from them.

No I/O, no clock, no framework. The state is a function of the facts, so every order of arrival,
with repetitions, leads to the same state.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from coach_common.errors import NotFound
from coach_common.events.feedback import (
    AudioCoverage,
    DeliveryMetrics,
    EvidenceItem,
    MainImprovement,
    StarStory,
)


class SessionNotFound(NotFound):
    """The session does not exist or belongs to another user."""

    code = "session_not_found"

    def __init__(self) -> None:
        super().__init__("Session not found")


class RecordingNotFound(NotFound):
    """The recording does not exist or belongs to another user."""

    code = "recording_not_found"

    def __init__(self) -> None:
        super().__init__("Recording not found")


class Status(StrEnum):
    """The state of a session, as the API names it."""

    NOT_COMPLETED = "not_completed"
    WAITING_FOR_RECORDING = "waiting_for_recording"
    TRANSCRIBING = "transcribing"
    SCORING = "scoring"
    READY = "ready"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """True if no further change is expected without a request."""
        return self in (Status.READY, Status.FAILED)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why transcription or scoring failed. `id` is a UUIDv7, so it orders failures by time."""

    id: UUID
    reason: str
    is_final: bool

    @staticmethod
    def prevailing(one: "Failure | None", other: "Failure | None") -> "Failure | None":
        """Return the failure that counts: final before retryable, then the later one."""
        known = [failure for failure in (one, other) if failure is not None]
        return max(known, key=lambda failure: (failure.is_final, failure.id), default=None)


@dataclass(frozen=True, slots=True)
class Recording:
    """The facts about one recording.

    `linked_by_event_id` is a UUIDv7, so it orders links by the time they were made.
    """

    key: str
    user_id: UUID
    session_id: UUID | None = None
    linked_by_event_id: UUID | None = None
    transcript: str | None = None
    failure: Failure | None = None
    delivery_metrics: DeliveryMetrics | None = None
    delivery_metrics_complete: bool = True
    """False: acoustic metrics only. The complete metrics follow with the transcript."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """Feedback as ai reported it. A score is None if it could not be determined."""

    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    strengths: list[str]
    improvements: list[str]
    detailed_feedback: str
    evidence: list[EvidenceItem]
    delivery: DeliveryMetrics
    provider: str
    model: str
    rubric_version: str
    generated_at: datetime
    main_improvement: MainImprovement | None = None
    star: StarStory = field(default_factory=StarStory)
    audio: AudioCoverage | None = None


@dataclass(frozen=True, slots=True)
class PublishedFingerprints:
    """A fingerprint of the last published event of each type, or None if there was none.

    An event whose fingerprint is unchanged is not published again.
    """

    transcript: str | None = None
    completion: str | None = None
    interim_feedback: str | None = None
    final_feedback: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A practice session with all its facts."""

    id: UUID
    user_id: UUID
    title: str
    question: str | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    duration_seconds: int | None = None
    client_transcript: str | None = None
    recordings: tuple[Recording, ...] = ()
    feedback: Feedback | None = None
    failure: Failure | None = None
    published_fingerprints: PublishedFingerprints = field(default_factory=PublishedFingerprints)

    @property
    def recording(self) -> Recording | None:
        """The recording that is scored: the first that was linked."""
        return min(
            self.recordings, key=lambda one: (str(one.linked_by_event_id), one.key), default=None
        )

    @property
    def audio_s3_key(self) -> str | None:
        """The object key of the recording that is scored."""
        return None if self.recording is None else self.recording.key

    @property
    def transcript(self) -> str | None:
        """The transcript of the recording, or the client's own if no recording has one."""
        if self.recording is not None and self.recording.transcript is not None:
            return self.recording.transcript
        if self.recording is None or self._has_failed_recording:
            return self.client_transcript
        return None

    @property
    def status(self) -> Status:
        """The state of the session. Feedback takes precedence over a failure."""
        if self.feedback is not None:
            return Status.READY
        if self.completed_at is None:
            return Status.NOT_COMPLETED
        if self.recording is None and self.client_transcript is None:
            return Status.WAITING_FOR_RECORDING
        if self.transcript is None:
            return Status.FAILED if self._has_failed_recording else Status.TRANSCRIBING
        if self.failure is not None and self.failure.is_final:
            return Status.FAILED
        return Status.SCORING

    @property
    def has_interim_feedback(self) -> bool:
        """True while delivery metrics are available but scoring has not finished.

        After the transcript has arrived this waits for the complete metrics, so that clients get
        one push instead of two.
        """
        if self.recording is None or self.delivery_metrics is None:
            return False
        if self.status is Status.SCORING:
            return self.recording.delivery_metrics_complete
        return self.status is Status.TRANSCRIBING

    @property
    def delivery_metrics(self) -> DeliveryMetrics | None:
        """The delivery metrics so far, or None if there are none or transcription failed."""
        if self.recording is None or self._has_failed_recording:
            return None
        return self.recording.delivery_metrics

    @property
    def failure_reason(self) -> str | None:
        """Why the session failed, or why it is delayed, as a sentence for the user."""
        if self.status in (Status.SCORING, Status.FAILED) and self.failure is not None:
            return self.failure.reason
        if self.status in (Status.TRANSCRIBING, Status.FAILED) and self.recording is not None:
            return None if self.recording.failure is None else self.recording.failure.reason
        return None

    @property
    def is_being_retried(self) -> bool:
        """True if a try has failed and another one is scheduled."""
        return self.failure_reason is not None and not self.status.is_final

    @property
    def _has_failed_recording(self) -> bool:
        recording = self.recording
        return (
            recording is not None
            and recording.transcript is None
            and recording.failure is not None
            and recording.failure.is_final
        )


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics over all sessions of a user.

    `average` and `improvement` cover scored sessions only, rounded to 2 digits.
    """

    total: int
    average: float
    improvement: float


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session as the list shows it."""

    id: UUID
    title: str
    created_at: datetime
    duration_seconds: int | None
    overall_score: int | None
    status: str


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of a user's sessions, newest first.

    `next_position` is the position of the next page, or None on the last page.
    """

    sessions: list[SessionSummary]
    stats: Stats
    next_position: tuple[datetime, UUID] | None


def is_own_upload_key(user_id: UUID, key: str) -> bool:
    """Return whether an object key belongs to an upload of this user."""
    return key.startswith(f"uploads/{user_id}/") and ".." not in key
