"""Request and response bodies of ai."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from coach_ai import domain
from coach_ai.dispute_schemas import DisputeCounts
from coach_common.http.cursor import encode_cursor

CONVERSATION_LIST_NAME = "conversations"


class ChatRequest(BaseModel):
    """A message to the coach."""

    model_config = ConfigDict(extra="ignore")

    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]
    conversation_id: Annotated[str, StringConstraints(max_length=64)] | None = None


class ChatResponse(BaseModel):
    """The coach's reply."""

    reply: str
    conversation_id: str
    provider: str


class ConversationSummary(BaseModel):
    """A conversation in the list. The title is the beginning of its first message."""

    id: str
    title: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_domain(cls, conversation: domain.Conversation) -> "ConversationSummary":
        """Convert a conversation."""
        return cls(
            id=str(conversation.id),
            title=conversation.title,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
        )


class ConversationPage(BaseModel):
    """A page of conversations, most recently used first."""

    conversations: list[ConversationSummary]
    next_cursor: str | None

    @classmethod
    def from_domain(cls, page: domain.ConversationPage, user_id: UUID) -> "ConversationPage":
        """Convert a page. The cursor is valid for this user only."""
        return cls(
            conversations=[ConversationSummary.from_domain(one) for one in page.conversations],
            next_cursor=None
            if page.next_before is None
            else encode_cursor(page.next_before, user_id, list_name=CONVERSATION_LIST_NAME),
        )


class Message(BaseModel):
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str
    created_at: datetime


class Conversation(ConversationSummary):
    """A conversation with a page of its messages, oldest first.

    The cursor leads to older messages.
    """

    messages: list[Message]
    next_cursor: str | None

    @classmethod
    def from_page(cls, page: domain.MessagePage) -> "Conversation":
        """Convert a conversation and its messages."""
        return cls(
            **ConversationSummary.from_domain(page.conversation).model_dump(),
            messages=[
                Message.model_validate(
                    {"role": one.role, "text": one.text, "created_at": one.created_at}
                )
                for one in page.messages
            ],
            next_cursor=None if page.next_before is None else str(page.next_before),
        )


class Ratio(BaseModel):
    """A count out of a total."""

    count: int
    total: int


class RatedRemarks(Ratio):
    """True remarks among those rated remarks that the scorer still makes."""

    rated: int = Field(description="remarks that a reader rated")


RatiosBySplit = dict[str, dict[str, Ratio]]


class RepeatabilityResult(BaseModel):
    """Largest difference between the scores of the same answer."""

    answers: int
    repetitions: int
    max_spread: int


class MetricError(BaseModel):
    """Largest error of a metric against a known value."""

    unit: str
    worst: float
    n: int
    goal: float | None


class TranscriptStability(BaseModel):
    """Effect of a change of the audio on an answer: words that differ, and the new score."""

    words: Ratio
    score: int | None


class MetricRange(BaseModel):
    """Range of a metric over all changes of one recording."""

    unit: str
    first: float
    minimum: float
    maximum: float
    verdicts: int = Field(description="number of different verdicts")


class AudioRobustness(BaseModel):
    """Transcript, score and metrics of one recording after each change of its audio."""

    score: int | None
    changes: dict[str, TranscriptStability]
    metrics: dict[str, MetricRange]


class InjectionResult(BaseModel):
    """Prompt injections that raise any score, and scores that they raise."""

    injections: Ratio
    answers: Ratio


class LevelScore(BaseModel):
    """The score of a graded answer, with its spread."""

    level: int
    score: int
    spread: float | None


class SetResults(BaseModel):
    """Counts over graded sets.

    `same`: within 5 points; `lower`: more than 5 points lower; `not_higher`: not above.
    """

    ordering: dict[str, Ratio] = Field(description="pairs two or more levels apart, by type")
    level_means: dict[str, float] = Field(description="mean score by level")
    level_distance: float = Field(description="points between neighbouring levels from 2 to 5")
    unchecked_questions: int = Field(description="knowledge questions without expected points")
    pairs: RatiosBySplit = Field(description="pairs that hold, by expectation and class")
    noise_points: float = Field(description="root mean square difference of `same` pairs")
    noise: float | None = Field(description="the same as a share of `level_distance`")
    same_within_spread: Ratio
    additions: dict[str, Ratio] = Field(description="pieces without content that raise a score")
    technical: dict[str, Ratio]
    languages: dict[str, Ratio] = Field(
        description="texts rejected for their language, by whether they should be"
    )


class ProbeResults(SetResults):
    """Counts over the sets that the scorer was developed with."""

    scores: list[LevelScore]
    relevant_rejected: Ratio


class PointRates(BaseModel):
    """Precision and recall of the expected points that were found. None if nothing was counted."""

    precision: float | None
    recall: float | None
    labels: int


class PointResults(BaseModel):
    """Figures of the expected points of technical questions. A share is None without answers."""

    questions: int
    mean_score: dict[str, float | None] = Field(description="by kind of answer")
    right_above_partly: float | None
    right_above_wrong: float | None
    right_above_nonsense: float | None
    partly_above_wrong: float | None
    wrong_at_most_40: float | None
    nonsense_under_30: float | None
    covered: PointRates
    contradicted: PointRates
    misconceptions: PointRates


class HeldOutResults(SetResults):
    """Counts over sets that were written without sight of the scorer, and are never tuned on."""

    points: PointResults
    answers_rejected: Ratio = Field(description="answers of levels 2 to 5 without a score")
    remarks: RatedRemarks


class Goal(BaseModel):
    """A goal of the scorer and its value on the held-out sets."""

    name: str
    is_at_least: bool = Field(description="whether more is better")
    goal: float
    value: float | None = Field(description="null if not measured")
    is_reached: bool | None


class QualityReport(BaseModel):
    """How well this version scores graded answers, transcribes speech and measures delivery.

    The split `held_out` is counted only and never used for tuning.
    """

    provider: str
    model: str
    rubric_version: str
    prompt_versions: dict[str, str] = Field(
        description="digest of each language model prompt; the local scorer uses none"
    )
    speech_model: str
    human_agreement: str
    ordering: RatiosBySplit
    not_scored: RatiosBySplit
    off_topic: RatiosBySplit
    changes: RatiosBySplit
    non_answers_rejected: Ratio
    injections_removed: dict[str, Ratio]
    injections_that_raise_score: dict[str, InjectionResult]
    repeatability: RepeatabilityResult
    probes: ProbeResults
    held_out_sets: HeldOutResults
    scoring_milliseconds: float = Field(description="median time to score 300 words")
    goals: list[Goal]
    word_errors: dict[str, Ratio]
    audio_robustness: dict[str, AudioRobustness]
    metric_errors: dict[str, dict[str, MetricError]]
    filled_pauses_detected: Ratio
    filled_pauses_false: Ratio
    disputes: DisputeCounts | None = Field(default=None, description="null if not readable now")
