"""Recordings as real clients make them: each has the outcome that `recordings.yaml` declares."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from stacks import embedded

from coach_common.testing.harness import wait_until
from coach_embedded.api_client import ApiClient
from coach_embedded.demo import word_error_rate

DIRECTORY = Path(__file__).parent
MANIFEST: dict[str, Any] = yaml.safe_load((DIRECTORY / "recordings.yaml").read_text())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiClient]:
    """A user of the embedded profile that all cases share."""
    async with (
        embedded(tmp_path_factory.mktemp("cases")) as stack,
        ApiClient(stack.url) as client,
    ):
        await client.register("cases@example.com", "a long test password")
        yield client


async def _get_feedback(client: ApiClient, file: str, **upload: str) -> dict[str, Any]:
    """Upload a recording to a new session, complete it and return its final feedback."""
    session_id = await client.open_session(file, MANIFEST["question"])
    key = await client.upload(DIRECTORY / "recordings" / file, session_id=session_id, **upload)
    await client.confirm(key, session_id=session_id)
    await client.complete(session_id)

    async def find_final_feedback() -> dict[str, Any] | None:
        feedback = await client.feedback(session_id)
        return feedback if feedback["status"] in ("ready", "failed") else None

    return await wait_until(
        find_final_feedback,
        description=f"final feedback of {file}",
        timeout_seconds=300,
        interval_seconds=0.3,  # an account may send 600 requests a minute
    )


@pytest.mark.speech
@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("case", MANIFEST["cases"], ids=lambda case: case["id"])
async def test_recording_has_declared_outcome(client: ApiClient, case: dict[str, Any]) -> None:
    feedback = await _get_feedback(
        client, case["file"], content_type=case["content_type"], extension=case["extension"]
    )

    expected = case["expect"]
    transcript = feedback["transcript"] or ""
    assert feedback["status"] == expected["status"], feedback["detailed_feedback"]
    if "words" in expected:
        error_rate = word_error_rate(MANIFEST["texts"][expected["words"]], transcript)
        assert error_rate <= expected["wer"], transcript
    for text in expected.get("contains", []):
        assert text in transcript
    for text in expected.get("not_contains", []):
        assert text not in transcript
    if "scored" in expected:
        assert (feedback["overall_score"] is not None) is expected["scored"]
    for text in expected.get("no_quote", []):
        assert text not in str(feedback["evidence"])
    if "same_score_as" in expected:
        other = await _get_feedback(
            client, expected["same_score_as"], content_type=case["content_type"]
        )
        difference = feedback["overall_score"] - other["overall_score"]
        assert abs(difference) <= expected["within"]


def test_every_recording_has_a_case() -> None:
    cases = MANIFEST["cases"]
    used = {case["file"] for case in cases} | {
        case["expect"].get("same_score_as") for case in cases
    }

    assert used - {None} == {file.name for file in (DIRECTORY / "recordings").iterdir()}
    assert len({case["id"] for case in cases}) == len(cases)
