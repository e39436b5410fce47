"""Request and response bodies of ai."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

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


_PointText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
_Wordings = Annotated[list[_PointText], Field(max_length=5)]


def _to_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


_SeniorityList = Annotated[
    list[domain.Seniority],
    BeforeValidator(_to_list),
    Field(max_length=3, description="levels that the question suits; empty means all"),
]
_POINT_EXAMPLE: JsonDict = {
    "text": "It distributes requests over several servers.",
    "importance": "must",
    "accepted": ["it spreads the traffic across machines"],
    "not": ["it makes a single server faster"],
}
_OWN_QUESTION_EXAMPLE: JsonDict = {
    "text": "What does a load balancer do?",
    "type": "knowledge",
    "field": "networking",
    "seniority": ["junior", "mid"],
    "points": [_POINT_EXAMPLE],
    "misconceptions": ["A load balancer stores the data of the servers."],
}


class ExpectedPoint(BaseModel):
    """Something that a good answer contains. It is checked when an answer is scored."""

    model_config = ConfigDict(extra="ignore", validate_by_name=True, validate_by_alias=True)

    text: _PointText
    importance: domain.Importance = Field(
        default=domain.Importance.MUST,
        description="`must`: a good answer contains it; `bonus`: a very good one does",
    )
    accepted: _Wordings = Field(default=[], description="wordings that cover the point")
    not_: _Wordings = Field(default=[], alias="not", description="wordings that contradict it")


class QuestionRequest(BaseModel):
    """A question of the user's own. `PUT` replaces all of it."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [_OWN_QUESTION_EXAMPLE]}
    )

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    type: domain.QuestionType = Field(
        description="`story`: an experience; `knowledge`: facts that are right or wrong; `case`: a"
        " problem to work on; `motive`: reasons and plans; `about_you`: the candidate"
    )
    field: (
        Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=60)]
        | None
    ) = None
    seniority: _SeniorityList = []
    points: Annotated[list[ExpectedPoint], Field(max_length=12)] = []
    misconceptions: Annotated[list[_PointText], Field(max_length=12)] = Field(
        default=[], description="wrong statements that people make"
    )

    def to_domain(self) -> domain.Question:
        """Return the question without id and owner. Points are numbered in their order."""
        return domain.Question(
            id="",
            text=self.text,
            type=self.type,
            field=self.field or None,
            seniority=tuple(dict.fromkeys(self.seniority)),
            points=tuple(
                domain.ExpectedPoint(
                    f"p{number}", one.text, one.importance, tuple(one.accepted), tuple(one.not_)
                )
                for number, one in enumerate(self.points, 1)
            ),
            misconceptions=tuple(
                domain.Misconception(f"m{number}", text)
                for number, text in enumerate(self.misconceptions, 1)
            ),
        )


class Question(BaseModel):
    """A question of the bank or of the user.

    The points of the bank's questions are not shown: an interviewer does not give the answer.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01a20c8d-0000-7000-8000-000000000003",
                    **_OWN_QUESTION_EXAMPLE,
                    "tags": [],
                    "is_own": True,
                    "point_count": 1,
                    "points": [{"id": "p1", **_POINT_EXAMPLE}],
                }
            ]
        }
    )

    id: str
    text: str
    type: domain.QuestionType
    field: str | None
    seniority: list[domain.Seniority] = Field(
        description="levels that the question suits; empty means all"
    )
    tags: list[str]
    is_own: bool = Field(description="false: a question of the bank")
    point_count: int = Field(
        description="number of expected points; without any, `technical_score` stays null"
    )
    points: list["NumberedPoint"] | None = Field(description="null if `is_own` is false")
    misconceptions: list[str] | None = Field(description="null if `is_own` is false")

    @classmethod
    def from_domain(cls, question: domain.Question) -> "Question":
        """Convert a question. Hides the points of the bank's questions."""
        is_own = question.owner_id is not None
        return cls(
            id=question.id,
            text=question.text,
            type=question.type,
            field=question.field,
            seniority=list(question.seniority),
            tags=list(question.tags),
            is_own=is_own,
            point_count=len(question.points),
            points=[NumberedPoint.from_domain(one) for one in question.points] if is_own else None,
            misconceptions=[one.text for one in question.misconceptions] if is_own else None,
        )


class NumberedPoint(ExpectedPoint):
    """An expected point with the id that feedback refers to."""

    id: str

    @classmethod
    def from_domain(cls, point: domain.ExpectedPoint) -> "NumberedPoint":
        """Convert a point."""
        return cls.model_validate(asdict(point))


class QuestionPage(BaseModel):
    """A page of questions: the user's own first, then the bank."""

    questions: list[Question]
    next_cursor: str | None = Field(description="null on the last page")

    @classmethod
    def from_domain(cls, page: domain.QuestionPage) -> "QuestionPage":
        """Convert a page."""
        return cls(
            questions=[Question.from_domain(one) for one in page.questions],
            next_cursor=page.next_after,
        )


class QuestionFilter(BaseModel):
    """The query of the question list. An empty value is no condition."""

    type: domain.QuestionType | Literal[""] | None = None
    field: Annotated[str, StringConstraints(to_lower=True, max_length=60)] | None = Field(
        default=None, examples=["databases"]
    )
    seniority: domain.Seniority | Literal[""] | None = None
    tag: Annotated[str, StringConstraints(to_lower=True, max_length=60)] | None = None
    search: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        default=None, description="words that all occur in the text, the field or the tags"
    )
    limit: int = Field(default=50, ge=1, le=100)
    cursor: Annotated[str, StringConstraints(max_length=100)] | None = None

    def to_domain(self) -> domain.QuestionQuery:
        """Return the conditions."""
        return domain.QuestionQuery(
            type=self.type or None,
            field=self.field or None,
            seniority=self.seniority or None,
            tag=self.tag or None,
            search=self.search or "",
        )


class QuestionTextResponse(BaseModel):
    """A question without its expected points."""

    id: str
    text: str


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
