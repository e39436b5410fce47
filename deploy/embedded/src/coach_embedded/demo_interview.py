"""The part of the demo that is an interview: three questions, spoken answers, and follow-ups."""

import asyncio
import io
import time
import wave
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from coach_embedded.api_client import ApiClient
from coach_embedded.demo_steps import DemoFailed, format_score, require, show, step

QUESTION_COUNT = 3
SETUP = {
    "title": "Demo interview",
    "interview_type": "behavioral",
    "question_limit": QUESTION_COUNT,
    # The tags of the questions that the recordings answer.
    "role_context": "Support: problem solving, communication, customers and deadlines.",
}
ANSWERS: Mapping[str, Mapping[str | None, str]] = {
    "a difficult problem": {None: "answer.m4a", "depth": "interview/problem-depth.m4a"},
    "a difficult customer": {
        None: "interview/customer.m4a",
        "result_missing": "interview/customer-result.m4a",
        "depth": "interview/customer-depth.m4a",
    },
    "missed a deadline": {
        None: "interview/deadline.m4a",
        "own_part_unclear": "interview/deadline-own-part.m4a",
        "result_missing": "interview/deadline-result.m4a",
    },
}
"""Recordings by words of the question, then by the gap that is probed. None: the question."""
_SKIP = "skip"
_CONTENT_TYPE = "audio/m4a"
_TRANSCRIPT_SECONDS = 120.0
_POLL_SECONDS = 0.3
_PENDING_STATUSES = ("confirmed", "transcribing")


async def run_interview(client: ApiClient) -> None:
    """Answer the questions of an interview with recordings, and print its assessment.

    Raises:
        DemoFailed: If a question is unknown, nothing is probed, or a result is missing.
    """
    print(f"\n── An interview ── {QUESTION_COUNT} questions, answered by a synthetic voice")
    async with step("Start the interview"):
        reply = await client.call("POST", "/ai-interview/sessions", expect=201, **SETUP)
    interview = f"/ai-interview/sessions/{reply['session_id']}"
    follow_ups, gap = 0, None
    recordings: Mapping[str | None, str] = {}
    while reply["status"] == "in_progress":
        show("Interviewer", reply["response"])
        await _print_speech(client, reply["ai_audio_url"])
        if gap is None:
            recordings = find_recordings(reply["response"])
        reply = await _answer(client, interview, recordings.get(gap and gap["kind"]))
        gap = reply["analysis"]["gap"]
        if gap is not None:
            follow_ups += 1
            require(gap["quote"] in reply["response"], "a follow-up does not quote the answer")
    show("Interviewer", reply["response"])
    async with step("Assess"):
        assessment = await client.call("POST", f"{interview}/complete")
    _show_assessment(assessment)
    require(follow_ups > 0, "no gap was probed")
    scored = [one for one in assessment["answers"] if one["overall_score"] is not None]
    require(len(scored) == QUESTION_COUNT, f"{len(scored)} of {QUESTION_COUNT} were scored")
    require(assessment["overall_score"] is not None, "the interview was not scored")


def find_recordings(response: str) -> Mapping[str | None, str]:
    """Return the recordings for the question in a response."""
    for words, recordings in ANSWERS.items():
        if words in response:
            return recordings
    raise DemoFailed(f"there is no recording for: {response}")


async def _answer(client: ApiClient, interview: str, recording: str | None) -> dict[str, Any]:
    """Send a recording, or skip the question if there is none, and return the response."""
    path = f"{interview}/message"
    if recording is None:
        show("Candidate", _SKIP)
        return await client.call("POST", path, message=_SKIP)
    file = Path(str(files("coach_embedded") / "recordings")) / recording
    async with step(f"Upload {file.stat().st_size // 1024} KiB to storage"):
        key = await client.upload(file, _CONTENT_TYPE)
        confirmed = await client.confirm(key)
    async with step("Transcribe"):
        deadline = time.monotonic() + _TRANSCRIPT_SECONDS
        while time.monotonic() < deadline:
            upload = await client.call("GET", f"/upload/{confirmed['upload_id']}")
            if upload["status"] not in _PENDING_STATUSES:
                break
            await asyncio.sleep(_POLL_SECONDS)
    async with step("Score and reply"):
        reply = await client.call("POST", path, expect=None, audio_s3_key=key)
    require("response" in reply, f"{path}: {reply.get('code')}: {reply.get('detail')}")
    return reply


async def _print_speech(client: ApiClient, path: str | None) -> None:
    """Request the interviewer's speech, if the server has a voice, and print its length."""
    if path is None:
        return
    response = await client.send("GET", path)
    require(response.status_code == 200, f"{path}: {response.status_code} {response.text[:200]}")
    with wave.open(io.BytesIO(response.content)) as speech:
        seconds = speech.getnframes() / speech.getframerate()
    print(f"  Speech of the interviewer: {seconds:.1f} s")


def _show_assessment(assessment: Mapping[str, Any]) -> None:
    """Print an assessment for people."""
    for one in assessment["answers"]:
        follow_ups = one["follow_ups"]
        counted = f"{follow_ups} follow-up" + ("" if follow_ups == 1 else "s")
        show("Question", f"{one['question']} {format_score(one['overall_score'])}, {counted}")
        show("Feedback", one["detailed_feedback"])
    show("Overall", format_score(assessment["overall_score"]))
    show("Summary", assessment["summary"])
    for item in assessment["study_plan"]:
        show("Study plan", " ".join(str(text) for text in item.values() if text))
