"""Request and response bodies of sessions."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from coach_common.http.cursor import encode_cursor
from coach_sessions.domain import Session, SessionPage, format_date, format_duration

MAX_DURATION_SECONDS = 24 * 3600
CURSOR_NAME = "sessions"

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Question = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]
Seconds = Annotated[int, Field(ge=0, le=MAX_DURATION_SECONDS, strict=True)]


class CreateSessionRequest(BaseModel):
    """A session to open."""

    model_config = ConfigDict(extra="ignore")

    title: Title
    question: Question | None = None


class CompleteSessionRequest(BaseModel):
    """What is known when the answer is given."""

    model_config = ConfigDict(extra="ignore")

    duration_seconds: Seconds | None = None
    transcript: Annotated[str, StringConstraints(max_length=100_000)] | None = None
    audio_s3_key: Annotated[str, StringConstraints(max_length=160)] | None = None


class SessionResponse(BaseModel):
    """A session."""

    id: str
    user_id: str
    title: str
    question: str | None
    transcript: str | None
    audio_s3_key: str | None
    duration_seconds: int | None
    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    status: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None

    @classmethod
    def from_domain(cls, session: Session) -> "SessionResponse":
        """Shape a session."""
        feedback = session.to_feedback_view()
        return cls(
            id=str(session.id),
            user_id=str(session.user_id),
            title=session.title,
            question=session.question,
            transcript=session.transcript,
            audio_s3_key=session.audio_s3_key,
            duration_seconds=session.duration_seconds,
            overall_score=feedback["overall_score"],
            communication_score=feedback["communication_score"],
            technical_score=feedback["technical_score"],
            clarity_score=feedback["clarity_score"],
            status=session.status.value,
            created_at=session.created_at,
            updated_at=session.updated_at,
            completed_at=session.completed_at,
        )


class SessionListItem(BaseModel):
    """A session in the list."""

    id: str
    title: str
    date: str = Field(examples=["November 24, 2026"])
    duration: str = Field(examples=["3m 20s", "N/A"])
    score: int | None
    status: str
    created_at: datetime


class SessionStats(BaseModel):
    """Over all sessions of the person; means over the scored ones."""

    total: int
    average: float
    improvement: float


class SessionListResponse(BaseModel):
    """A page of sessions, newest first."""

    sessions: list[SessionListItem]
    stats: SessionStats
    next_cursor: str | None

    @classmethod
    def from_domain(cls, page: SessionPage, user_id: UUID) -> "SessionListResponse":
        """Shape a page."""
        return cls(
            sessions=[
                SessionListItem(
                    id=str(one.id),
                    title=one.title,
                    date=format_date(one.created_at),
                    duration=format_duration(one.duration_seconds),
                    score=one.overall_score,
                    status=one.status,
                    created_at=one.created_at,
                )
                for one in page.sessions
            ],
            stats=SessionStats(
                total=page.stats.total,
                average=page.stats.average,
                improvement=page.stats.improvement,
            ),
            next_cursor=None
            if page.next_position is None
            else encode_cursor(page.next_position, user_id, list_name=CURSOR_NAME),
        )


class MainImprovement(BaseModel):
    """The one thing to work on, the words that show it, and how to practise it."""

    text: str
    quote: str
    drill: str


class FeedbackResponse(BaseModel):
    """The feedback of a session, whatever its state; scores are null until there is a real one."""

    session_id: str
    status: Literal[
        "not_completed", "waiting_for_recording", "transcribing", "scoring", "ready", "failed"
    ]
    overall_score: int | None = Field(ge=0, le=100)
    communication_score: int | None = Field(ge=0, le=100)
    technical_score: int | None = Field(ge=0, le=100)
    clarity_score: int | None = Field(ge=0, le=100)
    strengths: list[str]
    improvements: list[str]
    detailed_feedback: str
    transcript: str | None
    provider: str | None
    model: str | None
    rubric_version: str | None
    evidence: list[dict[str, Any]]
    delivery: dict[str, Any]
    main_improvement: MainImprovement | None
    star: dict[str, str | None]
    generated_at: datetime | None
