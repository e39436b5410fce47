"""The routes of sessions on SQLAlchemy ORM and plain FastAPI, to compare with coach_sessions.

Same tables, same responses, same durability and the same event per new session. Lists load only the
columns that they show, and statistics are one statement.
"""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from sqlalchemy import case, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, load_only, relationship, selectinload

from coach_common.clock import rfc3339
from coach_common.errors import Unauthenticated
from coach_common.events.base import Envelope
from coach_common.events.catalog import SessionCreated
from coach_common.events.feedback import FeedbackView
from coach_common.http.cursor import encode_cursor
from coach_common.ids import new_id
from coach_common.session_kind import SessionKind
from coach_common.tokens import AccessTokenVerifier
from coach_sessions.presentation import format_date, format_duration
from coach_sessions.schemas import (
    CURSOR_NAME,
    CreateSessionRequest,
    Session,
    SessionPage,
    SessionStats,
    SessionSummary,
)
from coach_sessions.tables import OUTBOX, RECORDINGS, SESSIONS, TOMBSTONES

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Base(DeclarativeBase):
    """The mapped classes."""


class RecordingRow(Base):
    """A recording."""

    __table__ = RECORDINGS


class OutboxRow(Base):
    """An event to publish."""

    __table__ = OUTBOX


class TombstoneRow(Base):
    """A deleted user."""

    __table__ = TOMBSTONES


class SessionRow(Base):
    """A session with its recordings."""

    __table__ = SESSIONS
    recordings: Mapped[list[RecordingRow]] = relationship(
        primaryjoin=SESSIONS.c.id == foreign(RECORDINGS.c.session_id), lazy="raise", viewonly=True
    )


_LISTED = (
    SessionRow.id,
    SessionRow.title,
    SessionRow.created_at,
    SessionRow.duration_seconds,
    SessionRow.overall_score,
    SessionRow.status,
)


async def get_db(request: Request) -> AsyncIterator[AsyncSession]:
    """Open a database session for a request."""
    async with request.app.state.new_session() as db:
        yield db


async def get_user_id(request: Request, authorization: Annotated[str, Header()] = "") -> UUID:
    """Return the id of the caller."""
    try:
        identity = await request.app.state.tokens.verify(authorization.removeprefix("Bearer "))
    except Unauthenticated as error:
        raise HTTPException(401, "Please sign in.") from error
    return identity.user_id


Db = Annotated[AsyncSession, Depends(get_db)]
User = Annotated[UUID, Depends(get_user_id)]


def create_orm_app(database_url: str, tokens: AccessTokenVerifier) -> FastAPI:
    """Return the app."""
    url = make_url(database_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite" if is_sqlite else "mysql+asyncmy"),
        pool_size=10,
        max_overflow=20,
    )
    if is_sqlite:
        event.listen(engine.sync_engine, "connect", _set_pragmas)
    app = FastAPI()

    app.state.new_session = async_sessionmaker(engine, expire_on_commit=False)
    app.state.tokens = tokens

    @app.post("/sessions", status_code=201)
    async def create_session(body: CreateSessionRequest, user_id: User, db: Db) -> Session:
        if await db.get(TombstoneRow, user_id) is not None:
            raise HTTPException(401, "This account no longer exists.")
        now = datetime.now(UTC)
        row = SessionRow(
            id=new_id(), user_id=user_id, title=body.title, question=body.question,
            question_id=body.question_id or None, seniority=body.seniority or None,
            role=body.role or None, created_at=now, updated_at=now, status="not_completed",
            published_fingerprints="{}",
        )  # fmt: skip
        created = SessionCreated(
            session_id=row.id, user_id=user_id, title=row.title, question=row.question,
            role=row.role, question_id=row.question_id, seniority=row.seniority,
        )  # fmt: skip
        envelope = Envelope.wrap(
            created, id=new_id(), source="/services/sessions", time=rfc3339(now), traceparent=_TRACE
        )
        db.add(row)
        db.add(
            OutboxRow(
                id=envelope.id,
                type=envelope.type,
                user_id=user_id,
                body=envelope.to_json().decode(),
            )
        )
        await db.commit()
        return _to_session(row, [])

    @app.get("/sessions")
    async def list_sessions(
        user_id: User, db: Db, limit: Annotated[int, Query(ge=1, le=100)] = 50
    ) -> SessionPage:
        rows = list(
            await db.scalars(
                select(SessionRow)
                .where(SessionRow.user_id == user_id)
                .order_by(SessionRow.created_at.desc(), SessionRow.id.desc())
                .limit(limit + 1)
                .options(load_only(*_LISTED))
            )
        )
        stats = await get_stats(db, user_id)
        page = rows[:limit]
        position = (page[-1].created_at, page[-1].id) if len(rows) > limit else None
        return SessionPage(
            sessions=[
                SessionSummary(
                    id=row.id,
                    kind=SessionKind.PRACTICE,
                    title=row.title,
                    date=format_date(row.created_at),
                    duration=format_duration(row.duration_seconds),
                    score=row.overall_score,
                    status=row.status,
                    created_at=row.created_at,
                )
                for row in page
            ],
            stats=stats,
            next_cursor=position and encode_cursor(position, user_id, list_name=CURSOR_NAME),
        )

    @app.get("/sessions/{session_id}")
    async def get_session(session_id: UUID, user_id: User, db: Db) -> Session:
        row = await find(db, session_id, user_id)
        return _to_session(row, row.recordings)

    @app.get("/sessions/{session_id}/feedback")
    async def get_feedback(session_id: UUID, user_id: User, db: Db) -> FeedbackView:
        row = await find(db, session_id, user_id)
        return FeedbackView.model_validate(
            _load_feedback(row)
            | {
                "session_id": str(row.id),
                "status": row.status,
                "transcript": row.recordings[0].transcript if row.recordings else None,
            }
        )

    return app


async def find(db: AsyncSession, session_id: UUID, user_id: UUID) -> SessionRow:
    """Return the user's session with its recordings."""
    row = await db.scalar(
        select(SessionRow)
        .where(SessionRow.id == session_id, SessionRow.user_id == user_id)
        .options(selectinload(SessionRow.recordings))
    )
    if row is None:
        raise HTTPException(404, "Session not found")
    return row


async def get_stats(db: AsyncSession, user_id: UUID) -> SessionStats:
    """Return the user's statistics, computed by one statement."""
    is_scored = SessionRow.overall_score.is_not(None)
    scores = (
        select(
            SessionRow.overall_score.label("score"),
            func.row_number()
            .over(partition_by=is_scored, order_by=(SessionRow.created_at, SessionRow.id))
            .label("position"),
            func.count(SessionRow.overall_score).over().label("scored"),
        )
        .where(SessionRow.user_id == user_id)
        .subquery()
    )
    score, position, scored = scores.c.score, scores.c.position, scores.c.scored
    total, average, newer, older = (
        await db.execute(
            select(
                func.count(),
                func.avg(score),
                func.avg(case((2 * position > scored + 1, score))),
                func.avg(case((2 * position <= scored, score))),
            ).select_from(scores)
        )
    ).one()
    return SessionStats(
        total=total,
        average=round(float(average or 0), 2),
        improvement=0.0 if older is None else round(float(newer - older), 2),
    )


def _to_session(row: SessionRow, recordings: list[RecordingRow]) -> Session:
    feedback = _load_feedback(row)
    recording = recordings[0] if recordings else None
    return Session(
        id=row.id,
        user_id=row.user_id,
        kind=SessionKind.PRACTICE,
        title=row.title,
        question=row.question,
        question_id=row.question_id,
        seniority=row.seniority,
        role=row.role,
        transcript=recording.transcript if recording else None,
        audio_s3_key=recording.key if recording else None,
        duration_seconds=row.duration_seconds,
        overall_score=row.overall_score,
        communication_score=feedback.get("communication_score"),
        technical_score=feedback.get("technical_score"),
        clarity_score=feedback.get("clarity_score"),
        status=row.status,
        created_at=row.created_at,
        updated_at=row.updated_at,
        completed_at=row.completed_at,
    )


def _load_feedback(row: SessionRow) -> dict[str, Any]:
    return json.loads(row.feedback) if row.feedback else {}


def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()
