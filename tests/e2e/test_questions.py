"""The question bank and own questions through the gateway, on both profiles."""

import pytest

from coach_common.testing.harness import wait_until
from coach_embedded.api_client import ApiClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER = (
    "A cache keeps copies of data in memory, so that repeated reads do not reach the database. The"
    " price is that a copy may be stale, so I give each entry a time to live of one minute."
)


async def test_session_asks_question_of_bank_and_is_scored(client: ApiClient) -> None:
    listed = await client.call("GET", "/v1/questions?type=knowledge&field=databases&limit=1")
    (question,) = listed["questions"]
    assert (question["is_own"], question["points"]) == (False, None)
    assert await client.call("GET", f"/v1/questions/{question['id']}") == question

    session = await client.call(
        "POST", "/v1/sessions", expect=201, title="Bank", question_id=question["id"], role="DBA"
    )

    assert (session["question"], session["role"]) == (question["text"], "DBA")
    await client.call("POST", "/v1/sessions", expect=404, title="Bank", question_id="no-such")


async def test_own_question_can_be_asked_changed_and_deleted(client: ApiClient) -> None:
    body = {
        "text": "What is a cache good for?",
        "type": "knowledge",
        "points": [{"text": "A cache avoids repeated reads of the database."}],
    }
    created = await client.call("POST", "/v1/questions", expect=201, **body)
    path = f"/v1/questions/{created['id']}"
    session = await client.call(
        "POST", "/v1/sessions", expect=201, title="Own", question_id=created["id"]
    )
    await client.call("PUT", path, **body | {"text": "What is a cache?"})
    await client.call("DELETE", path, expect=204)
    await client.call("GET", path, expect=404)

    await client.complete(session["id"], transcript=ANSWER)

    async def final_status() -> str | None:
        status: str = (await client.feedback(session["id"]))["status"]
        return status if status in ("ready", "failed") else None

    assert session["question"] == "What is a cache good for?"
    assert await wait_until(final_status, description="feedback", timeout_seconds=60) == "ready"
    later = await client.call("GET", f"/v1/sessions/{session['id']}")
    assert (later["question"], later["question_id"]) == (session["question"], created["id"])
