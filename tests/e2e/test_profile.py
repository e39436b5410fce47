"""The profile of a user through the gateway, on both profiles."""

import pytest

from coach_embedded.api_client import ApiClient
from support.documents import make_docx, make_pdf

pytestmark = pytest.mark.asyncio(loop_scope="session")

RESUME = "I led the move of our billing service to Kubernetes."
FILES = (
    ("application/pdf", make_pdf([RESUME])),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        make_docx(RESUME),
    ),
)
JOB = "Requirements\nExperience with Kubernetes.\nFluent Japanese."
STORY = (
    "My team decided to write the gateway in Rust, which I did not know. I read a book in the"
    " evenings and did exercises. After four weeks I merged my first change."
)
PATH = "/v1/ai-interview/profile"


async def test_profile_is_stored_and_deleted(client: ApiClient) -> None:
    await client.call("GET", PATH, expect=404)
    created = await client.call("POST", PATH, expect=201, target_role="Backend engineer")
    await client.call("POST", PATH, expect=409, role="Engineer")

    replaced = await client.call("PUT", PATH, accommodations=["pace"])

    assert (created["target_role"], replaced["target_role"]) == ("Backend engineer", "")
    assert await client.call("GET", PATH) == replaced
    for media_type, content in FILES:
        response = await client.send(
            "POST", f"{PATH}/resume", content=content, headers={"content-type": media_type}
        )
        assert (response.status_code, response.json()["profile"]["resume"]) == (200, RESUME)
    await client.call("DELETE", PATH, expect=204)


async def test_profile_is_used_by_an_interview_and_matched_with_the_job(client: ApiClient) -> None:
    await client.call(
        "POST", PATH, expect=201, resume=RESUME, job_title="Platform engineer", job_description=JOB
    )
    counts = await client.call("POST", f"{PATH}/index")

    match = await client.call("GET", f"{PATH}/match")
    started = await client.call(
        "POST",
        "/v1/ai-interview/sessions",
        expect=201,
        title="Mock",
        interview_type="behavioral",
        question_limit=1,
    )

    interview = await client.call("GET", f"/v1/ai-interview/sessions/{started['session_id']}")
    assert counts == {"resume_passages": 1, "job_description_passages": 1}
    assert [one["status"] for one in match["requirements"]] == ["shown", "not_shown"]
    assert match["requirements"][0]["evidence"]["quote"] == RESUME
    assert f"You wrote: “{RESUME}”" in started["response"]
    assert interview["job_title"] == "Platform engineer"


async def test_stories_find_the_questions_that_they_answer(client: ApiClient) -> None:
    stories = "/v1/ai-interview/stories"
    created = await client.call("POST", stories, expect=201, title="Learning Rust", text=STORY)

    questions = await client.call("GET", f"{stories}/{created['id']}/questions")
    suited = await client.call("GET", f"{stories}?question_id=behavioral-learned-quickly")

    assert questions["questions"][0]["question_id"] == "behavioral-learned-quickly"
    assert [one["id"] for one in suited["stories"]] == [created["id"]]
    assert suited["stories"][0]["fit"]["quote"] in STORY
    await client.call("PUT", f"{stories}/{created['id']}", title="Rust", text=STORY)
    await client.call("DELETE", f"{stories}/{created['id']}", expect=204)
    assert await client.call("GET", stories) == {"stories": []}
