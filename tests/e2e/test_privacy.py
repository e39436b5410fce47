"""What a person decides about the own data: consent, export, and deletion with a receipt."""

import io
import json
import wave
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from stacks import RunningStack

from coach_ai.store.consents import find_consent
from coach_common.db.database import Database
from coach_common.testing.harness import http_client, wait_until
from coach_embedded.api_client import ApiClient

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

ANSWER = (files("coach_embedded") / "recordings" / "answer.txt").read_text()


def _write_silence(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(600_000))
    return path


async def test_decision_about_outside_providers_reaches_ai(
    client: ApiClient, stack: RunningStack
) -> None:
    for is_given in (True, False):
        decision = {"purpose": "outside_provider", "is_given": is_given, "version": "2026-11"}
        changed = await client.send("PUT", "/auth/me/consents", json={"consents": [decision]})
        assert changed.status_code == 200, changed.text
    read = await client.send("GET", "/auth/me/consents")
    assert read.json() == changed.json()

    database = Database(stack.ai_database_url, source="ai")

    async def has_refusal() -> bool:
        async with database.read_only() as tx:
            return await find_consent(tx, UUID(client.user_id)) is False

    await wait_until(has_refusal, description="the refusal in ai")
    await database.close()


async def test_refused_storage_deletes_audio_once_its_feedback_exists(
    client: ApiClient, tmp_path: Path
) -> None:
    recording = _write_silence(tmp_path / "silence.wav")

    async def effective_retention() -> str:
        return str((await client.call("GET", "/v1/upload/retention"))["effective"])

    async def decide(*, is_given: bool, expected: str) -> None:
        decision = {"purpose": "storage", "is_given": is_given, "version": "2026-11"}
        await client.call("PUT", "/v1/auth/me/consents", consents=[decision])

        async def is_applied() -> bool:
            return await effective_retention() == expected

        await wait_until(is_applied, description=f"retention {expected}", timeout_seconds=60)

    async def practise() -> str:
        """Return the id of the upload of a session that is ready and transcribed."""
        session_id = await client.open_session("Consent", "Why us?")
        confirmed = await client.confirm(
            await client.upload(recording, "audio/wav"), session_id=session_id
        )
        await client.complete(session_id, transcript=ANSWER, duration_seconds=60)

        async def is_ready() -> bool:
            return bool((await client.feedback(session_id))["status"] == "ready")

        # The recording has no speech, so the client's own transcript is scored.
        await wait_until(is_ready, description="the feedback", timeout_seconds=120)
        return str(confirmed["upload_id"])

    async def is_audio_deleted() -> bool:
        return bool((await client.call("GET", f"/v1/upload/{upload_id}"))["audio_deleted"])

    await client.call("PUT", "/v1/upload/retention", audio="90_days")
    await decide(is_given=False, expected="after_feedback")
    upload_id = await practise()
    await wait_until(is_audio_deleted, description="the deletion of the audio", timeout_seconds=60)
    await decide(is_given=True, expected="90_days")
    upload_id = await practise()

    assert not await is_audio_deleted()
    assert (await client.call("GET", f"/v1/upload/{upload_id}/url"))["url"]


async def test_dispute_is_not_counted_after_a_refusal_of_improvement(
    client: ApiClient,
) -> None:
    session_id = await client.open_session("Dispute", "Tell me about a mistake.")
    await client.complete(session_id, transcript=ANSWER, duration_seconds=60)

    async def is_ready() -> bool:
        return bool((await client.feedback(session_id))["overall_score"] is not None)

    async def is_done() -> bool:
        dispute = (await client.feedback(session_id))["dispute"] or {}
        return bool(dispute.get("status") == "done")

    async def disputes() -> int:
        return int((await client.call("GET", "/v1/quality"))["disputes"]["total"])

    await wait_until(is_ready, description="the feedback", timeout_seconds=120)
    before = await disputes()
    await client.call("POST", f"/v1/sessions/{session_id}/dispute", expect=202)
    await wait_until(is_done, description="the second scoring", timeout_seconds=60)
    without_decision = await disputes()
    for is_given in (False, True):
        decision = {"purpose": "improvement", "is_given": is_given, "version": "2026-11"}
        await client.call("PUT", "/v1/auth/me/consents", consents=[decision])

        async def is_applied(expected: int = before + is_given) -> bool:
            return await disputes() == expected

        await wait_until(is_applied, description="the count", timeout_seconds=60)

    assert without_decision == before + 1


async def test_export_is_pushed_and_has_rows_and_recordings_of_all_services(
    client: ApiClient, tmp_path: Path
) -> None:
    recording = _write_silence(tmp_path / "silence.wav")
    session_id = await client.open_session("Export me", "Why us?")
    await client.confirm(await client.upload(recording, "audio/wav"), session_id=session_id)
    await client.send("POST", "/ai/chat", json={"message": "How long is a good answer?"})
    async with client.socket() as socket:
        requested = await client.send("POST", "/auth/me/export")
        assert requested.status_code == 202, requested.text
        export_id = requested.json()["id"]
        pushed = await socket.wait_for("export", seconds=120, export_id=export_id)
    downloaded = await client.send("GET", requested.headers["location"])

    assert pushed.frame["status"] == "ready"
    archive = zipfile.ZipFile(io.BytesIO(downloaded.content))

    def rows(table: str) -> list[dict[str, Any]]:
        return [
            row
            for name in archive.namelist()
            if name.endswith(f"-{table}.json")
            for row in json.loads(archive.read(name))
        ]

    assert rows("users")[0]["id"] == client.user_id
    assert "password_hash" not in rows("users")[0]
    assert [row["title"] for row in rows("sessions")] == ["Export me"]
    assert "How long is a good answer?" in {row["text"] for row in rows("messages")}
    (upload,) = rows("uploads")
    assert archive.read(f"recordings/{upload['id']}.wav") == recording.read_bytes()
    assert json.loads(archive.read("export.json"))["missing_recordings"] == []


async def test_deletions_end_in_a_receipt_that_needs_no_login(
    client: ApiClient, stack: RunningStack
) -> None:
    session_id = await client.open_session("Receipt", "Why us?")
    of_session = await client.send("DELETE", f"/sessions/{session_id}")
    of_account = await client.send("DELETE", "/auth/me", json={"password": "a long test password"})

    async with http_client(base_url=f"{stack.url}/v1") as anonymous:
        for deleted, kind in ((of_session, "session"), (of_account, "account")):
            assert deleted.status_code == 204, deleted.text
            path = deleted.headers["location"]

            async def is_complete(path: str = path) -> dict[str, Any] | None:
                response = await anonymous.get(path)
                receipt: dict[str, Any] = response.json()
                return receipt if receipt.get("status") == "complete" else None

            receipt = await wait_until(
                is_complete,
                description=f"the receipt of the {kind}",
                timeout_seconds=60,
                interval_seconds=0.1,
            )
            assert receipt["kind"] == kind
            assert len(receipt["signature"].split(".")) == 3
