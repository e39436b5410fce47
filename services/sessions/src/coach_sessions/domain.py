"""A practice session: facts that arrive in any order, and the state derived from them.

No I/O, no clock, no framework. The state is a function of the facts, so every order of arrival,
with repetitions, leads to the same state.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from coach_common.errors import Conflict, NotFound
from coach_common.events.feedback import (
    AudioCoverage,
    DeliveryMetrics,
    DimensionLevel,
    DisputeView,
    EvidenceItem,
    MainImprovement,
    PointCoverage,
    StarStory,
)
from coach_sessions.kind import IsInterview, SessionKind

MAX_RECORDINGS_PER_SESSION = 20
MAX_RECORDING_DELAY = timedelta(hours=25)
"""How long a session waits for a recording that the client named. It is used only if the client
also sent a transcript; other sessions wait without a limit."""

_KEY_NAME = re.compile(r"[0-9]{13}_[0-9a-f]{8}\.[a-z0-9]{2,5}")
_NOT_MEASURABLE = DeliveryMetrics(
    status="not_measurable", reason="There is no recording of this answer."
)


class SessionNotFound(NotFound):
    """The session does not exist or belongs to another user."""

    code = "session_not_found"

    def __init__(self) -> None:
        super().__init__("Session not found")


class QuestionNotFound(NotFound):
    """The question does not exist or belongs to another user."""

    code = "question_not_found"

    def __init__(self) -> None:
        super().__init__("Question not found")


class RecordingNotFound(NotFound):
    """The recording does not exist or belongs to another user."""

    code = "recording_not_found"

    def __init__(self) -> None:
        super().__init__("Recording not found")


class RecordingLinkedElsewhere(Conflict):
    """The recording is linked to another session. Links never change."""

    code = "linked_elsewhere"

    def __init__(self) -> None:
        super().__init__("This recording is already linked to another session.")


class TooManyRecordings(Conflict):
    """The session has as many recordings as a session can have."""

    code = "too_many_recordings"

    def __init__(self) -> None:
        super().__init__(f"A session can have at most {MAX_RECORDINGS_PER_SESSION} recordings.")


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
    is_restartable: bool = False
    """Whether the cause is another one than the answer, so that a new completion tries again."""

    @staticmethod
    def prevailing(one: "Failure | None", other: "Failure | None") -> "Failure | None":
        """Return the failure that counts: final before retryable, then the later one."""
        known = [failure for failure in (one, other) if failure is not None]
        return max(known, key=lambda failure: (failure.is_final, failure.id), default=None)


@dataclass(frozen=True, slots=True)
class RecordingRef:
    """The recording that an event is about. `session_id` is None if the event names no session."""

    key: str
    user_id: UUID
    session_id: UUID | None = None


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
class AnswerText:
    """The words of an answer. `recording_key` is None if the client sent them."""

    text: str
    recording_key: str | None


@dataclass(frozen=True, slots=True)
class Feedback:
    """Feedback as ai reported it. A score is None if it could not be determined.

    `answer` is the text that was scored. It is None while ai has not reported it and the
    transcript has not arrived. Once set it never changes.
    """

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
    answer: AnswerText | None = None
    points: list[PointCoverage] = field(default_factory=list)
    dimensions: list[DimensionLevel] = field(default_factory=list)
    score_spread: float | None = None
    prompt_version: str | None = None
    question_type: str | None = None
    seniority: str | None = None
    dispute: DisputeView | None = None

    @property
    def is_complete(self) -> bool:
        """True if the scored text and the delivery metrics are stored with the scores."""
        return self.answer is not None and bool(self.delivery.model_fields_set)

    @property
    def scores(self) -> dict[str, int | None]:
        """The four scores by name."""
        return {
            "overall": self.overall_score,
            "communication": self.communication_score,
            "technical": self.technical_score,
            "clarity": self.clarity_score,
        }

    @property
    def levels(self) -> dict[str, float | None]:
        """The levels of the dimensions by name."""
        return {one.name: one.level for one in self.dimensions}

    @property
    def scorer(self) -> str:
        """Provider, model and rubric."""
        return f"{self.provider} {self.model} {self.rubric_version}"


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
    """A practice session with all its facts, or an interview as ai has reported it."""

    id: UUID
    user_id: UUID
    title: str
    question: str | None
    created_at: datetime
    updated_at: datetime
    question_id: str | None = None
    """The id of the question in the bank or among the user's own questions."""
    seniority: str | None = None
    role: str | None = None
    completed_at: datetime | None = None
    duration_seconds: int | None = None
    client_transcript: str | None = None
    requested_key: str | None = None
    """A key that the client named and whose upload is not known yet."""
    recordings: tuple[Recording, ...] = ()
    feedback: Feedback | None = None
    failure: Failure | None = None
    published_fingerprints: PublishedFingerprints = field(default_factory=PublishedFingerprints)
    counted_score: int | None = None
    """The score that the user's stored statistics contain."""
    self_rating: int | None = None
    self_rated_at: datetime | None = None
    revealed_at: datetime | None = None
    """When the user first read the score."""
    kind: SessionKind = SessionKind.PRACTICE

    def require_practice(self) -> None:
        """Raise IsInterview if this is an interview."""
        if self.kind is SessionKind.INTERVIEW:
            raise IsInterview(self.id)

    @property
    def recording(self) -> Recording | None:
        """The recording that is scored: the first that was linked. Interviews have none."""
        if self.kind is SessionKind.INTERVIEW:
            return None
        return min(
            self.recordings, key=lambda one: (str(one.linked_by_event_id), one.key), default=None
        )

    @property
    def audio_s3_key(self) -> str | None:
        """The object key of the recording that is scored."""
        if self.answer is not None and self.answer.recording_key is not None:
            return self.answer.recording_key
        return None if self.recording is None else self.recording.key

    @property
    def answer(self) -> AnswerText | None:
        """The text that was scored, or the text that will be scored if nothing arrives first.

        A recording takes precedence over the client's transcript, which is used if there is no
        recording or its transcription failed.
        """
        if self.feedback is not None and self.feedback.answer is not None:
            return self.feedback.answer
        recording = self.recording
        if recording is not None and recording.transcript is not None:
            return AnswerText(recording.transcript, recording.key)
        text = self.usable_client_transcript
        if text is not None and (recording is None or self._has_failed_recording):
            return AnswerText(text, None)
        return None

    @property
    def transcript(self) -> str | None:
        """The words of `answer`."""
        return None if self.answer is None else self.answer.text

    @property
    def usable_client_transcript(self) -> str | None:
        """The client's transcript, or None while a recording that the client named is awaited."""
        is_awaited = self.recording is None and self.requested_key is not None
        return None if is_awaited else self.client_transcript

    @property
    def final_feedback(self) -> Feedback | None:
        """The feedback, or None until everything that belongs to it is stored."""
        if self.completed_at is None or self.feedback is None:
            return None
        is_complete = self.feedback.is_complete or self.kind is SessionKind.INTERVIEW
        return self.feedback if is_complete else None

    @property
    def status(self) -> Status:
        """The state of the session. Feedback takes precedence over a failure."""
        if self.completed_at is None:
            return Status.NOT_COMPLETED
        if self.final_feedback is not None:
            return Status.READY
        if self.recording is None and self.answer is None:
            return Status.WAITING_FOR_RECORDING
        if self.answer is None:
            return Status.FAILED if self._has_failed_recording else Status.TRANSCRIBING
        if self.feedback is None and self.failure is not None and self.failure.is_final:
            return Status.FAILED
        return Status.SCORING

    def can_link(self, key: str) -> bool:
        """Return whether the recording is linked to this session or may still be."""
        keys = {recording.key for recording in self.recordings}
        is_interview = self.kind is SessionKind.INTERVIEW
        return key in keys or is_interview or len(keys) < MAX_RECORDINGS_PER_SESSION

    def with_facts_joined(self) -> "Session":
        """Return the session with the facts combined that arrived separately. Idempotent.

        Stores the scored text and missing delivery metrics with the feedback, and drops the
        requested key once its recording is linked.
        """
        if self.kind is SessionKind.INTERVIEW:
            return self
        requested_key = self.requested_key
        if requested_key in {recording.key for recording in self.recordings}:
            requested_key = None
        joined = replace(self, requested_key=requested_key)
        feedback = joined.feedback
        if feedback is None:
            return joined
        feedback = replace(feedback, answer=joined.answer)
        if not feedback.delivery.model_fields_set:
            feedback = replace(feedback, delivery=joined._delivery_of(feedback.answer))
        return replace(joined, feedback=feedback)

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
    def can_restart(self) -> bool:
        """True if the session failed for another reason than the answer."""
        if self.status is not Status.FAILED:
            return False
        failure = self.failure if self.answer is not None else None
        if self.answer is None and self.recording is not None:
            failure = self.recording.failure
        return failure is not None and failure.is_restartable

    def with_failure_reopened(self) -> "Session":
        """Return a failed session as one whose scoring is tried again."""
        published = replace(self.published_fingerprints, completion=None, final_feedback=None)
        failure = None if self.failure is None else replace(self.failure, is_final=False)
        return replace(self, failure=failure, published_fingerprints=published)

    def _delivery_of(self, answer: AnswerText | None) -> DeliveryMetrics:
        """Return the complete delivery metrics of an answer, or empty ones if they are missing."""
        if answer is not None and answer.recording_key is None:
            return _NOT_MEASURABLE
        for recording in self.recordings:
            is_scored = answer is not None and recording.key == answer.recording_key
            if is_scored and recording.delivery_metrics and recording.delivery_metrics_complete:
                return recording.delivery_metrics
        return DeliveryMetrics()

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
    """Statistics over all sessions of a user, as they are stored."""

    total: int = 0
    scored: int = 0
    score_sum: int = 0
    half_difference: int = 0
    """Sum of the scores of the newer half minus sum of the scores of the older half.

    Sessions without a score are not counted. With an odd number, the middle one is in neither half.
    """

    @property
    def average(self) -> float:
        """The mean score, rounded to 2 digits, or 0."""
        return round(self.score_sum / self.scored, 2) if self.scored else 0.0

    @property
    def improvement(self) -> float:
        """The mean score of the newer half minus that of the older half, or 0."""
        half = self.scored // 2
        return round(self.half_difference / half, 2) if half else 0.0


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session as the list shows it."""

    id: UUID
    title: str
    created_at: datetime
    duration_seconds: int | None
    overall_score: int | None
    status: str
    revealed_at: datetime | None
    kind: str


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of a user's sessions, newest first.

    `next_position` is the position of the next page, or None on the last page.
    """

    sessions: list[SessionSummary]
    stats: Stats
    next_position: tuple[datetime, UUID] | None


def is_own_upload_key(user_id: UUID, key: str) -> bool:
    """Return whether a key has the form of the keys that media gives to uploads of this user."""
    prefix = f"uploads/{user_id}/"
    return key.startswith(prefix) and _KEY_NAME.fullmatch(key, len(prefix)) is not None
