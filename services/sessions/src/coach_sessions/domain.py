"""What an interview session is: facts that arrive in any order, and what follows from them.

Plain Python: no I/O, no clock, no framework. Everything shown is a function of the facts, so
every order of arrival, with repetitions, ends in the same place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from coach_common.errors import NotFound


class SessionNotFound(NotFound):
    """No such session, or somebody else's."""

    code = "session_not_found"

    def __init__(self) -> None:
        super().__init__("Session not found")


class RecordingNotFound(NotFound):
    """No such recording, or somebody else's."""

    code = "recording_not_found"

    def __init__(self) -> None:
        super().__init__("Recording not found")


class Status(StrEnum):
    """Where a session stands, as the contract names it."""

    NOT_COMPLETED = "not_completed"
    WAITING_FOR_RECORDING = "waiting_for_recording"
    TRANSCRIBING = "transcribing"
    SCORING = "scoring"
    READY = "ready"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Nothing more is expected to happen by itself."""
        return self in (Status.READY, Status.FAILED)


_PENDING_MESSAGES = {
    Status.NOT_COMPLETED: "This session is not completed yet. Complete it to get feedback.",
    Status.WAITING_FOR_RECORDING: "Waiting for the recording to be uploaded.",
    Status.TRANSCRIBING: "The recording is being transcribed.",
    Status.SCORING: "Your answer is being scored.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Something did not work; `id` (a UUIDv7) orders failures by the time they were reported."""

    id: UUID
    reason: str
    is_final: bool

    @staticmethod
    def prevailing(one: "Failure | None", other: "Failure | None") -> "Failure | None":
        """Return the one that counts: final beats retryable, then the later one."""
        known = [failure for failure in (one, other) if failure is not None]
        return max(known, key=lambda failure: (failure.is_final, failure.id), default=None)


@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of one recording; `link_id` (a UUIDv7) orders links by their making."""

    key: str
    user_id: UUID
    session_id: UUID | None = None
    linked_by_event_id: UUID | None = None
    transcript: str | None = None
    failure: Failure | None = None
    delivery_metrics: dict[str, Any] | None = None
    delivery_metrics_complete: bool = True
    """False: what the sound alone told; the figures that need the words follow with them."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """A judgement as ai reported it. None where a score could not be given."""

    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    strengths: list[str]
    improvements: list[str]
    detailed_feedback: str
    evidence: list[dict[str, Any]]
    delivery: dict[str, Any]
    provider: str
    model: str
    rubric_version: str
    generated_at: str
    main_improvement: dict[str, Any] | None = None
    star: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """An interview session and every fact known of it."""

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
    published_fingerprints: Mapping[str, str] = field(default_factory=dict)
    """What was last told to others: `transcribed`, `completed`, `measured`, `judged`, each
    as a fingerprint."""

    @property
    def recording(self) -> Recording | None:
        """The one it is judged on: the first that was linked."""
        return min(
            self.recordings, key=lambda one: (str(one.linked_by_event_id), one.key), default=None
        )

    @property
    def audio_s3_key(self) -> str | None:
        """The key of that recording."""
        return None if self.recording is None else self.recording.key

    @property
    def transcript(self) -> str | None:
        """The recording's words; the client's own where no recording has any."""
        if self.recording is not None and self.recording.transcript is not None:
            return self.recording.transcript
        if self.recording is None or self._has_failed_recording:
            return self.client_transcript
        return None

    @property
    def status(self) -> Status:
        """Where the session stands. A success beats a failure, whatever arrived first."""
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
        """How it was spoken is known while what it is worth is still being found out.

        Once the words are there, the rest of the figures is under way: told once, with them.
        """
        if self.recording is None or self.delivery_metrics is None:
            return False
        if self.status is Status.SCORING:
            return self.recording.delivery_metrics_complete
        return self.status is Status.TRANSCRIBING

    @property
    def delivery_metrics(self) -> dict[str, Any] | None:
        """How it was spoken, as far as it is known; nothing where it will have no words."""
        if self.recording is None or self._has_failed_recording:
            return None
        return self.recording.delivery_metrics

    @property
    def failure_reason(self) -> str | None:
        """Why it failed, or what makes it slow, in words for the person who practised."""
        if self.status in (Status.SCORING, Status.FAILED) and self.failure is not None:
            return self.failure.reason
        if self.status in (Status.TRANSCRIBING, Status.FAILED) and self.recording is not None:
            return None if self.recording.failure is None else self.recording.failure.reason
        return None

    @property
    def is_being_retried(self) -> bool:
        """A provider is down and the work waits for its next try."""
        return self.failure_reason is not None and not self.status.is_final

    def to_feedback_view(self) -> dict[str, Any]:
        """Return the feedback as the API shows it, whatever its state."""
        shown: dict[str, Any] = {
            "session_id": str(self.id),
            "status": self.status.value,
            "overall_score": None,
            "communication_score": None,
            "technical_score": None,
            "clarity_score": None,
            "strengths": [],
            "improvements": [],
            "detailed_feedback": self._status_message(),
            "transcript": self.transcript,
            "provider": None,
            "model": None,
            "rubric_version": None,
            "evidence": [],
            "delivery": {},
            "main_improvement": None,
            "star": {},
            "generated_at": None,
        }
        if self.delivery_metrics is not None:
            shown["delivery"] = self.delivery_metrics
        if self.feedback is not None:
            shown |= {name: getattr(self.feedback, name) for name in Feedback.__slots__}
        return shown

    @property
    def _has_failed_recording(self) -> bool:
        recording = self.recording
        return (
            recording is not None
            and recording.transcript is None
            and recording.failure is not None
            and recording.failure.is_final
        )

    def _status_message(self) -> str:
        if self.status is Status.FAILED:
            return self.failure_reason or "The answer could not be scored."
        waiting = _PENDING_MESSAGES.get(self.status, "")
        return waiting if self.failure_reason is None else f"{waiting} {self.failure_reason}"


@dataclass(frozen=True, slots=True)
class Stats:
    """Over all of a person's sessions; means over the scored ones, rounded to 2 digits."""

    total: int
    average: float
    improvement: float


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """What the list shows of a session."""

    id: UUID
    title: str
    created_at: datetime
    duration_seconds: int | None
    overall_score: int | None
    status: str


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of a person's sessions, newest first, and where the next one begins."""

    sessions: list[SessionSummary]
    stats: Stats
    next_position: tuple[datetime, UUID] | None


def format_date(at: datetime) -> str:
    """Return `November 24, 2026`."""
    return f"{at:%B} {at.day}, {at.year}"


def format_duration(seconds: int | None) -> str:
    """Return `3m 20s`, or `N/A`."""
    return "N/A" if seconds is None else f"{seconds // 60}m {seconds % 60}s"


def is_own_upload_key(user_id: UUID, key: str) -> bool:
    """Tell whether an object key is one of this person's uploads."""
    return key.startswith(f"uploads/{user_id}/") and ".." not in key
