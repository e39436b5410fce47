"""What is known of a recording and of an answer. Plain Python: no I/O, no clock, no framework."""

from dataclasses import dataclass, field
from typing import Any

from coach_common.errors import CoachError


class CannotTranscribe(CoachError):
    """This recording will never have words: no speech, unreadable, refused. Do not try again."""

    code = "cannot_transcribe"


class CannotJudge(CoachError):
    """The provider will never judge this answer (it refused). Do not try again."""

    code = "cannot_judge"


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it was said; `start` and `end` in seconds from the recording's start."""

    text: str
    start: float
    end: float
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch without voice, by the audio's energy, in seconds from the recording's start."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of a recording. `words` is empty where the provider gave no times;
    `silences` is None where the audio was not looked at."""

    text: str
    language: str
    duration_seconds: float
    provider: str
    model: str
    words: tuple[Word, ...] = ()
    silences: tuple[Silence, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is judged: an answer to a question. A client's own text has no words and no times."""

    title: str
    question: str | None
    text: str
    language: str | None = None
    duration_seconds: float | None = None
    words: tuple[Word, ...] = ()
    silences: tuple[Silence, ...] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """One remark with the words it rests on. `quote` stands in the transcript; the times are
    None where the transcript has none."""

    kind: str
    """`strength` or `improvement`."""
    dimension: str
    text: str
    quote: str
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judged answer. A score (0 to 100) is None where it could not be judged, and
    `detailed_feedback` then says why. `delivery` is JSON: metric name to its measurement."""

    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    claims: tuple[Claim, ...]
    detailed_feedback: str
    provider: str
    model: str
    rubric_version: str
    delivery: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is `user` or `assistant`."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class PastSession:
    """What the coach knows of a session that was judged."""

    title: str
    overall_score: int | None
    improvements: tuple[str, ...]
