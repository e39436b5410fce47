"""A built sessions service on an empty, migrated database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from coach_common.errors import Unavailable
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_common.testing.harness import client_for, migrated_service
from coach_sessions import progress_store, store
from coach_sessions.app import build
from coach_sessions.attempts import build_question_key
from coach_sessions.config import SessionsSettings
from coach_sessions.domain import QuestionNotFound
from coach_sessions.progress import build_entry, count_days
from coach_sessions.tables import SESSIONS


@dataclass
class FakeUploadedRecordings:
    """UploadedRecordings with fixed keys per session."""

    keys: dict[UUID, str] = field(default_factory=dict)
    is_down: bool = False

    async def find_key(self, session_id: UUID, *, bearer: str) -> str | None:
        if self.is_down:
            raise Unavailable("The media service is unavailable.")
        return self.keys.get(session_id)

    async def close(self) -> None:
        return None


@dataclass
class FakeQuestions:
    """Questions with fixed texts."""

    texts: dict[str, str] = field(default_factory=lambda: {"db-index": "What is an index?"})
    is_down: bool = False

    async def get_text(self, question_id: str, *, bearer: str) -> str:
        if self.is_down:
            raise Unavailable("The ai service is unavailable.")
        if question_id not in self.texts:
            raise QuestionNotFound
        return self.texts[question_id]

    async def close(self) -> None:
        return None


@pytest.fixture
def questions() -> FakeQuestions:
    return FakeQuestions()


@pytest.fixture
def uploaded_recordings() -> FakeUploadedRecordings:
    return FakeUploadedRecordings()


@pytest.fixture
async def service(
    database_url: str,
    transport: FakeTransport,
    clock: FakeClock,
    issuer: TokenIssuer,
    uploaded_recordings: FakeUploadedRecordings,
    questions: FakeQuestions,
) -> AsyncIterator[Service]:
    settings = SessionsSettings(database_url=database_url)
    async with migrated_service(
        build(
            settings,
            transport,
            clock=clock,
            tokens=issuer.verifier,
            uploaded_recordings=uploaded_recordings,
            questions=questions,
        )
    ) as built:
        yield built


@pytest.fixture
def user_id() -> UUID:
    return new_id()


@pytest.fixture
async def client(
    service: Service, issuer: TokenIssuer, user_id: UUID
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that acts as `user_id`."""
    async with client_for(service, headers=issuer.bearer(user_id)) as client:
        yield client


@pytest.fixture
def check_progress(service: Service) -> Callable[[UUID], Awaitable[int]]:
    """Checks that the progress rows of a user equal those that the sessions yield."""

    async def check(user_id: UUID) -> int:
        """Return the number of completed sessions."""
        assert service.database is not None
        async with service.database.read_only() as tx:
            rows = await tx.fetch_all(select(SESSIONS.c.id).where(SESSIONS.c.user_id == user_id))
            sessions = [await store.get_session(tx, row["id"], user_id=user_id) for row in rows]
            built = [
                build_entry(one, build_question_key(one.id, one.question_id, one.question))
                for one in sessions
            ]
            entries = await progress_store.list_user_entries(tx, user_id)
            totals = await progress_store.get_practice_totals(tx, user_id)
            days = await progress_store.list_practice_days(
                tx, user_id, before_day=100_000, limit=1000
            )
            scored = await progress_store.list_scored_entries(tx, user_id, limit=1000)
        expected = sorted(
            (entry for entry in built if entry is not None),
            key=lambda entry: (entry.created_at, entry.session_id),
        )
        assert sorted(entries, key=lambda one: (one.created_at, one.session_id)) == expected
        assert (totals, days[::-1]) == count_days(expected)
        assert scored[::-1] == [entry for entry in expected if entry.answer is not None]
        return len(expected)

    return check
