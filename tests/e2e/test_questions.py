"""The question bank, own questions and progress through the gateway, on both profiles."""

import re
from collections import Counter
from contextlib import AsyncExitStack
from importlib.resources import files
from typing import Any

import pytest
from stacks import RunningStack

from coach_common.testing.harness import wait_until
from coach_embedded.api_client import ApiClient
from coach_embedded.demo import QUESTION

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
    assert await wait_until(final_status, description="feedback") == "ready"
    later = await client.call("GET", f"/v1/sessions/{session['id']}")
    assert (later["question"], later["question_id"]) == (session["question"], created["id"])


async def test_feedback_changes_the_next_question(client: ApiClient) -> None:
    first = await client.call("GET", "/v1/questions/next?field=databases&set=backend-screen")
    assert (first["field"], first["reason_code"]) == ("databases", "new")
    session = await client.call(
        "POST", "/v1/sessions", expect=201, title="Next", question_id=first["id"]
    )
    await client.complete(session["id"], transcript=ANSWER)

    async def is_ready() -> bool:
        return (await client.feedback(session["id"]))["status"] == "ready"

    await wait_until(is_ready, description="feedback")
    feedback = await client.feedback(session["id"])

    second = await client.call("GET", "/v1/questions/next?field=databases&set=backend-screen")
    weak = await client.call("GET", "/v1/questions/sets/weak-points?count=5")
    listed = await client.call("GET", "/v1/questions/sets/backend-screen")
    state = next(one for one in listed["questions"] if one["id"] == first["id"])

    assert second["id"] != first["id"]
    # The answer is about another subject: it is weak, and its field is practised first.
    assert feedback["overall_score"] < 60
    assert (state["last_score"], weak["questions"][0]["id"]) == (
        feedback["overall_score"], first["id"],
    )  # fmt: skip
    assert second["reason"].startswith("New: your answers about databases average")

    path = f"/v1/questions/{first['id']}/bookmark"
    await client.call("PUT", path, note="Once more.", collections=["Onsite"])
    marked = await client.call("GET", "/v1/questions?bookmarked=true&collection=Onsite")
    assert [one["bookmark"]["note"] for one in marked["questions"]] == ["Once more."]
    await client.call("DELETE", path, expect=204)
    text = "A queue keeps messages until a worker takes them."
    proposed = await client.call("POST", "/v1/questions/proposed-points", model_answer=text)
    assert [one["text"] for one in proposed["points"]] == [text]
    await client.call("DELETE", f"/v1/sessions/{session['id']}", expect=204)

    async def is_forgotten() -> bool:
        listed = await client.call("GET", "/v1/questions/sets")
        return all(one["answered_count"] == 0 for one in listed["sets"])

    await wait_until(is_forgotten, description="deletion in ai")


async def test_questions_are_found_by_company_style_and_by_how_many_people_were_asked(
    client: ApiClient, stack: RunningStack
) -> None:
    wanted = "/v1/questions?sort=asked&min_asked_people=5&company_style=consulting"
    password = "a long test password"

    async def people() -> int | None:
        found = (await client.call("GET", wanted))["questions"]
        assert {one["id"] for one in found} <= {"db-index"}
        return found[0]["asked_people"] if found else None

    async def is_shown() -> bool:
        return await people() == 5

    async def is_hidden() -> bool:
        return await people() is None

    async with AsyncExitStack() as clients:
        for number in range(5):
            assert await people() is None
            user = await clients.enter_async_context(ApiClient(stack.url, stack.socket_url))
            await user.register(f"asked{number}@example.com", password)
            agreed = {"purpose": "improvement", "is_given": True, "version": "2026-11"}
            await user.call("PUT", "/v1/auth/me/consents", consents=[agreed])
            note = {"asked_at": "2026-11-20", "asked_by": "Example Ltd."}
            noted = await user.call("PUT", "/v1/questions/db-index/interview-note", **note)
            assert noted == note
        await wait_until(is_shown, description="the number of people", timeout_seconds=60)
        await user.delete_account(password)
        await wait_until(is_hidden, description="the deletion in ai", timeout_seconds=60)


async def _practise(client: ApiClient, transcript: str) -> str:
    """Answer the question and return the id of the session once its feedback is ready."""
    session_id = await client.open_session("Practice", QUESTION)
    await client.call("PUT", f"/v1/sessions/{session_id}/self-rating", rating=50)
    await client.complete(session_id, transcript=transcript, duration_seconds=60)

    async def is_ready() -> bool:
        return (await client.feedback(session_id))["status"] == "ready"

    await wait_until(is_ready, description="feedback")
    return session_id


async def test_rewrite_has_only_own_words_and_blanks(client: ApiClient) -> None:
    answer = (files("coach_embedded") / "recordings" / "answer.txt").read_text()
    session_id = await _practise(client, answer)
    path = f"/v1/sessions/{session_id}/rewrite"

    rewrite = await client.call("POST", path)

    outside = re.sub(r"\[[^\]]*\]", " ", rewrite["rewrite"])
    assert Counter(re.findall(r"\w+", outside.lower())) <= Counter(
        re.findall(r"\w+", answer.lower())
    )
    own = [one for one in rewrite["sentences"] if not one["is_blank"]]
    assert own and all(one["from"] in answer for one in own)
    assert rewrite["provider"] == "local"
    assert await client.call("POST", path) == rewrite
    await client.call("DELETE", f"/v1/sessions/{session_id}", expect=204)

    async def is_deleted() -> bool:
        return (await client.send("POST", path)).status_code == 404

    await wait_until(is_deleted, description="deletion")


async def test_disputed_score_is_shown_beside_the_second_one(client: ApiClient) -> None:
    answer = (files("coach_embedded") / "recordings" / "answer.txt").read_text()
    session_id = await _practise(client, answer)
    first = await client.feedback(session_id)
    path = f"/v1/sessions/{session_id}/dispute"

    opened = await client.call("POST", path, expect=202, reason="I named a figure.")

    async def done() -> dict[str, Any] | None:
        found = await client.feedback(session_id)
        return found if (found["dispute"] or {}).get("status") == "done" else None

    second = await wait_until(done, description="second scoring")
    assert opened["status"] == "scoring"
    assert second | {"dispute": None} == first
    assert second["dispute"]["second_scores"]["overall_score"] == first["overall_score"]
    assert (second["dispute"]["difference"], second["dispute"]["outcome"]) == (0, "confirmed")
    refused = await client.call("POST", path, expect=409)
    assert refused["code"] == "already_disputed"


async def test_progress_compares_attempts_and_self_ratings(client: ApiClient) -> None:
    answer = (files("coach_embedded") / "recordings" / "answer.txt").read_text()
    weak = await _practise(client, " ".join(answer.split()[:45]))
    strong = await _practise(client, answer)

    page: dict[str, Any] = await client.call("GET", f"/v1/sessions/{weak}/attempts")

    last, first = page["attempts"]
    assert (last["session_id"], first["session_id"]) == (strong, weak)
    assert (first["change"], page["next_cursor"]) == (None, None)
    assert last["change"]["previous_session_id"] == weak
    overall = last["change"]["scores"][0]
    assert overall["difference"] == last["overall_score"] - first["overall_score"]
    assert overall["text"] in last["change"]["summary"]
    refused = await client.call("PUT", f"/v1/sessions/{weak}/self-rating", expect=409, rating=60)
    assert refused["code"] == "feedback_revealed"

    progress: dict[str, Any] = await client.call("GET", "/v1/progress?tz=Pacific/Auckland")

    assert progress["practice"]["sessions"] == 2
    assert progress["practice"]["seconds_last_7_days"] == 120
    # Midnight may have passed in between.
    assert progress["streak"]["days"] in (1, 2)
    assert progress["streak"]["tz"] == "Pacific/Auckland"
    trend = progress["trends"][0]
    scores = [first["overall_score"], last["overall_score"]]
    assert (trend["name"], trend["recent"]["n"]) == ("overall", 2)
    assert trend["recent"]["mean"] == sum(scores) / 2
    gaps = {one["session_id"]: one["gap"] for one in progress["self_assessment"]["sessions"]}
    assert gaps == {weak: 50 - scores[0], strong: 50 - scores[1]}

    await client.call("DELETE", f"/v1/sessions/{weak}", expect=204)
    later = await client.call("GET", "/v1/progress")
    assert later["practice"]["seconds"] == 60
