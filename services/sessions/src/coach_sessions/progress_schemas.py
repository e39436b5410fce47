"""Request and response bodies of self-ratings and progress."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from coach_common.events.feedback import Number
from coach_sessions import domain, progress

_SESSION_ID = "01a20c8d-0000-7000-8000-000000000002"

Rating = Annotated[int, Field(ge=0, le=100)]


class SelfRatingRequest(BaseModel):
    """How the user rates the own answer, on the scale of the scores."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"rating": 70}]})

    rating: Rating


class SelfRating(BaseModel):
    """A stored self-rating."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"session_id": _SESSION_ID, "rating": 70, "rated_at": "2026-11-24T12:02:30Z"}
            ]
        }
    )

    session_id: UUID
    rating: int
    rated_at: datetime

    @classmethod
    def from_domain(cls, session: domain.Session) -> "SelfRating":
        """Return the response for a rated session."""
        return cls.model_validate(
            {
                "session_id": session.id,
                "rating": session.self_rating,
                "rated_at": session.self_rated_at,
            }
        )


class Interval(BaseModel):
    """A mean with its 95 % confidence interval."""

    n: int = Field(description="number of values")
    mean: Number
    low: Number | None = Field(description="null for one value")
    high: Number | None = Field(description="null for one value")

    @classmethod
    def from_domain(cls, interval: progress.Interval) -> "Interval":
        """Return the response for an interval."""
        return cls(n=interval.n, mean=interval.mean, low=interval.low, high=interval.high)


class Trend(BaseModel):
    """A score or dimension in the newest 10 scored sessions and in the 10 before them."""

    kind: Literal["score", "dimension"] = Field(
        description="a score has 0 to 100 points, a dimension has levels 1 to 5"
    )
    name: str = Field(examples=["overall", "structure"])
    recent: Interval
    earlier: Interval | None
    verdict: Literal["better", "worse", "no_clear_change", "too_few"]
    text: str = Field(description="the trend in one or two sentences")

    @classmethod
    def from_domain(cls, trend: progress.Trend) -> "Trend":
        """Return the response for a trend."""
        earlier = trend.earlier
        return cls.model_validate(
            {
                "kind": trend.kind,
                "name": trend.name,
                "recent": Interval.from_domain(trend.recent),
                "earlier": None if earlier is None else Interval.from_domain(earlier),
                "verdict": trend.verdict,
                "text": trend.text,
            }
        )


class Practice(BaseModel):
    """How much the user has practised."""

    sessions: int = Field(description="completed sessions")
    seconds: int = Field(description="their duration")
    seconds_last_7_days: int = Field(description="in UTC days, today included")
    seconds_last_30_days: int = Field(description="in UTC days, today included")


class Streak(BaseModel):
    """Consecutive days with a completed session, up to today or yesterday."""

    days: int = Field(description="366 at most")
    has_practised_today: bool
    tz: str = Field(description="the time zone of the days")


class RatedSession(BaseModel):
    """A session with a self-rating and a score."""

    session_id: UUID
    created_at: datetime
    rating: int
    score: Number
    gap: Number = Field(description="`rating` minus `score`")


class SelfAssessment(BaseModel):
    """How self-ratings compare with scores."""

    gap: Interval | None = Field(description="of the newest 10 in `sessions`")
    text: str = Field(description="the comparison in one sentence")
    sessions: list[RatedSession] = Field(
        description="those of the newest 20 scored sessions with a self-rating, newest first"
    )


class Weakness(BaseModel):
    """What was low in several of the newest 10 scored sessions."""

    kind: Literal["dimension", "point"]
    name: str = Field(description="name of the dimension, or id of the expected point")
    text: str
    session_ids: list[UUID] = Field(description="newest first")


class NextDrill(BaseModel):
    """The exercise for the dimension with the lowest mean level."""

    dimension: str
    exercise: str
    reason: str


class Progress(BaseModel):
    """The progress of the user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "practice": {
                        "sessions": 12,
                        "seconds": 1140,
                        "seconds_last_7_days": 380,
                        "seconds_last_30_days": 1140,
                    },
                    "streak": {"days": 3, "has_practised_today": True, "tz": "Europe/Berlin"},
                    "trends": [
                        {
                            "kind": "dimension",
                            "name": "structure",
                            "recent": {"n": 10, "mean": 3.4, "low": 3.1, "high": 3.7},
                            "earlier": {"n": 2, "mean": 2.5, "low": 1, "high": 5},
                            "verdict": "too_few",
                            "text": "The mean level of structure is 3.4."
                            " There are too few sessions to compare.",
                        }
                    ],
                    "is_same_scorer": True,
                    "self_assessment": {
                        "gap": {"n": 3, "mean": 12, "low": 4, "high": 20},
                        "text": "You rate yourself 12 points above the score on average.",
                        "sessions": [
                            {
                                "session_id": _SESSION_ID,
                                "created_at": "2026-11-24T12:00:00Z",
                                "rating": 80,
                                "score": 68,
                                "gap": 12,
                            }
                        ],
                    },
                    "weaknesses": [
                        {
                            "kind": "dimension",
                            "name": "specificity",
                            "text": "The level of specificity was below 3.",
                            "session_ids": [_SESSION_ID],
                        }
                    ],
                    "next_drill": {
                        "dimension": "specificity",
                        "exercise": "Find three numbers and answer again with them.",
                        "reason": "Your lowest mean level is 2.4, for specificity,"
                        " in the last 10 sessions with this dimension.",
                    },
                }
            ]
        }
    )

    practice: Practice
    streak: Streak
    trends: list[Trend]
    is_same_scorer: bool = Field(
        description="false if provider, model or rubric changed within the sessions of the"
        " trends, which may explain a difference"
    )
    self_assessment: SelfAssessment
    weaknesses: list[Weakness]
    next_drill: NextDrill | None = Field(description="null without levels of dimensions")

    @classmethod
    def from_domain(cls, found: progress.Progress, tz: str) -> "Progress":
        """Return the response for the progress of a user."""
        practice, assessment, drill = found.practice, found.self_assessment, found.next_drill
        return cls(
            practice=Practice(
                sessions=practice.totals.sessions,
                seconds=practice.totals.seconds,
                seconds_last_7_days=practice.seconds_last_7_days,
                seconds_last_30_days=practice.seconds_last_30_days,
            ),
            streak=Streak(
                days=found.streak.days,
                has_practised_today=found.streak.has_practised_today,
                tz=tz,
            ),
            trends=[Trend.from_domain(one) for one in found.trends],
            is_same_scorer=found.is_same_scorer,
            self_assessment=SelfAssessment(
                gap=None if assessment.gap is None else Interval.from_domain(assessment.gap),
                text=assessment.text,
                sessions=[
                    RatedSession(
                        session_id=one.session_id,
                        created_at=one.created_at,
                        rating=one.self_rating,
                        score=one.score,
                        gap=one.gap,
                    )
                    for one in assessment.entries
                    if one.self_rating is not None and one.score is not None and one.gap is not None
                ],
            ),
            weaknesses=[
                Weakness.model_validate(
                    {
                        "kind": one.kind,
                        "name": one.name,
                        "text": one.text,
                        "session_ids": one.session_ids,
                    }
                )
                for one in found.weaknesses
            ],
            next_drill=None
            if drill is None
            else NextDrill(dimension=drill.dimension, exercise=drill.exercise, reason=drill.reason),
        )
