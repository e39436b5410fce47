"""Live audio: partial transcripts at once and finally the same result as an upload."""

import asyncio
import itertools
import os
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stacks import RunningStack

from coach_ai.speech.audio import SAMPLE_RATE, decode
from coach_common.testing.harness import http_client, wait_until
from coach_embedded.api_client import ApiClient, ClientSocket
from coach_embedded.demo import QUESTION, word_error_rate
from support.sounds import WORDS, speech

pytestmark = [pytest.mark.speech, pytest.mark.asyncio(loop_scope="session")]

RECORDINGS = Path(str(files("coach_embedded") / "recordings"))
ANSWER, ANSWER_WORDS = RECORDINGS / "answer.m4a", (RECORDINGS / "answer.txt").read_text()
_FRAME_BYTES = SAMPLE_RATE // 4 * 2
"""A quarter of a second of 16-bit samples."""


def _raw(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


async def _start_audio(socket: ClientSocket, **fields: Any) -> dict[str, Any]:
    await socket.send("audio_start", format="pcm16", sample_rate=SAMPLE_RATE, **fields)
    return (await socket.wait_for("audio_started", seconds=120)).frame


async def _send_audio(socket: ClientSocket, content: bytes) -> None:
    """Send audio at ten times the speed of speech."""
    for start in range(0, len(content), _FRAME_BYTES):
        await socket.send_audio(content[start : start + _FRAME_BYTES])
        await asyncio.sleep(0.025)


async def test_live_audio_yields_partials_and_same_result_as_upload(client: ApiClient) -> None:
    content = _raw(decode(ANSWER))
    async with client.socket() as socket:
        await socket.send("session_start", question=QUESTION)
        await socket.send("audio_start", format="pcm16", sample_rate=SAMPLE_RATE)
        await _send_audio(socket, content)
        await socket.wait_for("partial", seconds=120)
        await socket.send("audio_end")
        session_id = (await socket.wait_for("session_started", seconds=5)).frame["session_id"]
        transcript = await socket.wait_for("transcript", seconds=120, session_id=session_id)
        await socket.send("complete", duration_seconds=60)
        feedback = await socket.wait_for(
            "feedback", seconds=120, session_id=session_id, status="ready"
        )
        partials = [received.frame["text"] for received in socket.frames("partial")]
        errors = socket.frames("error")

    assert errors == []
    assert transcript.frame["final"] is True
    assert word_error_rate(ANSWER_WORDS, transcript.frame["text"]) <= 0.10
    assert all(after.startswith(before) for before, after in itertools.pairwise(partials))
    assert feedback.frame["status"] == "ready"
    session = await client.call("GET", f"/sessions/{session_id}")
    assert session["audio_s3_key"] == transcript.frame["key"]


async def test_interview_adds_a_word_in_live_silence_and_stops_when_it_is_answered(
    client: ApiClient,
) -> None:
    fields = {"title": "Open microphone", "interview_type": "behavioral", "question_limit": 1}
    noise = np.random.default_rng(1).normal(0, 0.003, SAMPLE_RATE // 4)
    async with client.socket() as socket:
        await socket.send("interview_start", words_per_minute=1000, silence_seconds=4, **fields)
        quiet = (await socket.wait_for("interview_turn", seconds=60)).frame["session_id"]
        started = await _start_interview_audio(client, socket, quiet)
        sending = asyncio.create_task(_send_audio_forever(socket, _raw(noise)))
        word = (await socket.wait_for("interview_silence", seconds=60)).frame
        sending.cancel()
        await socket.send("audio_end")

    async def answer() -> dict[str, Any] | None:
        path = f"/ai-interview/sessions/{quiet}/message"
        sent = await client.send("POST", path, json={"audio_s3_key": started["key"]})
        assert sent.status_code == 200 or sent.json()["code"] == "transcript_pending", sent.text
        return sent.json() if sent.status_code == 200 else None

    asked_again = await wait_until(
        answer, description="a turn", timeout_seconds=90, interval_seconds=2.0
    )

    async def interrupt() -> tuple[str, list[bool]] | None:
        """Speak while a turn is sent. None if the recogniser was slower than the text."""
        async with client.socket() as socket:
            await socket.send("interview_start", words_per_minute=50, **fields)
            session_id = (await socket.wait_for("interview_delta", seconds=60)).frame["session_id"]
            await _start_interview_audio(client, socket, session_id)
            await _send_audio(socket, _raw(decode(ANSWER))[: 12 * SAMPLE_RATE * 2])
            turn = (await socket.wait_for("interview_turn", seconds=120)).frame
            if not turn["was_interrupted"]:
                return None
            await socket.wait_for("interview_listening", seconds=60)
            return session_id, [received.frame["is_reply"] for received in socket.frames("partial")]

    interrupted, partials = await wait_until(
        interrupt, description="an interrupted turn", timeout_seconds=240
    )
    read = await client.call("GET", f"/ai-interview/sessions/{interrupted}")

    assert word["session_id"] == quiet
    assert asked_again["analysis"]["intent"] == "no_answer"
    assert any(partials)
    assert read["turns"][0]["interrupted_at"] is not None


async def _send_audio_forever(socket: ClientSocket, quarter: bytes) -> None:
    """Send the same quarter of a second again and again, at the speed of a microphone."""
    while True:
        await socket.send_audio(quarter)
        await asyncio.sleep(0.25)


async def _start_interview_audio(
    client: ApiClient, socket: ClientSocket, session_id: str
) -> dict[str, Any]:
    """Start live audio once the interview is in the history."""

    async def is_listed() -> bool:
        return (await client.send("GET", f"/sessions/{session_id}")).status_code == 200

    await wait_until(is_listed, description="the interview in the history", timeout_seconds=60)
    return await _start_audio(socket, session_id=session_id)


async def test_live_audio_resumes_after_disconnect_without_loss(client: ApiClient) -> None:
    content = _raw(speech())
    session_id = await client.open_session("Live", QUESTION)
    async with client.socket() as socket:
        key = (await _start_audio(socket, session_id=session_id))["key"]
        await _send_audio(socket, content[:300_000])
    async with client.socket() as socket:
        started = await _start_audio(socket, session_id=session_id, key=key)
        await _send_audio(socket, content[started["received"] :])
        await socket.send("audio_end")
        await socket.wait_for("transcript", seconds=120, session_id=session_id)
    upload = await client.confirm(key, session_id=session_id)
    playback = await client.call("GET", f"/upload/{upload['upload_id']}/url")
    async with http_client(trust_env=False) as store:
        stored = (await store.get(playback["url"])).content

    # Audio in flight when the connection broke is sent again, so nothing is missing.
    assert 300_000 - SAMPLE_RATE * 2 <= started["received"] <= 300_000
    assert stored[44:] == content


@pytest.mark.parametrize("start", ["unanswered", "answered", "resumed"])
async def test_live_recording_is_transcribed_if_the_client_leaves_after_its_end(
    client: ApiClient, stack: RunningStack, start: str
) -> None:
    content = _raw(speech("austen-0930.wav"))
    session_id = await client.open_session("Live", QUESTION)
    stored_before = await _count_completed_recordings(stack)
    async with client.socket() as other_device:
        fields: dict[str, Any] = {"session_id": session_id}
        unsent = content
        if start == "resumed":
            async with client.socket() as socket:
                fields["key"] = (await _start_audio(socket, **fields))["key"]
                await socket.send_audio(content[:64_000])
                await _wait_for_audio(stack, fields["key"], 64_000)
            unsent = content[64_000:]
        async with client.socket() as socket:
            await socket.send("audio_start", format="pcm16", sample_rate=SAMPLE_RATE, **fields)
            if start == "answered":
                await socket.wait_for("audio_started", seconds=120)
            await socket.send_audio(unsent)
            await socket.send("audio_end")
        pushed = await other_device.wait_for("transcript", seconds=120, session_id=session_id)
    await _wait_for_transcript(client, session_id)
    session = await client.call("GET", f"/sessions/{session_id}")
    upload = await client.confirm(session["audio_s3_key"], session_id=session_id)

    assert await _count_completed_recordings(stack) == stored_before + 1, "stored as abandoned"
    assert session["audio_s3_key"] == pushed.frame["key"]
    assert upload["size"] == len(content) + 44
    assert word_error_rate(WORDS["austen-0930.wav"], pushed.frame["text"]) <= 0.15


async def _count_completed_recordings(stack: RunningStack) -> float:
    """Return how many recordings ai has stored because their end arrived."""
    async with http_client(trust_env=False) as http:
        metrics = (await http.get(f"http://127.0.0.1:{stack.ai.env['PORT']}/metrics")).text
    name = 'coach_ai_live_stored_total{reason="completed"} '
    return sum(float(line[len(name) :]) for line in metrics.splitlines() if line.startswith(name))


@pytest.mark.parametrize("frame_bytes", [320, 256, 64_000])
async def test_live_audio_in_frames_of_any_length_is_transcribed(
    client: ApiClient, frame_bytes: int
) -> None:
    content = _raw(speech())[: SAMPLE_RATE * 2 * 8]
    session_id = await client.open_session("Live", QUESTION)
    async with client.socket() as socket:
        await _start_audio(socket, session_id=session_id)
        # A client that was offline sends all of it at once.
        for start in range(0, len(content), frame_bytes):
            await socket.send_audio(content[start : start + frame_bytes])
        await socket.send("audio_end")
        await socket.wait_for("transcript", seconds=120, session_id=session_id)
        errors = socket.frames("error")

    assert errors == []


async def test_stored_recording_is_not_overwritten_by_its_key(client: ApiClient) -> None:
    content = _raw(speech())[: SAMPLE_RATE * 2 * 3]
    session_id = await client.open_session("Live", QUESTION)
    async with client.socket() as socket:
        key = (await _start_audio(socket, session_id=session_id))["key"]
        await socket.send_audio(content)
        await socket.send("audio_end")
        await socket.wait_for("transcript", seconds=120, session_id=session_id)
        await socket.send(
            "audio_start", format="pcm16", sample_rate=16_000.0, session_id=session_id, key=key
        )
        error = (await socket.wait_for("error", seconds=120)).frame
    upload = await client.confirm(key, session_id=session_id)

    assert error["code"] == "already_stored"
    assert error["upload"]["upload_id"] == upload["upload_id"]
    assert error["upload"]["size"] == upload["size"] == len(content) + 44


async def test_recording_is_stored_when_ai_stops_during_speech(
    client: ApiClient, stack: RunningStack
) -> None:
    content = _raw(speech())[: SAMPLE_RATE * 2 * 6]
    session_id = await client.open_session("Live", QUESTION)
    async with client.socket() as socket:
        key = (await _start_audio(socket, session_id=session_id))["key"]
        await _send_audio(socket, content)
        await _wait_for_audio(stack, key, len(content))
        assert await stack.ai.stop() == 0
        stored_files = [*stack.live_directory.glob("*/*")]
        await stack.start()

    assert stored_files == []
    await _wait_for_transcript(client, session_id)
    upload = await client.confirm(key, session_id=session_id)
    assert upload["size"] == len(content) + 44


async def test_recording_is_stored_after_ai_was_killed_during_speech(
    client: ApiClient, stack: RunningStack
) -> None:
    content = _raw(speech())[: SAMPLE_RATE * 2 * 6]
    session_id = await client.open_session("Live", QUESTION)
    async with client.socket() as socket:
        key = (await _start_audio(socket, session_id=session_id))["key"]
        await _send_audio(socket, content)
        file = await _wait_for_audio(stack, key, len(content))
    await stack.ai.kill()
    os.utime(file, (0, time.time() - 120))
    await stack.start()

    await _wait_for_transcript(client, session_id)
    upload = await client.confirm(key, session_id=session_id)
    assert upload["size"] == len(content) + 44
    assert not file.exists()


async def _wait_for_audio(stack: RunningStack, key: str, size: int) -> Path:
    """Wait until ai has received the audio. Return its file."""
    _, user_id, name = key.split("/")
    file = stack.live_directory / user_id / f"{name}.audio"

    async def has_arrived() -> bool:
        return file.exists() and file.stat().st_size == size

    await wait_until(has_arrived, description="the audio at ai")
    return file


async def _wait_for_transcript(client: ApiClient, session_id: str) -> None:
    async def is_transcribed() -> bool:
        return bool((await client.feedback(session_id))["transcript"])

    await client.complete(session_id, duration_seconds=6)
    await wait_until(is_transcribed, description="the transcript", interval_seconds=0.25)
