"""Response bodies of attempts."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from coach_common.events.feedback import (
    DimensionLevel,
    FeedbackStatus,
    Number,
    PointCoverage,
    Score,
)
from coach_common.http.cursor import encode_cursor
from coach_sessions import attempts as domain

ATTEMPTS_CURSOR_NAME = "attempts"

_ATTEMPTS_EXAMPLE: JsonDict = {
    "attempts": [
        {
            "session_id": "01a20c8d-0000-7000-8000-000000000002",
            "created_at": "2026-11-24T12:00:00Z",
            "completed_at": "2026-11-24T12:02:00Z",
            "status": "ready",
            "overall_score": 81,
            "communication_score": 91,
            "technical_score": 74,
            "clarity_score": 95,
            "dimensions": [{"name": "structure", "level": 4.5, "weight": 0.25}],
            "points": [],
            "self_rating": 70,
            "self_rating_gap": -11,
            "change": {
                "previous_session_id": "01a20c8d-0000-7000-8000-000000000001",
                "summary": "The overall score rose from 64 to 81. Better: structure.",
                "spread": 5,
                "is_same_scorer": True,
                "scores": [
                    {
                        "name": "overall",
                        "before": 64,
                        "after": 81,
                        "difference": 17,
                        "verdict": "better",
                        "text": "The overall score rose from 64 to 81.",
                    }
                ],
                "dimensions": [
                    {
                        "name": "structure",
                        "before": 3,
                        "after": 4.5,
                        "difference": 1.5,
                        "verdict": "better",
                        "text": "The level of structure rose from 3 to 4.5.",
                    }
                ],
                "points": [],
            },
        }
    ],
    "next_cursor": "AAZhBHMnkAABogyN",
}

ChangeVerdict = Literal["better", "worse", "no_clear_change"]


class ValueChange(BaseModel):
    """A score or the level of a dimension in two attempts."""

    name: str = Field(examples=["overall", "structure"])
    before: Number
    after: Number
    difference: Number = Field(description="`after` minus `before`")
    verdict: ChangeVerdict
    text: str = Field(description="the change in one sentence")

    @classmethod
    def from_domain(cls, change: domain.ValueChange) -> "ValueChange":
        """Return the response for a change."""
        return cls(
            name=change.name,
            before=change.before,
            after=change.after,
            difference=change.difference,
            verdict=change.verdict.value,
            text=change.text,
        )


class PointChange(BaseModel):
    """An expected point of the question in two attempts."""

    id: str
    point: str = Field(description="what a good answer contains")
    before: str = Field(description="`status` of the point in the earlier attempt")
    after: str = Field(description="`status` of the point in this attempt")
    verdict: ChangeVerdict
    text: str = Field(description="the change in one sentence")

    @classmethod
    def from_domain(cls, change: domain.PointChange) -> "PointChange":
        """Return the response for a change."""
        return cls(
            id=change.id,
            point=change.point,
            before=change.before,
            after=change.after,
            verdict=change.verdict.value,
            text=change.text,
        )


class AttemptChange(BaseModel):
    """What changed since the scored attempt before. Values that one of them lacks are left out."""

    previous_session_id: UUID
    summary: str = Field(description="the changes in a few sentences")
    spread: Number = Field(
        description="points of a score; a smaller change is `no_clear_change`. The larger"
        " `score_spread` of the two feedbacks"
    )
    is_same_scorer: bool = Field(
        description="false if provider, model or rubric differ, which may explain a difference"
    )
    scores: list[ValueChange]
    dimensions: list[ValueChange]
    points: list[PointChange]

    @classmethod
    def from_domain(cls, comparison: domain.Comparison) -> "AttemptChange":
        """Return the response for a comparison."""
        return cls(
            previous_session_id=comparison.previous_session_id,
            summary=comparison.summary,
            spread=comparison.spread,
            is_same_scorer=comparison.is_same_scorer,
            scores=[ValueChange.from_domain(one) for one in comparison.scores],
            dimensions=[ValueChange.from_domain(one) for one in comparison.dimensions],
            points=[PointChange.from_domain(one) for one in comparison.points],
        )


class Attempt(BaseModel):
    """One attempt at a question. Scores are null until the session is ready."""

    session_id: UUID
    created_at: datetime
    completed_at: datetime | None
    status: FeedbackStatus
    overall_score: Score | None
    communication_score: Score | None
    technical_score: Score | None
    clarity_score: Score | None
    dimensions: list[DimensionLevel]
    points: list[PointCoverage]
    self_rating: int | None = Field(description="how the user rated the answer, 0 to 100")
    self_rating_gap: int | None = Field(description="`self_rating` minus `overall_score`")
    change: AttemptChange | None = Field(
        description="null if this attempt or every earlier one has no score"
    )

    @classmethod
    def from_domain(
        cls, attempt: domain.Attempt, comparison: domain.Comparison | None
    ) -> "Attempt":
        """Return the response for an attempt."""
        feedback = attempt.feedback
        return cls(
            session_id=attempt.id,
            created_at=attempt.created_at,
            completed_at=attempt.completed_at,
            status=attempt.status,
            overall_score=None if feedback is None else feedback.overall_score,
            communication_score=None if feedback is None else feedback.communication_score,
            technical_score=None if feedback is None else feedback.technical_score,
            clarity_score=None if feedback is None else feedback.clarity_score,
            dimensions=[] if feedback is None else feedback.dimensions,
            points=[] if feedback is None else feedback.points,
            self_rating=attempt.self_rating,
            self_rating_gap=attempt.self_rating_gap,
            change=None if comparison is None else AttemptChange.from_domain(comparison),
        )


class AttemptPage(BaseModel):
    """A page of the attempts at one question, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ATTEMPTS_EXAMPLE]})

    attempts: list[Attempt]
    next_cursor: str | None = Field(description="null on the last page")

    @classmethod
    def from_domain(cls, page: domain.AttemptPage, user_id: UUID) -> "AttemptPage":
        """Return the response for a page of this user's attempts."""
        return cls(
            attempts=[Attempt.from_domain(*one) for one in page.attempts],
            next_cursor=None
            if page.next_position is None
            else encode_cursor(page.next_position, user_id, list_name=ATTEMPTS_CURSOR_NAME),
        )
