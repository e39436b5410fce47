"""Interviews in text and with a recording through the gateway, on both profiles."""

import wave
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update
from stacks import RunningStack

from coach_ai.speech.audio import decode
from coach_ai.speech.samples import SAMPLE_RATE, Samples
from coach_common.db.database import Database
from coach_common.testing.harness import http_client, wait_until
from coach_embedded.api_client import ApiClient
from coach_media.tables import UPLOADS

pytestmark = pytest.mark.asyncio(loop_scope="session")

READING = Path(str(files("coach_embedded") / "recordings" / "reading.wav"))
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
    deleted = await client.send("DELETE", path)
    assert deleted.status_code == 204, deleted.text
    await client.call("GET", path, expect=404)
    await _wait_for_receipt(client, deleted.headers["location"])
    assert (await client.call("GET", "/v1/sessions"))["sessions"] == []


@pytest.mark.speech
async def test_interview_is_in_the_history_and_deleted_with_its_recording(
    client: ApiClient, stack: RunningStack
) -> None:
    body = {"title": "With a recording", "interview_type": "behavioral", "question_limit": 2}
    started = await client.call("POST", "/v1/ai-interview/sessions", expect=201, **body)
    interview_id = started["session_id"]
    path, item_path = f"/v1/ai-interview/sessions/{interview_id}", f"/v1/sessions/{interview_id}"
    key = await client.upload(READING, "audio/wav")
    upload_id = (await client.confirm(key))["upload_id"]

    await _answer_by_recording(client, path, key)
    await client.call("POST", f"{path}/message", message=WITHOUT_RESULT)
    assessment = await client.call("POST", f"{path}/complete")

    async def item() -> dict[str, Any] | None:
        page = await client.call("GET", "/v1/sessions")
        ready = [one for one in page["sessions"] if one["status"] == "ready"]
        return ready[0] if ready else None

    listed = await wait_until(item, description="the interview in the history")
    assert (listed["id"], listed["kind"]) == (interview_id, "interview")
    assert (listed["title"], listed["score"]) == (body["title"], assessment["overall_score"])
    read = await client.call("GET", item_path)
    assert (read["kind"], read["clarity_score"]) == ("interview", assessment["clarity_score"])
    refused = await client.send("POST", f"{item_path}/complete")
    assert (refused.status_code, refused.json()["code"]) == (409, "is_interview")

    url = (await client.call("GET", f"/v1/upload/{upload_id}/url"))["url"]
    async with http_client() as store:
        assert (await store.get(url)).status_code == 200
        await _expire_upload_url(stack, key)
        deleted = await client.send("DELETE", item_path)
        assert deleted.status_code == 204, deleted.text
        receipt = await _wait_for_receipt(client, deleted.headers["location"])
        assert (await store.get(url)).status_code == 404
    assert {one["service"] for one in receipt["services"]} == {"sessions", "media", "ai"}
    for deleted_path in (path, item_path, f"/v1/upload/{upload_id}"):
        await client.call("GET", deleted_path, expect=404)
    assert (await client.call("GET", "/v1/sessions"))["stats"]["total"] == 0


@pytest.mark.speech
async def test_noise_and_the_own_voice_of_the_interviewer_are_no_answer(
    client: ApiClient, tmp_path: Path
) -> None:
    body = {"title": "Open microphone", "interview_type": "behavioral", "question_limit": 2}
    started = await client.call("POST", "/v1/ai-interview/sessions", expect=201, **body)
    if started["ai_audio_url"] is None:
        pytest.skip("espeak-ng is not installed: make voice")
    path = f"/v1/ai-interview/sessions/{started['session_id']}"
    opening = tmp_path / "opening.wav"
    opening.write_bytes((await client.send("GET", f"/v1{started['ai_audio_url']}")).content)
    noise = np.random.default_rng(1).normal(0, 0.02, 6 * SAMPLE_RATE).astype(np.float32)
    _write_wav(tmp_path / "noise.wav", noise)
    _write_wav(tmp_path / "both.wav", np.concatenate((decode(opening), decode(READING))))

    turns = []
    for name in ("opening.wav", "noise.wav", "both.wav"):
        key = await client.upload(tmp_path / name, "audio/wav")
        await client.confirm(key)
        turns.append(await _answer_by_recording(client, path, key))
    read = await client.call("GET", path)

    assert [one["analysis"]["intent"] for one in turns] == ["no_answer", "no_answer", "answer"]
    assert [one["analysis"]["question_number"] for one in turns] == [1, 1, 1]
    messages = [turn["message"] for turn in read["turns"]]
    assert messages[:3] == [None, None, None]
    words = messages[3].lower()
    assert "fixed rules" not in words and "first question" not in words
    assert len(words.split()) > 10


async def _answer_by_recording(client: ApiClient, path: str, key: str) -> dict[str, Any]:
    """Answer by an uploaded recording, once it is transcribed, and return the turn."""

    async def answer() -> dict[str, Any] | None:
        sent = await client.send("POST", f"{path}/message", json={"audio_s3_key": key})
        assert sent.status_code == 200 or sent.json()["code"] == "transcript_pending", sent.text
        return sent.json() if sent.status_code == 200 else None

    return await wait_until(answer, description="a turn", interval_seconds=0.5)


def _write_wav(path: Path, samples: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())


async def _expire_upload_url(stack: RunningStack, key: str) -> None:
    """Let the first deletion of the object be the last, as 16 minutes after its upload."""
    database = Database(stack.database_url("media"), source="media")
    async with database.transaction() as tx:
        await tx.execute(
            update(UPLOADS)
            .where(UPLOADS.c.key == key)
            .values(url_expires_at=datetime.now(UTC) - timedelta(hours=1))
        )
    await database.close()


async def _wait_for_receipt(client: ApiClient, path: str) -> dict[str, Any]:
    """Return the complete receipt."""

    async def is_complete() -> dict[str, Any] | None:
        receipt: dict[str, Any] = (await client.send("GET", path)).json()
        return receipt if receipt.get("status") == "complete" else None

    receipt = await wait_until(is_complete, description="the receipt", interval_seconds=0.2)
    assert len(receipt["signature"].split(".")) == 3
    return receipt


async def test_interviewer_is_interrupted_and_adds_a_word_in_a_silence(
    client: ApiClient,
) -> None:
    await client.call("POST", "/v1/ai-interview/profile", expect=201, silence_seconds=90)
    fields = {"title": "Mock", "interview_type": "behavioral", "question_limit": 1}
    async with client.socket() as socket:
        await socket.send("interview_start", words_per_minute=50, **fields)
        await socket.wait_for("interview_thinking", seconds=60)
        await socket.wait_for("interview_delta", seconds=60)
        await socket.send("interview_reply_start")
        opening = (await socket.wait_for("interview_turn", seconds=60)).frame
        listening = (await socket.wait_for("interview_listening", seconds=60)).frame
        pieces = len(socket.frames("interview_delta"))
        await socket.send("interview_start", silence_seconds=0, **fields)
        quiet = (await socket.wait_for("interview_turn", seconds=60, was_interrupted=False)).frame
        fast = {"silence_seconds": 1, "words_per_minute": 1000}
        await socket.send("interview_start", **fields, **fast)
        word = (await socket.wait_for("interview_silence", seconds=60)).frame
        await socket.send("interview_message", message="skip")
        over = (await socket.wait_for("interview_turn", seconds=60, status="completed")).frame
    path = f"/v1/ai-interview/sessions/{opening['session_id']}"
    again = await client.call("POST", f"{path}/interruption", turn_number=0)
    read = await client.call("GET", path)
    silent = await client.call("GET", f"/v1/ai-interview/sessions/{word['session_id']}")

    assert opening["was_interrupted"] and listening["was_interrupted"]
    assert pieces < len(opening["response"].split(". "))
    assert read["turns"][0]["response"] == opening["response"]
    assert read["turns"][0]["interrupted_at"] == again["interrupted_at"]
    assert opening["silence_prompt"]["after_seconds"] == 90
    assert quiet["silence_prompt"] is None
    assert word["text"] and word["session_id"] == over["session_id"]
    assert over["silence_prompt"] is None
    assert [turn["message"] for turn in silent["turns"]] == [None, "skip"]
    if word["ai_audio_url"] is not None:
        speech = await client.send("GET", f"/v1{word['ai_audio_url']}")
        assert speech.content.startswith(b"RIFF")


async def test_interview_over_the_socket_is_the_interview_over_http(client: ApiClient) -> None:
    async with client.socket() as socket:
        await socket.send(
            "interview_start", title="Mock", interview_type="behavioral", question_limit=1
        )
        opening = (await socket.wait_for("interview_turn", seconds=120)).frame
        pieces = [one.frame["text"] for one in socket.frames("interview_delta")]
        await socket.send("interview_message", message=WITHOUT_RESULT)
        await socket.send("interview_message", message="skip", idempotency_key="skip")
        last = await socket.wait_for("interview_turn", seconds=120, status="completed")
    read = await client.call("GET", f"/v1/ai-interview/sessions/{opening['session_id']}")

    assert "".join(pieces) == opening["response"] == read["turns"][0]["response"]
    assert [turn["message"] for turn in read["turns"]] == [None, WITHOUT_RESULT, "skip"]
    assert last.frame["response"] == read["turns"][-1]["response"]
    assert (read["status"], last.frame["question_count"]) == ("completed", 1)
