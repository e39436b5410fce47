"""Request and response bodies of sessions."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from coach_common.events.feedback import FeedbackStatus, Seniority
from coach_common.http.cursor import encode_cursor
from coach_common.validation import MeasuredNumber
from coach_sessions import domain
from coach_sessions.kind import SessionKind
from coach_sessions.presentation import format_date, format_duration

MAX_DURATION_SECONDS = 24 * 3600
CURSOR_NAME = "sessions"

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Question = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]
Seconds = Annotated[MeasuredNumber, Field(ge=0, le=MAX_DURATION_SECONDS)]

QuestionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]*$", max_length=64)]
Role = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]

_SESSION_ID = "01a20c8d-0000-7000-8000-000000000002"
_USER_ID = "01a20c8d-0000-7000-8000-000000000001"
_AUDIO_KEY = f"uploads/{_USER_ID}/1795521600000_0a1b2c3d.m4a"
_CURSOR = "AAZhBHMnkAABogyN"
_QUESTION = "Tell me about a conflict with a colleague."


class CreateSessionRequest(BaseModel):
    """Practice session to create."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"title": "Mock interview", "question": _QUESTION}]},
    )

    title: Title
    question: Question | None = Field(
        default=None,
        description="the question to be answered; by default the text of `question_id`",
    )
    question_id: QuestionId | None = Field(
        default=None,
        description="id of a question from `GET /questions`, whose expected points are checked",
        examples=["db-index"],
    )
    seniority: Literal["junior", "mid", "senior", ""] | None = Field(
        default=None, description="level of the position; empty means none"
    )
    role: Role | None = Field(
        default=None, description="the position", examples=["Backend engineer"]
    )


class CompleteSessionRequest(BaseModel):
    """Optional details of the completed answer."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"duration_seconds": 95, "audio_s3_key": _AUDIO_KEY}]},
    )

    duration_seconds: Seconds | None = Field(default=None, description="a fraction is rounded")
    transcript: Annotated[str, StringConstraints(max_length=100_000)] | None = Field(
        default=None,
        description=(
            "the client's own transcript; used only without a recording. Text without words and "
            "placeholders of recognisers count as no transcript"
        ),
    )
    audio_s3_key: Annotated[str, StringConstraints(max_length=160)] | None = Field(
        default=None, description="object key of the recording to score"
    )


class Session(BaseModel):
    """A practice session or an interview."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _SESSION_ID,
                    "user_id": _USER_ID,
                    "kind": "practice",
                    "title": "Mock interview",
                    "question": _QUESTION,
                    "question_id": "behavioral-conflict-colleague",
                    "seniority": "mid",
                    "role": "Backend engineer",
                    "transcript": "At my last job a salesman kept promising features.",
                    "audio_s3_key": _AUDIO_KEY,
                    "duration_seconds": 95,
                    "overall_score": 81,
                    "communication_score": 91,
                    "technical_score": 74,
                    "clarity_score": 95,
                    "status": "ready",
                    "created_at": "2026-11-24T12:00:00Z",
                    "updated_at": "2026-11-24T12:03:10.250000Z",
                    "completed_at": "2026-11-24T12:02:00Z",
                }
            ]
        }
    )

    id: UUID
    user_id: UUID
    kind: SessionKind
    title: str
    question: str | None
    question_id: str | None
    seniority: Seniority | None
    role: str | None
    transcript: str | None = Field(description="null until the transcript is available")
    audio_s3_key: str | None = Field(description="object key of the recording that is scored")
    duration_seconds: int | None
    overall_score: int | None
    communication_score: int | None
    technical_score: int | None
    clarity_score: int | None
    status: FeedbackStatus
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None

    @classmethod
    def from_domain(cls, session: domain.Session) -> "Session":
        """Return the response for a session."""
        feedback = session.final_feedback
        return cls(
            id=session.id,
            user_id=session.user_id,
            kind=session.kind,
            title=session.title,
            question=session.question,
            question_id=session.question_id,
            seniority=session.seniority,
            role=session.role,
            transcript=session.transcript,
            audio_s3_key=session.audio_s3_key,
            duration_seconds=session.duration_seconds,
            overall_score=None if feedback is None else feedback.overall_score,
            communication_score=None if feedback is None else feedback.communication_score,
            technical_score=None if feedback is None else feedback.technical_score,
            clarity_score=None if feedback is None else feedback.clarity_score,
            status=session.status.value,
            created_at=session.created_at,
            updated_at=session.updated_at,
            completed_at=session.completed_at,
        )


class SessionSummary(BaseModel):
    """A session or an interview in the list."""

    id: UUID
    kind: SessionKind
    title: str
    date: str = Field(
        description="display string in English; programs use `created_at`",
        examples=["November 24, 2026"],
    )
    duration: str = Field(
        description="display string in English; N/A if the duration is unknown",
        examples=["3m 20s", "N/A"],
    )
    score: int | None
    status: FeedbackStatus
    created_at: datetime


class SessionStats(BaseModel):
    """Statistics over all sessions; averages over scored sessions only."""

    total: int
    average: float
    improvement: float = Field(
        description="mean score of the newer half minus mean score of the older half"
    )


class SessionPage(BaseModel):
    """A page of sessions, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sessions": [
                        {
                            "id": _SESSION_ID,
                            "kind": "practice",
                            "title": "Mock interview",
                            "date": "November 24, 2026",
                            "duration": "1m 35s",
                            "score": 81,
                            "status": "ready",
                            "created_at": "2026-11-24T12:00:00Z",
                        }
                    ],
                    "stats": {"total": 1, "average": 81.0, "improvement": 0.0},
                    "next_cursor": _CURSOR,
                }
            ]
        }
    )

    sessions: list[SessionSummary]
    stats: SessionStats
    next_cursor: str | None = Field(description="null on the last page")

    @classmethod
    def from_domain(cls, page: domain.SessionPage, user_id: UUID) -> "SessionPage":
        """Return the response for a page of this user's sessions."""
        return cls(
            sessions=[
                SessionSummary(
                    id=one.id,
                    kind=SessionKind(one.kind),
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
