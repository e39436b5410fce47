"""Request and response bodies of ai."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints

from coach_ai.domain import Conversation, ConversationPage, MessagePage
from coach_common.http.cursor import encode_cursor

CURSOR = "conversations"


class ChatMessage(BaseModel):
    """Something to say to the coach."""

    model_config = ConfigDict(extra="ignore")

    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]
    conversation_id: Annotated[str, StringConstraints(max_length=64)] | None = None


class ChatReply(BaseModel):
    """What the coach says."""

    reply: str
    conversation_id: str
    provider: str


class ConversationListed(BaseModel):
    """A conversation in the list; the title is how it began."""

    id: str
    title: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, one: Conversation) -> "ConversationListed":
        """Shape a conversation."""
        return cls(
            id=str(one.id), title=one.title, created_at=one.created_at, updated_at=one.updated_at
        )


class ConversationsOut(BaseModel):
    """A page of conversations, the one used last first."""

    conversations: list[ConversationListed]
    next_cursor: str | None

    @classmethod
    def of(cls, page: ConversationPage, user_id: UUID) -> "ConversationsOut":
        """Shape a page."""
        return cls(
            conversations=[ConversationListed.of(one) for one in page.conversations],
            next_cursor=None
            if page.next_before is None
            else encode_cursor(page.next_before, user_id, list_name=CURSOR),
        )


class MessageOut(BaseModel):
    """One turn."""

    role: Literal["user", "assistant"]
    text: str
    created_at: datetime


class ConversationOut(ConversationListed):
    """A conversation with a page of its messages, oldest first; the cursor leads to older ones."""

    messages: list[MessageOut]
    next_cursor: str | None

    @classmethod
    def with_messages(cls, said: MessagePage) -> "ConversationOut":
        """Shape a conversation and its messages."""
        return cls(
            **ConversationListed.of(said.conversation).model_dump(),
            messages=[
                MessageOut.model_validate(
                    {"role": one.role, "text": one.text, "created_at": one.said_at}
                )
                for one in said.messages
            ],
            next_cursor=None if said.next_before is None else str(said.next_before),
        )


class Count(BaseModel):
    """How many of how many."""

    count: int
    of: int


BySplit = dict[str, dict[str, Count]]


class JudgedAgain(BaseModel):
    """How far the scores of one and the same answer lie apart, at most."""

    answers: int
    times: int
    widest_spread: int


class MetricError(BaseModel):
    """The worst error of a figure against a truth that was planted."""

    unit: str
    worst: float
    n: int
    goal: float | None


class HeardAgain(BaseModel):
    """What a change of its sound did to an answer: its words that differ, and its score."""

    words: Count
    score: int | None


class FigureAgain(BaseModel):
    """A figure over all changes of one sound; `verdicts` is how many different ones it had."""

    unit: str
    first: float
    least: float
    most: float
    verdicts: int


class MeasuredAgain(BaseModel):
    """A recording that was heard, judged and measured again after each change of its sound."""

    score: int | None
    changes: dict[str, HeardAgain]
    figures: dict[str, FigureAgain]


class OrdersThatRaise(BaseModel):
    """How many orders to the judge raise any score, and how many scores of answers they raise."""

    orders: Count
    answers: Count


class QualityCard(BaseModel):
    """What the judge does with graded answers, and how well it hears and measures.

    `held_out` is only counted, never tuned on.
    """

    provider: str
    model: str
    rubric_version: str
    prompt_versions: dict[str, str]
    """A digest each of what a language model is told; the local judge has no prompt."""
    speech_model: str
    human_agreement: str
    ordering: BySplit
    not_scored: BySplit
    off_topic: BySplit
    changes: BySplit
    no_answers_not_scored: Count
    orders_left_out: dict[str, Count]
    orders_that_raise: dict[str, OrdersThatRaise]
    judged_again: JudgedAgain
    word_errors: dict[str, Count]
    measured_again: dict[str, MeasuredAgain]
    metric_errors: dict[str, dict[str, MetricError]]
    held_vowels_found: Count
    held_vowels_false: Count
