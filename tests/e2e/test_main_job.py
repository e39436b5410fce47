"""A spoken answer becomes feedback, whatever the order and whatever dies on the way."""

import asyncio
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from stacks import Stack

from coach_common.testing.harness import eventually
from coach_embedded.demo import QUESTION, word_error_rate
from coach_embedded.phone import Phone

pytestmark = [pytest.mark.speech, pytest.mark.asyncio(loop_scope="session")]

RECORDINGS = Path(str(files("coach_embedded") / "recordings"))
ANSWER, ANSWER_WORDS = RECORDINGS / "answer.m4a", (RECORDINGS / "answer.txt").read_text()
READING, READING_WORDS = RECORDINGS / "reading.wav", (RECORDINGS / "reading.txt").read_text()


async def _final(phone: Phone, session_id: str, *, seconds: float = 90) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        feedback = await phone.feedback(session_id)
        return feedback if feedback["status"] in ("ready", "failed") else None

    return await eventually(look, what="a final feedback", seconds=seconds, every_seconds=0.25)


async def test_a_spoken_answer_becomes_a_transcript_and_feedback_pushed_live(phone: Phone) -> None:
    async with phone.socket() as first, phone.socket() as second:
        session_id = await phone.open_session("Live", QUESTION)
        key = await phone.upload(ANSWER, "audio/m4a", session_id=session_id)
        confirmed = await phone.confirm(key, session_id=session_id)
        again = await phone.confirm(key, session_id=session_id)
        await phone.complete(session_id, duration_seconds=60)
        transcripts = [
            await socket.wait_for("transcript", seconds=90, session_id=session_id)
            for socket in (first, second)
        ]
        judged = await first.wait_for("feedback", seconds=60, session_id=session_id, status="ready")
        await second.wait_for("feedback", seconds=60, session_id=session_id, status="ready")
        feedback = await phone.feedback(session_id)
        assert first.count("feedback", session_id=session_id, status="ready") == 1

    assert confirmed == again
    assert transcripts[0].frame == transcripts[1].frame
    assert transcripts[0].frame["final"] is True
    assert transcripts[0].frame["key"] == key
    assert word_error_rate(ANSWER_WORDS, feedback["transcript"]) <= 0.10
    assert {name: judged.frame.get(name) for name in feedback} == feedback
    assert feedback["status"] == "ready"
    assert 0 <= feedback["overall_score"] <= 100
    assert feedback["evidence"]
    for claim in feedback["evidence"]:
        assert claim["quote"] in feedback["transcript"]
        assert 0 <= claim["start_seconds"] < claim["end_seconds"]


async def test_a_page_of_a_novel_is_understood_and_not_scored(phone: Phone) -> None:
    session_id = await phone.open_session("Novel", QUESTION)
    await phone.complete(session_id)
    await phone.confirm(
        await phone.upload(READING, "audio/wav", session_id=session_id), session_id=session_id
    )

    feedback = await _final(phone, session_id)

    assert word_error_rate(READING_WORDS, feedback["transcript"]) <= 0.05
    assert feedback["status"] == "ready"
    assert feedback["overall_score"] is None
    assert feedback["detailed_feedback"]


async def test_a_recording_that_arrives_after_completion_is_judged(phone: Phone) -> None:
    session_id = await phone.open_session("Late", QUESTION)
    completed = await phone.send("POST", f"/sessions/{session_id}/complete")
    waiting = await phone.send("GET", f"/sessions/{session_id}/feedback")

    key = await phone.upload(READING, "audio/wav")
    await phone.confirm(key, session_id=session_id)
    feedback = await _final(phone, session_id)

    assert completed.status_code == 200
    assert waiting.status_code == 200
    assert waiting.json()["status"] == "waiting_for_recording"
    assert waiting.json()["overall_score"] is None
    assert feedback["transcript"]


async def test_an_upload_that_is_never_confirmed_is_found(phone: Phone) -> None:
    session_id = await phone.open_session("Shipped app", QUESTION)
    await phone.upload(READING, "audio/wav", session_id=session_id)
    await phone.complete(session_id)

    feedback = await _final(phone, session_id, seconds=120)

    assert feedback["status"] == "ready"
    assert feedback["transcript"]


async def test_a_key_over_the_socket_confirms_and_transcribes(phone: Phone) -> None:
    async with phone.socket() as socket:
        await socket.say("session_start", question=QUESTION)
        started = await socket.wait_for("session_started", seconds=10)
        session_id = started.frame["session_id"]
        key = await phone.upload(READING, "audio/wav")
        await socket.say("audio_uri", key=key)
        await socket.say("complete", duration_seconds=7)
        transcript = await socket.wait_for("transcript", seconds=90, session_id=session_id)
        feedback = await socket.wait_for(
            "feedback", seconds=60, session_id=session_id, status="ready"
        )

    assert transcript.frame["key"] == key
    assert feedback.frame["status"] == "ready"
    session = await phone.call("GET", f"/v1/sessions/{session_id}")
    assert session["title"] == QUESTION
    assert session["duration_seconds"] == 7


async def test_a_kill_while_transcribing_loses_nothing_and_judges_once(
    stack: Stack, phone: Phone
) -> None:
    session_id = await phone.open_session("Killed", QUESTION)
    key = await phone.upload(ANSWER, "audio/m4a", session_id=session_id)
    confirmed = await phone.confirm(key, session_id=session_id)
    await phone.complete(session_id)

    def is_logged(event: str) -> bool:
        lines = stack.ai.said().splitlines()
        return any(event in line and confirmed["upload_id"] in line for line in lines)

    async def is_transcribing() -> bool:
        return is_logged("job.claimed")

    await eventually(is_transcribing, what="the claim of the job", every_seconds=0.01)
    await stack.ai.kill()
    assert not is_logged("job.ended")
    await stack.start()
    async with phone.socket() as socket:
        feedback = await _final(phone, session_id, seconds=150)
        upload = await phone.call("GET", f"/upload/{confirmed['upload_id']}")
        assert socket.count("feedback", session_id=session_id, status="ready") <= 1

    assert feedback["status"] == "ready"
    assert feedback["overall_score"] is not None
    assert upload["transcript"] == feedback["transcript"]


async def test_a_stop_and_a_restart_lose_nothing(stack: Stack, phone: Phone) -> None:
    session_id = await phone.open_session("Restarted", QUESTION)
    key = await phone.upload(READING, "audio/wav", session_id=session_id)
    await phone.confirm(key, session_id=session_id)

    status = await stack.ai.stop()
    await stack.start()
    await phone.complete(session_id)
    feedback = await _final(phone, session_id)

    assert status == 0
    assert feedback["status"] == "ready"


async def test_five_parallel_refreshes_keep_the_phone_signed_in(phone: Phone) -> None:
    answers = await asyncio.gather(
        *(phone.call("POST", "/auth/refresh", refresh_token=phone.refresh_token) for _ in range(5))
    )

    assert len({answer["refresh_token"] for answer in answers}) == 1
    phone.token = answers[3]["token"]
    assert (await phone.call("GET", "/auth/me"))["id"] == phone.user_id
    again = await phone.call("POST", "/auth/refresh", refresh_token=answers[0]["refresh_token"])
    assert again["token"]


async def test_every_error_reads_as_one_sentence(stack: Stack, phone: Phone) -> None:
    answers = [
        await phone.send("POST", "/auth/register", json={"email": "x", "password": "1"}),
        await phone.send("POST", "/sessions", content=b"{"),
        await phone.send("GET", "/sessions/nonsense"),
        await phone.send("GET", "/nothing/here"),
        await phone.send("DELETE", "/sessions"),
        await phone.send("POST", "/upload/confirm", json={"key": "no", "uploaded_at": 1}),
    ]
    async with httpx.AsyncClient() as nobody:
        answers.append(await nobody.get(f"{stack.url}/sessions"))

    assert [answer.status_code for answer in answers] == [422, 422, 404, 404, 405, 404, 401]
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        assert isinstance(answer.json()["detail"], str)
        assert answer.json()["request_id"]


async def test_a_deleted_account_is_erased_everywhere_at_once(stack: Stack, phone: Phone) -> None:
    session_id = await phone.open_session("Gone", QUESTION)
    await phone.upload(READING, "audio/wav", session_id=session_id)

    answer = await phone.send("DELETE", "/auth/me", json={"password": "a long test password"})

    assert answer.status_code == 204

    async def refused() -> bool:
        return (await phone.send("GET", f"/sessions/{session_id}")).status_code == 401

    await eventually(refused, what="the token's end", seconds=5)
