"""Request and response bodies of ai."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from coach_ai import domain
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


class QuestionTextResponse(BaseModel):
    """A question without its expected points."""

    id: str
    text: str


class Ratio(BaseModel):
    """A count out of a total."""

    count: int
    total: int


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
    word_errors: dict[str, Ratio]
    audio_robustness: dict[str, AudioRobustness]
    metric_errors: dict[str, dict[str, MetricError]]
    filled_pauses_detected: Ratio
    filled_pauses_false: Ratio
