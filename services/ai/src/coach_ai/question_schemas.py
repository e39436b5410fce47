"""Request and response bodies of questions."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from coach_ai import domain
from coach_ai.domain.bookmarks import Bookmark as DomainBookmark
from coach_ai.domain.interview_notes import PEOPLE_STEP
from coach_ai.domain.interview_notes import InterviewNote as DomainInterviewNote
from coach_ai.interview.model import CompanyStyle
from coach_ai.interview.plan import list_style_topics

_PointText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
CollectionName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)
]
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

QUESTION_EXAMPLE: JsonDict = {
    "id": "01a20c8d-0000-7000-8000-000000000003",
    **_OWN_QUESTION_EXAMPLE,
    "tags": [],
    "is_own": True,
    "point_count": 1,
    "points": [{"id": "p1", **_POINT_EXAMPLE}],
    "asked_at": "2026-11-20",
    "asked_by": "Example Ltd.",
    "asked_people": None,
    "bookmark": None,
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
    asked_at: date | None = Field(
        default=None, description="day on which a real interviewer asked it"
    )
    asked_by: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] | None = (
        Field(default=None, description="company or position of that interview")
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
            asked_at=self.asked_at,
            asked_by=self.asked_by or None,
        )


class BookmarkRequest(BaseModel):
    """A bookmark of a question. `PUT` replaces all of it."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"note": "Mention the cache.", "collections": ["Onsite at Example"]}]
        },
    )

    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)] | None = None
    collections: Annotated[list[CollectionName], Field(max_length=10)] = []


class Bookmark(BaseModel):
    """A bookmark of a question."""

    note: str | None
    collections: list[str]
    updated_at: datetime

    @classmethod
    def from_domain(cls, bookmark: DomainBookmark) -> "Bookmark":
        """Convert a bookmark."""
        return cls(
            note=bookmark.note,
            collections=list(bookmark.collections),
            updated_at=bookmark.updated_at,
        )


class InterviewNoteRequest(BaseModel):
    """When and by whom a question was asked in a real interview. `PUT` replaces all of it."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"asked_at": "2026-11-20", "asked_by": "Example Ltd."}]},
    )

    asked_at: date | None = Field(default=None, description="null: today (UTC)")
    asked_by: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] | None = (
        Field(default=None, description="company or position of that interview")
    )

    def to_domain(self, *, today: date) -> DomainInterviewNote:
        """Return the note."""
        return DomainInterviewNote(self.asked_at or today, self.asked_by or None)


class InterviewNote(BaseModel):
    """When and by whom a question was asked in a real interview."""

    asked_at: date
    asked_by: str | None


class NumberedPoint(ExpectedPoint):
    """An expected point with the id that feedback refers to."""

    id: str

    @classmethod
    def from_domain(cls, point: domain.ExpectedPoint) -> "NumberedPoint":
        """Convert a point."""
        return cls.model_validate(asdict(point))


class Question(BaseModel):
    """A question of the bank or of the user.

    The points of the bank's questions are not shown: an interviewer does not give the answer.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [QUESTION_EXAMPLE]})

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
    points: list[NumberedPoint] | None = Field(description="null if `is_own` is false")
    misconceptions: list[str] | None = Field(description="null if `is_own` is false")
    asked_at: date | None = Field(description="null unless the user noted it")
    asked_by: str | None = Field(description="null unless the user noted it")
    asked_people: int | None = Field(
        description="how many users noted that a real interviewer asked it, rounded down to a"
        f" multiple of {PEOPLE_STEP}; null below {PEOPLE_STEP}, and for own questions"
    )
    bookmark: Bookmark | None = Field(description="null if the user has not marked the question")

    @classmethod
    def from_domain(
        cls, question: domain.Question, bookmark: DomainBookmark | None = None
    ) -> "Question":
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
            asked_at=question.asked_at,
            asked_by=question.asked_by,
            asked_people=question.asked_people,
            bookmark=None if bookmark is None else Bookmark.from_domain(bookmark),
        )


class QuestionPage(BaseModel):
    """A page of questions: the user's own first, then the bank."""

    questions: list[Question]
    next_cursor: str | None = Field(description="null on the last page")

    @classmethod
    def from_domain(cls, page: domain.QuestionPage) -> "QuestionPage":
        """Convert a page."""
        return cls(
            questions=[
                Question.from_domain(one, page.bookmarks.get(one.id)) for one in page.questions
            ],
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
    company_style: CompanyStyle | Literal[""] | None = Field(
        default=None, description="questions on what interviews in this style ask"
    )
    min_asked_people: Annotated[int, Field(ge=1)] | Literal[""] | None = Field(
        default=None, description="least `asked_people` of a question"
    )
    sort: Literal["asked", ""] | None = Field(
        default=None, description="`asked`: most `asked_people` first"
    )
    bookmarked: bool | Literal[""] | None = None
    collection: Annotated[str, StringConstraints(max_length=60)] | None = Field(
        default=None, description="questions that are marked for this collection"
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
            topics=list_style_topics(self.company_style) if self.company_style else None,
            min_asked_people=self.min_asked_people or None,
            is_bookmarked=None if self.bookmarked == "" else self.bookmarked,
            collection=self.collection or None,
        )


class QuestionTextResponse(BaseModel):
    """A question without its expected points."""

    id: str
    text: str
