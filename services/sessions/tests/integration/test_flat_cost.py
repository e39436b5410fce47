"""Attempts and progress read as few rows for a user with many sessions as for one with few."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, event, insert, text

from coach_common.db.transaction import Transaction
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock
from coach_sessions import progress_store, store
from coach_sessions.tables import PRACTICE_DAYS, PROGRESS_ENTRIES, SESSIONS

SESSION_COUNT = 600
PAGE = 5


@pytest.fixture
async def newest_id(service: Service, user_id: UUID, clock: FakeClock) -> UUID:
    """Fill the tables with sessions of one question, half of them of another user."""
    key, now = new_id(), clock()
    sessions, entries, days = [], [], []
    for number in range(SESSION_COUNT):
        owner = user_id if number % 2 else UUID(int=1)
        session_id, at = new_id(), now - timedelta(days=SESSION_COUNT - number)
        sessions.append({
            "id": session_id, "user_id": owner, "title": "One", "question_key": key,
            "created_at": at, "updated_at": at, "completed_at": at, "overall_score": 50,
            "status": "failed", "published_fingerprints": "{}",
        })  # fmt: skip
        entries.append({
            "session_id": session_id, "user_id": owner, "created_at": at, "scored_at": at,
            "practised_at": at, "practice_seconds": 60, "answer": '{"question": "q"}',
        })  # fmt: skip
        days.append({"user_id": owner, "day": number, "seconds": 60, "quarters": '{"1": 1}'})
    # The key of a session without question and question id is its own id.
    sessions[-1]["id"] = key
    assert service.database is not None
    async with service.database.transaction() as tx:
        for table, rows in (
            (SESSIONS, sessions),
            (PROGRESS_ENTRIES, entries),
            (PRACTICE_DAYS, days),
        ):
            await tx.execute(insert(table), rows)
    if not service.database.is_sqlite:
        async with service.database.transaction() as tx:
            for table in (SESSIONS, PROGRESS_ENTRIES, PRACTICE_DAYS):
                await tx.fetch_all(text(f"ANALYZE TABLE {table.name}"))
    return key


async def _read(tx: Transaction, user_id: UUID, newest_id: UUID) -> None:
    newest = await store.get_session(tx, newest_id, user_id=user_id)
    first = await progress_store.list_attempts(tx, newest, limit=PAGE, position=None)
    position = first[-1].created_at, first[-1].id
    second = await progress_store.list_attempts(tx, newest, limit=PAGE, position=position)
    earlier = await progress_store.find_scored_attempt_before(tx, newest, position)
    entries = await progress_store.list_scored_entries(tx, user_id, limit=PAGE)
    days = await progress_store.list_practice_days(tx, user_id, before_day=9999, limit=PAGE)
    assert [len(rows) for rows in (first, second, entries, days)] == [PAGE] * 4
    assert earlier == second[0]


async def _count_read_rows(tx: Transaction) -> int:
    rows = await tx.fetch_all(text("SHOW SESSION STATUS LIKE 'Handler_read%'"))
    return sum(int(row["Value"]) for row in rows)


async def test_queries_read_a_page_and_not_the_sessions_of_the_user(
    service: Service, user_id: UUID, newest_id: UUID
) -> None:
    database = service.database
    assert database is not None
    plans: list[str] = []

    def explain(
        connection: Connection, _: object, statement: str, values: object, *__: object
    ) -> None:
        if statement.startswith("SELECT"):
            cursor = connection.connection.cursor()
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
            plans.extend(str(row[3]) for row in cursor.fetchall())

    if database.is_sqlite:
        event.listen(database.statement_engine, "before_cursor_execute", explain)
    async with database.read_only() as tx:
        before = 0 if database.is_sqlite else await _count_read_rows(tx)
        await _read(tx, user_id, newest_id)
        read_rows = 0 if database.is_sqlite else await _count_read_rows(tx) - before

    assert len(plans) == (7 if database.is_sqlite else 0)
    assert all(plan.startswith("SEARCH") for plan in plans), plans
    assert read_rows < 10 * PAGE, read_rows
