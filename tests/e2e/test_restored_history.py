"""The history after the database of sessions was restored from a backup, on both profiles."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete
from stacks import RunningStack

from coach_ai.use_cases.interview_history import schedule_all
from coach_common.db.database import Database
from coach_common.testing.harness import wait_until
from coach_embedded.api_client import ApiClient
from coach_sessions.tables import PROGRESS_ENTRIES, SESSIONS

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENVIRONMENT = {"REPAIR_SECONDS": "1"}


async def test_interviews_that_a_restored_history_misses_return(
    client: ApiClient, stack: RunningStack
) -> None:
    body = {"title": "Mock interview", "interview_type": "behavioral", "question_limit": 2}
    ids = []
    for _ in range(2):
        started = await client.call("POST", "/v1/ai-interview/sessions", expect=201, **body)
        ids.append(started["session_id"])
    live, completed = ids
    assessment = await client.call("POST", f"/v1/ai-interview/sessions/{completed}/complete")

    async def list_history() -> dict[str, tuple[str, Any]]:
        page = await client.call("GET", "/v1/sessions?kind=interview")
        return {one["id"]: (one["status"], one["score"]) for one in page["sessions"]}

    expected = {
        live: ("not_completed", None),
        completed: ("ready", assessment["overall_score"]),
    }

    async def is_complete() -> bool:
        return await list_history() == expected

    await wait_until(is_complete, description="the history", timeout_seconds=60)
    await _restore_backup(stack, ids)
    database = Database(stack.ai_database_url, source="ai")
    await schedule_all(database)
    await database.close()

    await wait_until(is_complete, description="the restored history", timeout_seconds=60)


async def _restore_backup(stack: RunningStack, ids: list[str]) -> None:
    """Delete the interviews from the database of sessions, as a backup that is older does."""
    database = Database(stack.database_url("sessions"), source="sessions")
    async with database.transaction() as tx:
        for table, column in ((SESSIONS, "id"), (PROGRESS_ENTRIES, "session_id")):
            await tx.execute(delete(table).where(table.c[column].in_([UUID(one) for one in ids])))
    await database.close()
