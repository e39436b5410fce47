"""Answers, scores and the sessions they belong to."""

import statistics
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from coach_ai.domain.profiles import Accommodation
from coach_ai.domain.questions import (
    DimensionLevel,
    PointCoverage,
    Question,
    QuestionType,
    Seniority,
)
from coach_ai.domain.recordings import (
    AcousticFeatures,
    AudioCoverage,
    Recording,
    Silence,
    Transcript,
    Word,
)
from coach_common.errors import CoachError

MIN_WORD_PROBABILITY = 0.75
"""Lowest mean word probability of an answer that is scored. Clean read speech has 0.94. Below
this value, at least 4 of 10 words of recordings with noise were wrong (docs/speech-metrics.md)."""


class CannotScore(CoachError):
    """The provider refuses to score this answer. Not retried."""

    code = "cannot_score"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to an interview question: the input of a scorer.

    A transcript that the client sent has no words, silences or acoustic features.
    """

    title: str
    question: str | None
    text: str
    language: str | None = None
    duration_seconds: float | None = None
    words: tuple[Word, ...] = ()
    silences: tuple[Silence, ...] | None = None
    acoustic_features: AcousticFeatures | None = None
    coverage: AudioCoverage | None = None
    set_aside: tuple[tuple[float, float], ...] = ()
    """Stretches of the recording that are not part of the answer: begin and end in seconds."""
    reference: Question | None = None
    """What the session asks, from the bank or the user's own questions, as it was when the session
    was created. None if the session names no question id."""
    seniority: Seniority | None = None
    """The level of the position. None if the client did not name one."""
    role: str | None = None
    """The position, such as "Backend engineer". None if the client did not name one."""
    accommodations: tuple[Accommodation, ...] = ()
    """What must be neither scored nor mentioned."""

    @classmethod
    def from_transcript(cls, title: str, question: str | None, transcript: Transcript) -> "Answer":
        """Return the answer that a recording's transcript contains."""
        return cls(
            title=title,
            question=question,
            text=transcript.text,
            language=transcript.language,
            duration_seconds=transcript.duration_seconds,
            words=transcript.words,
            silences=transcript.silences,
            acoustic_features=transcript.acoustic_features,
            coverage=transcript.coverage,
        )

    @property
    def is_unclear(self) -> bool:
        """True if the mean word probability is too low to score the transcript."""
        probabilities = [word.probability for word in self.words if word.probability is not None]
        return bool(probabilities) and statistics.fmean(probabilities) < MIN_WORD_PROBABILITY


@dataclass(frozen=True, slots=True)
class Remark:
    """A strength or an improvement with the quote that supports it.

    The quote occurs in the transcript. The times are None if the transcript has no word times.
    """

    kind: str
    """`strength` or `improvement`."""
    dimension: str
    text: str
    quote: str
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MainImprovement:
    """The most useful improvement, the quote that shows it, and an exercise for it."""

    text: str
    quote: str
    drill: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """The result of scoring an answer.

    A score is 0 to 100, or None if it could not be determined. `detailed_feedback` then gives the
    reason.
    """

    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    remarks: tuple[Remark, ...]
    detailed_feedback: str
    provider: str
    model: str
    rubric_version: str
    delivery: dict[str, Any] = field(default_factory=dict)
    """Delivery metrics as JSON; see `coach_ai.delivery.measure`."""
    main_improvement: MainImprovement | None = None
    star: dict[str, str | None] = field(default_factory=dict)
    """Quote of each story part, None for a missing part. Empty if the question asks for no story
    or the answer was not scored."""
    prompt_version: str | None = None
    """Version of the language model's prompt, or None for a scorer without a language model."""
    points: tuple[PointCoverage, ...] = ()
    """Coverage of the expected points. Empty if the question has none or they were not checked."""
    dimensions: tuple[DimensionLevel, ...] = ()
    """Level and weight of each dimension. Empty if the answer was not scored."""
    score_spread: float | None = None
    """By how many points repeated scorings of the answer differ. None if it was not measured."""
    question_type: QuestionType | None = None
    """The type that the question was scored as."""
    seniority: Seniority | None = None
    """The level that the answer was scored for. None if the session names none."""


@dataclass(frozen=True, slots=True)
class ScoredText:
    """The words that were scored. `key` is their recording, or None if the client sent them."""

    transcript: str
    key: str | None


@dataclass(frozen=True, slots=True)
class StoredFeedback:
    """A session's only feedback. `scored` is None in a row of an older release."""

    feedback: Feedback
    scored: ScoredText | None
    scored_at: datetime | None


@dataclass(frozen=True, slots=True)
class PastSession:
    """A scored session of the user, as the coach knows it."""

    title: str
    overall_score: int | None
    improvements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """What a session asks.

    `reference` is a copy of the question with `question_id`. It is None if the session names no
    question id.
    """

    question: str | None
    role: str | None = None
    seniority: Seniority | None = None
    question_id: str | None = None
    reference: Question | None = None


@dataclass(frozen=True, slots=True)
class CompletedSession:
    """A completed session, which is scored as soon as its transcript is available."""

    session_id: UUID
    user_id: UUID
    title: str
    question: str | None
    duration_seconds: int | None
    audio_s3_key: str | None
    client_transcript: str | None
    is_scored: bool = False
    has_failed: bool = False
    """Whether scoring failed because of the answer itself."""

    def answer(self, recording: Recording | None) -> Answer | None:
        """Return the answer to score, or None while the transcript is missing.

        The recording's transcript takes precedence. The client's transcript is used if the session
        has no recording, or if its recording could not be transcribed.
        """
        if recording is not None and recording.transcript is not None:
            return Answer.from_transcript(self.title, self.question, recording.transcript)
        has_failed = recording is not None and recording.has_failed
        if self.client_transcript and (self.audio_s3_key is None or has_failed):
            return Answer(
                title=self.title,
                question=self.question,
                text=self.client_transcript,
                duration_seconds=self.duration_seconds,
            )
        return None
