"""The routes of sessions on SQLAlchemy ORM and plain FastAPI, as a tutorial would write them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException, Query
from sqlalchemy import event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, relationship

from coach_common.errors import Unauthenticated
from coach_common.events.feedback import FeedbackView
from coach_common.ids import new_id
from coach_common.tokens import AccessTokenVerifier
from coach_sessions.presentation import format_date, format_duration
from coach_sessions.schemas import (
    CreateSessionRequest,
    Session,
    SessionPage,
    SessionStats,
    SessionSummary,
)
from coach_sessions.tables import RECORDINGS, SESSIONS


class Base(DeclarativeBase):
    """The mapped classes."""


class RecordingRow(Base):
    """A recording."""

    __table__ = RECORDINGS


class SessionRow(Base):
    """A session with its recordings."""

    __table__ = SESSIONS
    recordings: Mapped[list[RecordingRow]] = relationship(
        primaryjoin=SESSIONS.c.id == foreign(RECORDINGS.c.session_id),
        lazy="selectin",
        viewonly=True,
    )


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
    new_session = async_sessionmaker(engine, expire_on_commit=False)
    app = FastAPI()

    async def get_db() -> AsyncIterator[AsyncSession]:
        async with new_session() as db:
            yield db

    async def get_user_id(authorization: Annotated[str, Header()] = "") -> UUID:
        try:
            identity = await tokens.verify(authorization.removeprefix("Bearer "))
        except Unauthenticated as error:
            raise HTTPException(401, "not signed in") from error
        return identity.user_id

    Db = Annotated[AsyncSession, Depends(get_db)]
    User = Annotated[UUID, Depends(get_user_id)]

    async def get_row(db: AsyncSession, session_id: UUID, user_id: UUID) -> SessionRow:
        row = await db.scalar(
            select(SessionRow).where(SessionRow.id == session_id, SessionRow.user_id == user_id)
        )
        if row is None:
            raise HTTPException(404, "Session not found")
        return row

    @app.post("/sessions", status_code=201)
    async def create_session(body: CreateSessionRequest, user_id: User, db: Db) -> Session:
        now = datetime.now(UTC)
        row = SessionRow(
            id=new_id(), user_id=user_id, title=body.title, question=body.question,
            created_at=now, updated_at=now, status="not_completed", published_fingerprints="{}",
        )  # fmt: skip
        db.add(row)
        await db.commit()
        return _to_session(row, [])

    @app.get("/sessions")
    async def list_sessions(
        user_id: User, db: Db, limit: Annotated[int, Query(ge=1, le=100)] = 50
    ) -> SessionPage:
        mine = SessionRow.user_id == user_id
        order = (SessionRow.created_at.desc(), SessionRow.id.desc())
        rows = await db.scalars(select(SessionRow).where(mine).order_by(*order).limit(limit))
        total, scored, average = (
            await db.execute(
                select(
                    func.count(),
                    func.count(SessionRow.overall_score),
                    func.avg(SessionRow.overall_score),
                ).where(mine)
            )
        ).one()
        half = scored // 2
        improvement = 0.0
        if half:
            means = []
            for direction in (order, (SessionRow.created_at, SessionRow.id)):
                scores = (
                    select(SessionRow.overall_score)
                    .where(mine, SessionRow.overall_score.is_not(None))
                    .order_by(*direction)
                    .limit(half)
                    .subquery()
                )
                means.append(float(await db.scalar(select(func.avg(scores.c.overall_score)))))
            improvement = means[0] - means[1]
        return SessionPage(
            sessions=[
                SessionSummary(
                    id=row.id,
                    title=row.title,
                    date=format_date(row.created_at),
                    duration=format_duration(row.duration_seconds),
                    score=row.overall_score,
                    status=row.status,
                    created_at=row.created_at,
                )
                for row in rows
            ],
            stats=SessionStats(
                total=total, average=round(float(average or 0), 2), improvement=round(improvement, 2)
            ),
            next_cursor=None,
        )

    @app.get("/sessions/{session_id}")
    async def get_session(session_id: UUID, user_id: User, db: Db) -> Session:
        row = await get_row(db, session_id, user_id)
        return _to_session(row, row.recordings)

    @app.get("/sessions/{session_id}/feedback")
    async def get_feedback(session_id: UUID, user_id: User, db: Db) -> FeedbackView:
        row = await get_row(db, session_id, user_id)
        return FeedbackView.model_validate(
            _load(row)
            | {
                "session_id": str(row.id),
                "status": row.status,
                "transcript": row.recordings[0].transcript if row.recordings else None,
            }
        )

    return app


def _to_session(row: SessionRow, recordings: list[RecordingRow]) -> Session:
    feedback = _load(row)
    recording = recordings[0] if recordings else None
    return Session(
        id=row.id,
        user_id=row.user_id,
        title=row.title,
        question=row.question,
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


def _load(row: SessionRow) -> dict[str, Any]:
    import json

    return json.loads(row.feedback) if row.feedback else {}  # type: ignore[no-any-return]


def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()
