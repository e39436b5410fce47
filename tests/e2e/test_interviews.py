"""A three-question interview in text through the gateway, on both profiles."""

import pytest

from coach_embedded.api_client import ApiClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

WITHOUT_RESULT = (
    "Last year our nightly build at the bank broke every week. I was asked to find out why. I read"
    " the logs, wrote a test for the cache and moved the build to another machine."
)
RESULT = "In the end the build ran in four minutes instead of thirty, and it has not failed since."


async def test_interview_follows_up_and_ends_with_an_assessment(client: ApiClient) -> None:
    started = await client.call(
        "POST",
        "/v1/ai-interview/sessions",
        expect=201,
        title="Mock interview",
        interview_type="behavioral",
        role_context="Backend engineer",
        difficulty_level="mid",
        question_limit=3,
        company_style="startup",
        time_limit_seconds=3600,
    )
    path = f"/v1/ai-interview/sessions/{started['session_id']}"
    await client.call("POST", f"{path}/message", expect=422, message="")
    running = await client.call("GET", path)
    assert 0 < running["remaining_seconds"] <= 3600 and running["plan"] is None
    probed = []
    for _ in range(12):
        turn = await client.call("POST", f"{path}/message", message=WITHOUT_RESULT)
        while turn["status"] == "in_progress" and turn["analysis"]["gap"] is not None:
            probed.append(turn["analysis"]["gap"])
            assert probed[-1]["quote"] in turn["response"]
            turn = await client.call("POST", f"{path}/message", message=RESULT)
        if turn["status"] == "completed":
            break
    await client.call("POST", f"{path}/message", expect=409, message=RESULT)

    assessment = await client.call("POST", f"{path}/complete")

    read = await client.call("GET", path)
    assert "result_missing" in {gap["kind"] for gap in probed}
    assert read["status"] == "completed" and read["assessment"] == assessment
    assert [one["overall_score"] is None for one in assessment["answers"]] == [False] * 3
    assert max(one["follow_ups"] for one in assessment["answers"]) <= 2
    assert assessment["overall_score"] is not None
    for one in assessment["answers"]:
        assert one["evidence"]
        assert all(item["quote"] in one["answer"] for item in one["evidence"])
    assert not any(turn["is_late"] for turn in read["turns"])
    assert assessment["plan"]["company_style"]["name"] == "startup"
    assert len({one["question"] for one in assessment["plan"]["questions"]}) == 3
    (listed,) = (await client.call("GET", "/v1/ai-interview/sessions"))["sessions"]
    assert listed["overall_score"] == assessment["overall_score"]
    assert await client.call("POST", f"{path}/complete") == assessment
    await client.call("DELETE", path, expect=204)
    await client.call("GET", path, expect=404)
