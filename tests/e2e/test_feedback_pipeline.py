"""From a spoken answer to feedback, in any order and with process failures."""

import asyncio
import re
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update
from stacks import RunningStack

from coach_ai.tables import JOBS
from coach_common.db.database import Database
from coach_common.ids import new_id
from coach_common.testing.harness import http_client, wait_until
from coach_embedded.api_client import ApiClient
from coach_embedded.demo import QUESTION, word_error_rate
from support.collector import Collector

EXPORTS_SPANS = True
pytestmark = [pytest.mark.speech, pytest.mark.asyncio(loop_scope="session")]

RECORDINGS = Path(str(files("coach_embedded") / "recordings"))
ANSWER, ANSWER_WORDS = RECORDINGS / "answer.m4a", (RECORDINGS / "answer.txt").read_text()
READING, READING_WORDS = RECORDINGS / "reading.wav", (RECORDINGS / "reading.txt").read_text()

TRANSCRIPT = (
    "Last year our shop lost orders at night. I found a race in the queue, wrote a test for it, "
    "fixed it in two days, and no order has been lost since."
)


async def _wait_for_final_feedback(
    client: ApiClient, session_id: str, *, seconds: float = 90, is_disturbed: bool = False
) -> dict[str, Any]:
    """Return the final feedback. `is_disturbed`: a service may be unavailable at first."""

    async def final_feedback() -> dict[str, Any] | None:
        response = await client.send("GET", f"/sessions/{session_id}/feedback")
        if is_disturbed and response.status_code == 503:
            return None
        assert response.status_code == 200, response.text
        feedback: dict[str, Any] = response.json()
        return feedback if feedback["status"] in ("ready", "failed") else None

    return await wait_until(
        final_feedback,
        description="a final feedback",
        timeout_seconds=seconds,
        interval_seconds=0.25,
    )


async def test_recording_yields_pushed_transcript_and_feedback(client: ApiClient) -> None:
    async with client.socket() as first, client.socket() as second:
        session_id = await client.open_session("Live", QUESTION)
        key = await client.upload(ANSWER, "audio/m4a", session_id=session_id)
        confirmed = await client.confirm(key, session_id=session_id)
        again = await client.confirm(key, session_id=session_id)
        await client.complete(session_id, duration_seconds=60)
        transcripts = [
            await socket.wait_for("transcript", seconds=90, session_id=session_id)
            for socket in (first, second)
        ]
        pushed = await first.wait_for(
            "feedback", seconds=120, session_id=session_id, status="ready"
        )
        await second.wait_for("feedback", seconds=120, session_id=session_id, status="ready")
        feedback = await client.feedback(session_id)
        assert first.count("feedback", session_id=session_id, status="ready") == 1

    assert confirmed == again
    assert transcripts[0].frame == transcripts[1].frame
    assert transcripts[0].frame["final"] is True
    assert transcripts[0].frame["key"] == key
    assert word_error_rate(ANSWER_WORDS, feedback["transcript"]) <= 0.10
    assert {name: pushed.frame.get(name) for name in feedback} == feedback
    assert feedback["status"] == "ready"
    assert 0 <= feedback["overall_score"] <= 100
    assert feedback["evidence"]
    for claim in feedback["evidence"]:
        assert claim["quote"] in feedback["transcript"]
        assert 0 <= claim["start_seconds"] < claim["end_seconds"]


async def test_one_trace_leads_from_the_request_to_the_push(
    stack: RunningStack, client: ApiClient, collector: Collector
) -> None:
    trace_id, phone_span_id = uuid4().hex, "b7ad6b7169203331"
    session_id = await client.open_session("Traced", QUESTION)
    async with client.socket() as socket, http_client(base_url=stack.url) as http:
        completed = await http.post(
            f"/sessions/{session_id}/complete",
            json={"duration_seconds": 30, "transcript": TRANSCRIPT},
            headers={
                "authorization": f"Bearer {client.token}",
                "traceparent": f"00-{trace_id}-{phone_span_id}-01",
            },
        )
        await socket.wait_for("feedback", seconds=120, session_id=session_id, status="ready")
    assert completed.status_code == 200

    async def whole_trace() -> bool:
        return [
            "gateway: POST /sessions/{id}/complete",
            "sessions: POST /sessions/{session_id}/complete",
            "sessions: create session.completed",
            "ai: process session.completed",
            "ai: job feedback",
            "ai: create feedback.generated",
            "sessions: process feedback.generated",
            "sessions: create session.judged",
            "gateway: process session.judged",
            "gateway: push feedback",
        ] in collector.find_paths(trace_id, phone_span_id, "push feedback") and {
            "send session.completed",
            "send feedback.generated",
            "send session.judged",
        } <= collector.find_names(trace_id)

    await wait_until(whole_trace, description="the export of the trace")


async def test_off_topic_reading_is_transcribed_but_not_scored(client: ApiClient) -> None:
    session_id = await client.open_session("Novel", QUESTION)
    await client.complete(session_id)
    await client.confirm(
        await client.upload(READING, "audio/wav", session_id=session_id), session_id=session_id
    )

    feedback = await _wait_for_final_feedback(client, session_id)

    assert word_error_rate(READING_WORDS, feedback["transcript"]) <= 0.05
    assert feedback["status"] == "ready"
    assert feedback["overall_score"] is None
    assert feedback["detailed_feedback"]


async def test_accommodations_leave_out_metrics_and_change_no_score(client: ApiClient) -> None:
    async def answer(title: str) -> dict[str, Any]:
        session_id = await client.open_session(title, QUESTION)
        key = await client.upload(ANSWER, "audio/m4a", session_id=session_id)
        await client.confirm(key, session_id=session_id)
        await client.complete(session_id)
        return await _wait_for_final_feedback(client, session_id)

    before = await answer("With all metrics")
    switched_off = ["pace", "fillers", "pauses"]
    await client.call("POST", "/v1/ai-interview/profile", expect=201, accommodations=switched_off)
    after = await answer("With accommodations")

    assert {"pace", "long_pauses", "filled_pauses", "loudness"} <= set(before["delivery"])
    assert not {"pace", "long_pauses", "filled_pauses", "answer_length"} & set(after["delivery"])
    assert "loudness" in after["delivery"]
    assert after["overall_score"] == before["overall_score"]
    remarks = [*after["strengths"], *after["improvements"], after["detailed_feedback"]]
    assert not re.search(r"paus|filler|words (?:per|a) minute", " ".join(remarks))


async def test_recording_uploaded_after_completion_is_scored(client: ApiClient) -> None:
    """Its audio is deleted once the feedback is ready, because the user has chosen so."""
    chosen = await client.send("PUT", "/upload/retention", json={"audio": "after_feedback"})
    session_id = await client.open_session("Late", QUESTION)
    completed = await client.send("POST", f"/sessions/{session_id}/complete")
    feedback_before = await client.send("GET", f"/sessions/{session_id}/feedback")

    key = await client.upload(READING, "audio/wav")
    upload_id = (await client.confirm(key, session_id=session_id))["upload_id"]
    feedback = await _wait_for_final_feedback(client, session_id)

    async def has_no_audio() -> bool:
        playback = await client.send("GET", f"/upload/{upload_id}/url")
        return playback.status_code == 404 and playback.json()["code"] == "audio_deleted"

    await wait_until(has_no_audio, description="the deletion of the audio")
    assert chosen.status_code == 200
    assert completed.status_code == 200
    assert feedback_before.status_code == 200
    assert feedback_before.json()["status"] == "waiting_for_recording"
    assert feedback_before.json()["overall_score"] is None
    assert feedback["transcript"]


async def test_unconfirmed_upload_is_processed_by_sweep(client: ApiClient) -> None:
    session_id = await client.open_session("Shipped app", QUESTION)
    await client.upload(READING, "audio/wav", session_id=session_id)
    await client.complete(session_id)

    feedback = await _wait_for_final_feedback(client, session_id, seconds=120)

    assert feedback["status"] == "ready"
    assert feedback["transcript"]


async def test_audio_uri_frame_confirms_and_transcribes(client: ApiClient) -> None:
    async with client.socket() as socket:
        await socket.send("session_start", question=QUESTION)
        started = await socket.wait_for("session_started", seconds=10)
        session_id = started.frame["session_id"]
        key = await client.upload(READING, "audio/wav")
        await socket.send("audio_uri", key=key)
        await socket.send("complete", duration_seconds=7)
        transcript = await socket.wait_for("transcript", seconds=90, session_id=session_id)
        feedback = await socket.wait_for(
            "feedback", seconds=120, session_id=session_id, status="ready"
        )

    assert transcript.frame["key"] == key
    assert feedback.frame["status"] == "ready"
    session = await client.call("GET", f"/v1/sessions/{session_id}")
    assert session["title"] == QUESTION
    assert session["duration_seconds"] == 7


async def test_stopping_ai_during_transcriptions_loses_no_recording_and_no_try(
    stack: RunningStack, client: ApiClient
) -> None:
    def read_outcomes(upload_id: str) -> list[str]:
        lines = stack.ai.log_text().splitlines()
        ended = [line for line in lines if "job.ended" in line and upload_id in line]
        return re.findall(r"outcome\W+(\w+)", "\n".join(ended))

    async def start_transcription(title: str, recording: Path = ANSWER) -> tuple[str, str]:
        """Return session and upload of a recording, while it is transcribed."""
        session_id = await client.open_session(title, QUESTION)
        content_type = "audio/m4a" if recording is ANSWER else "audio/wav"
        key = await client.upload(recording, content_type, session_id=session_id)
        confirmed = await client.confirm(key, session_id=session_id)
        await client.complete(session_id)

        async def is_claimed() -> bool:
            lines = stack.ai.log_text().splitlines()
            return any("job.claimed" in line and confirmed["upload_id"] in line for line in lines)

        await wait_until(is_claimed, description="claim of the job", interval_seconds=0.01)
        return session_id, str(confirmed["upload_id"])

    killed = await start_transcription("Killed")
    await stack.ai.kill()
    assert read_outcomes(killed[1]) == []
    await stack.start()
    await _wait_for_final_feedback(client, killed[0], seconds=150, is_disturbed=True)

    frozen = await start_transcription("Frozen for longer than its lease", READING)
    await _claim_frozen_job(stack, UUID(frozen[1]))
    await _wait_for_final_feedback(client, frozen[0], seconds=150, is_disturbed=True)

    stopped = await start_transcription("Stopped", READING)
    status = await stack.ai.stop(signal.SIGTERM)
    await stack.start()

    async with client.socket() as socket:
        for session_id, upload_id in (killed, frozen, stopped):
            feedback = await _wait_for_final_feedback(
                client, session_id, seconds=150, is_disturbed=True
            )
            upload = await client.call("GET", f"/upload/{upload_id}")
            words = ANSWER_WORDS if upload_id == killed[1] else READING_WORDS
            assert feedback["status"] == "ready"
            assert upload["transcript"] == feedback["transcript"]
            assert word_error_rate(words, feedback["transcript"]) <= 0.10
            assert socket.count("feedback", session_id=session_id, status="ready") <= 1
    assert status == 0
    assert read_outcomes(killed[1]) == ["done"]
    assert read_outcomes(frozen[1]) == ["lost", "done"]
    # Released by the stop and done by the next process, or done before the stop.
    assert read_outcomes(stopped[1])[-1] == "done"
    assert set(read_outcomes(stopped[1])) <= {"released", "done"}


async def _claim_frozen_job(stack: RunningStack, upload_id: UUID) -> None:
    """Freeze ai until its lease has expired and another replica has claimed the job, and died."""
    process = stack.ai.running
    assert process is not None
    database = Database(stack.ai_database_url, source="ai")
    try:
        async with asyncio.timeout(60):
            process.send_signal(signal.SIGSTOP)
            while not _is_writable(stack.ai_database_url):
                # It was frozen inside a transaction, which locks the file.
                process.send_signal(signal.SIGCONT)
                await asyncio.sleep(0.02)
                process.send_signal(signal.SIGSTOP)
            async with database.transaction() as tx:
                changed = await tx.execute(
                    update(JOBS)
                    .where(JOBS.c.subject_id == upload_id, JOBS.c.lease_token.is_not(None))
                    .values(
                        lease_token=new_id(),
                        lease_owner="another replica",
                        lease_until=datetime(2020, 1, 1, tzinfo=UTC),
                    )
                )
    finally:
        process.send_signal(signal.SIGCONT)
        await database.close()
    assert changed.rowcount == 1


def _is_writable(database_url: str) -> bool:
    """Return False if a process holds the write lock of an SQLite file."""
    if not database_url.startswith("sqlite:///"):
        return True
    path = database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


async def test_parallel_refreshes_keep_client_signed_in(client: ApiClient) -> None:
    responses = await asyncio.gather(
        *(
            client.call("POST", "/auth/refresh", refresh_token=client.refresh_token)
            for _ in range(5)
        )
    )

    assert len({response["refresh_token"] for response in responses}) == 1
    client.token = responses[3]["token"]
    assert (await client.call("GET", "/auth/me"))["id"] == client.user_id
    again = await client.call("POST", "/auth/refresh", refresh_token=responses[0]["refresh_token"])
    assert again["token"]


async def test_errors_are_problem_documents_with_string_detail(
    stack: RunningStack, client: ApiClient
) -> None:
    responses = [
        await client.send("POST", "/auth/register", json={"email": "x", "password": "1"}),
        await client.send("POST", "/sessions", content=b"{"),
        await client.send("GET", "/sessions/nonsense"),
        await client.send("GET", "/nothing/here"),
        await client.send("DELETE", "/sessions"),
        await client.send("POST", "/upload/confirm", json={"key": "no", "uploaded_at": 1}),
    ]
    async with http_client() as anonymous:
        responses.append(await anonymous.get(f"{stack.url}/sessions"))

    assert [response.status_code for response in responses] == [422, 422, 404, 404, 405, 404, 401]
    for response in responses:
        assert response.headers["content-type"] == "application/problem+json"
        assert isinstance(response.json()["detail"], str)
        assert response.json()["request_id"]


async def test_account_deletion_invalidates_access_immediately(
    stack: RunningStack, client: ApiClient
) -> None:
    session_id = await client.open_session("Deleted account", QUESTION)
    await client.upload(READING, "audio/wav", session_id=session_id)

    response = await client.send("DELETE", "/auth/me", json={"password": "a long test password"})

    assert response.status_code == 204

    async def is_rejected() -> bool:
        return (await client.send("GET", f"/sessions/{session_id}")).status_code == 401

    await wait_until(is_rejected, description="rejection of the token", timeout_seconds=5)
