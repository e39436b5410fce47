"""Interview questions with what a good answer contains, and how an answer covers it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from uuid import UUID

from coach_ai.domain.bookmarks import Bookmark
from coach_common.errors import Conflict, NotFound

MAX_OWN_QUESTIONS = 200


class QuestionType(StrEnum):
    """What a question asks for. It decides which dimensions are scored."""

    STORY = "story"
    """An experience: "Tell me about a time you missed a deadline." Also called behavioural."""
    KNOWLEDGE = "knowledge"
    """Facts that are right or wrong: "What does a database index do?" Also called technical."""
    CASE = "case"
    """A problem to work on: "How would you design a URL shortener?" Includes system design."""
    MOTIVE = "motive"
    """Reasons and plans: "Why do you want this job?" """
    ABOUT_YOU = "about_you"
    """The candidate: "What are your strengths?" """


Topic = tuple[QuestionType, str]
"""A field or tag of questions of one type."""


class Seniority(StrEnum):
    """The level of the position that the candidate applies for."""

    JUNIOR = "junior"
    MID = "mid"
    SENIOR = "senior"


class Importance(StrEnum):
    """Whether a good answer has to contain a point."""

    MUST = "must"
    BONUS = "bonus"


class PointStatus(StrEnum):
    """How an answer treats an expected point."""

    COVERED = "covered"
    PARTLY = "partly"
    MISSING = "missing"
    CONTRADICTED = "contradicted"


class QuestionNotFound(NotFound):
    """The question does not exist or belongs to another user."""

    code = "question_not_found"

    def __init__(self) -> None:
        super().__init__("Question not found")


class TooManyQuestions(Conflict):
    """The user has as many own questions as a user can have."""

    code = "too_many_questions"

    def __init__(self) -> None:
        super().__init__(f"You can have at most {MAX_OWN_QUESTIONS} own questions.")


@dataclass(frozen=True, slots=True)
class ExpectedPoint:
    """Something that a good answer contains.

    `accepted` are wordings that cover it. `not_` are wordings that contradict it.
    """

    id: str
    text: str
    importance: Importance
    accepted: tuple[str, ...] = ()
    not_: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Misconception:
    """A wrong statement that people make. `wordings` are ways to say it."""

    id: str
    text: str
    wordings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the bank, or a user's own question.

    `id` is a slug in the bank and a UUID for an own question. `seniority` lists the levels that the
    question suits; empty means all. `looks_for` are hints for questions without points.
    `owner_id` is None in the bank.
    """

    id: str
    text: str
    type: QuestionType
    field: str | None = None
    seniority: tuple[Seniority, ...] = ()
    tags: tuple[str, ...] = ()
    looks_for: tuple[str, ...] = ()
    points: tuple[ExpectedPoint, ...] = ()
    misconceptions: tuple[Misconception, ...] = ()
    owner_id: UUID | None = None
    asked_at: date | None = None
    """When the question was asked in a real interview. None if the user did not note it."""
    asked_by: str | None = None
    """The company or position of that interview."""
    asked_people: int | None = None
    """How many people noted that they were asked it. None: too few, or an own question."""

    @property
    def competence(self) -> str:
        """What the question tests: its field, else its first tag, else its type."""
        return self.field or next(iter(self.tags), str(self.type))

    @property
    def topics(self) -> set[Topic]:
        """The type of the question with its field, and with each of its tags."""
        return {(self.type, name) for name in (self.field, *self.tags) if name is not None}

    @property
    def was_asked_in_interview(self) -> bool:
        """True if the user noted that a real interviewer asked the question."""
        return self.asked_at is not None or self.asked_by is not None

    def matches(self, query: "QuestionQuery") -> bool:
        """Return True if the question meets all conditions of `query`."""
        return (
            query.type in (None, self.type)
            and query.field in (None, self.field)
            and (query.seniority is None or not self.seniority or query.seniority in self.seniority)
            and (query.tag is None or query.tag in self.tags)
            and (query.topics is None or not query.topics.isdisjoint(self.topics))
            and (
                query.min_asked_people is None or (self.asked_people or 0) >= query.min_asked_people
            )
            and all(word in self._searchable for word in query.search.casefold().split())
        )

    @property
    def _searchable(self) -> str:
        return " ".join((self.text, self.field or "", *self.tags)).casefold()


@dataclass(frozen=True, slots=True)
class QuestionQuery:
    """Conditions on questions. None, or an empty `search`, is no condition.

    `search` is words that all occur in the text, the field or the tags.
    """

    type: QuestionType | None = None
    field: str | None = None
    seniority: Seniority | None = None
    tag: str | None = None
    search: str = ""
    topics: frozenset[Topic] | None = None
    """The question has one of these topics."""
    min_asked_people: int | None = None
    is_bookmarked: bool | None = None
    collection: str | None = None

    @property
    def has_bookmark_condition(self) -> bool:
        """True if a question has to be, or not to be, bookmarked."""
        return self.is_bookmarked is not None or self.collection is not None

    def matches_bookmark(self, bookmark: Bookmark | None) -> bool:
        """Return True if the bookmark of a question, None without one, meets the conditions."""
        is_bookmarked = bookmark is not None
        collections = () if bookmark is None else bookmark.collections
        return self.is_bookmarked in (None, is_bookmarked) and (
            self.collection is None or self.collection in collections
        )


@dataclass(frozen=True, slots=True)
class QuestionPage:
    """A page of questions with their bookmarks.

    `next_after` is the id to continue after, or None on the last page.
    """

    questions: list[Question]
    next_after: str | None
    bookmarks: Mapping[str, Bookmark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PointCoverage:
    """An expected point and how the answer treats it.

    `quote` is None for a missing point. The times are None if the transcript has no word times.
    `misconception` is the wrong statement behind a contradicted point, or None.
    """

    id: str
    text: str
    importance: Importance
    status: PointStatus
    quote: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    misconception: str | None = None

    @classmethod
    def from_point(
        cls,
        point: ExpectedPoint,
        status: PointStatus,
        quote: str | None = None,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        misconception: str | None = None,
    ) -> "PointCoverage":
        """Return the coverage of a point. Without a quote nothing but its status is known."""
        return cls(
            point.id,
            point.text,
            point.importance,
            status,
            quote,
            start_seconds,
            end_seconds,
            misconception,
        )


@dataclass(frozen=True, slots=True)
class DimensionLevel:
    """The level of one dimension, 1 to 5, or None if it was not scored.

    `weight` is its share of the overall score, 0 to 1.
    """

    name: str
    level: float | None
    weight: float
