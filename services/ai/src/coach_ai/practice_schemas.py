"""Request and response bodies of what to practise next."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from coach_ai import domain
from coach_ai.interview.model import InterviewType
from coach_ai.interview.plan import QUESTION_TYPES
from coach_ai.practice.ranking import ReasonCode
from coach_ai.question_schemas import QUESTION_EXAMPLE, ExpectedPoint, Question
from coach_ai.use_cases.practice import (
    ExplainedSuggestion,
    NextQuestionQuery,
    SetDetails,
    SetProgress,
)

_Field = Annotated[str, StringConstraints(to_lower=True, max_length=60)]


class PracticeConditions(BaseModel):
    """Conditions on the suggested questions. An empty value is no condition."""

    field: _Field | None = Field(default=None, examples=["databases"])
    seniority: domain.Seniority | Literal[""] | None = None

    def to_conditions(self) -> domain.QuestionQuery:
        """Return the conditions."""
        return domain.QuestionQuery(field=self.field or None, seniority=self.seniority or None)


class NextQuestionFilter(PracticeConditions):
    """The query of the next question."""

    interview_type: InterviewType | Literal[""] | None = None
    set: Annotated[str, StringConstraints(max_length=60)] | None = Field(
        default=None, description="only questions of this set", examples=["first-interview"]
    )
    after: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="a question that is not suggested again"
    )
    repeat: bool = Field(
        default=False, description="the question asked or answered last may be suggested too"
    )

    def to_domain(self) -> NextQuestionQuery:
        """Return the query."""
        return NextQuestionQuery(
            conditions=self.to_conditions(),
            types=QUESTION_TYPES[self.interview_type] if self.interview_type else (),
            set_id=self.set or None,
            after=self.after or None,
            can_repeat=self.repeat,
        )


class WeakPointsFilter(PracticeConditions):
    """The query of the set aimed at weak points."""

    count: int = Field(default=5, ge=1, le=15, description="5, 10 or 15 fit one sitting")


class SuggestedQuestion(Question):
    """A question with the reason to practise it, or with its state in a set."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **QUESTION_EXAMPLE,
                    "reason_code": "due",
                    "reason": "Due again for 2 days.",
                    "due_at": "2026-11-26T12:00:00Z",
                    "last_score": 70,
                }
            ]
        }
    )

    reason_code: ReasonCode = Field(
        description="`weak`: the last answer is below level 3; `due`: due again; `new`: never"
        " answered; `later`: not due yet"
    )
    reason: str
    due_at: datetime | None = Field(description="null if it was never answered")
    last_score: int | None = Field(description="score of the last answer, 0 to 100")

    @classmethod
    def from_suggestion(cls, explained: ExplainedSuggestion) -> "SuggestedQuestion":
        """Convert a suggestion."""
        suggestion = explained.suggestion
        question = Question.from_domain(suggestion.question, explained.bookmark)
        card = suggestion.card
        return cls(
            **question.model_dump(),
            reason_code=suggestion.code,
            reason=explained.reason,
            due_at=suggestion.due_at,
            last_score=None if card is None else card.last_score,
        )


class QuestionSetSummary(BaseModel):
    """A set in the list."""

    id: str
    title: str
    minutes: int
    question_count: int
    answered_count: int = Field(description="questions that the user has answered")

    @classmethod
    def from_domain(cls, progress: SetProgress) -> "QuestionSetSummary":
        """Convert a set."""
        return cls(
            id=progress.set.id,
            title=progress.set.title,
            minutes=progress.set.minutes,
            question_count=len(progress.set.question_ids),
            answered_count=progress.answered,
        )


class QuestionSetList(BaseModel):
    """The sets that ship."""

    sets: list[QuestionSetSummary]


class QuestionSetDetails(BaseModel):
    """A set with the user's state of each question."""

    id: str
    title: str
    minutes: int
    questions: list[SuggestedQuestion]

    @classmethod
    def from_domain(cls, details: SetDetails) -> "QuestionSetDetails":
        """Convert a set."""
        return cls(
            id=details.set.id,
            title=details.set.title,
            minutes=details.set.minutes,
            questions=[SuggestedQuestion.from_suggestion(one) for one in details.suggestions],
        )


class QuestionCollection(BaseModel):
    """A collection of the user's bookmarks."""

    name: str
    question_count: int


class QuestionCollectionList(BaseModel):
    """The collections of the user's bookmarks, by name."""

    collections: list[QuestionCollection]

    @classmethod
    def from_counts(cls, counts: dict[str, int]) -> "QuestionCollectionList":
        """Convert the number of questions by collection."""
        return cls(
            collections=[
                QuestionCollection(name=name, question_count=count)
                for name, count in counts.items()
            ]
        )


class PointProposalRequest(BaseModel):
    """A model answer to propose expected points from."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "model_answer": "A load balancer distributes requests over several servers."
                    " It stops sending requests to a server that fails its health check."
                }
            ]
        },
    )

    model_answer: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)
    ]


class PointProposal(BaseModel):
    """Proposed points, to edit and to send with `POST` or `PUT /questions`. Nothing is stored."""

    points: list[ExpectedPoint]

    @classmethod
    def from_domain(cls, points: tuple[domain.ExpectedPoint, ...]) -> "PointProposal":
        """Convert the points."""
        return cls(
            points=[ExpectedPoint(text=one.text, importance=one.importance) for one in points]
        )
