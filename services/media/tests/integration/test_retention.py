"""The retention of audio: what users choose, and when their recordings are deleted."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert, select

from coach_common.errors import NotFound
from coach_common.events.catalog import SessionJudged, TranscriptionCompleted, UserDeleted
from coach_common.events.consents import ConsentChanged
from coach_common.events.feedback import FeedbackView
from coach_common.http.dependencies import get_app_state
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock
from coach_common.testing.harness import deliver_event, http_client
from coach_media import deletions, retention
from coach_media.audio_retention import AudioRetention
from coach_media.tables import AUDIO_RETENTION, STORAGE_CONSENTS, UPLOADERS, UPLOADS

PATH = "/upload/retention"
M4A = b"\0\0\0\x20ftypM4A " + bytes(100)
GOLDEN = Path(__file__).parents[4] / "tests/contract/golden/session.judged.json"


async def _confirm(client: httpx.AsyncClient, **body: Any) -> tuple[str, str]:
    """Upload and confirm a recording. Returns its id and key."""
    wanted = {"content_type": "audio/m4a", "extension": "m4a"}
    presigned = (await client.post("/upload/s3-presign", json=wanted)).json()
    async with http_client() as storage:
        await storage.put(presigned["url"], content=M4A, headers=presigned["headers"])
    confirmed = await client.post("/upload/confirm", json={"key": presigned["key"], **body})
    return confirmed.json()["upload_id"], presigned["key"]


async def _has_audio(service: Service, client: httpx.AsyncClient, upload_id: str, key: str) -> bool:
    """Apply the retention, and return whether the recording still has its audio."""
    while await retention.delete_due_audio(service.deps):
        pass
    await deletions.delete_objects(service.deps)
    upload = (await client.get(f"/upload/{upload_id}")).json()
    playback = await client.get(f"/upload/{upload_id}/url")
    try:
        await service.deps.object_store.head(key)
    except NotFound:
        assert upload["audio_deleted"] is True
        assert upload["audio_deleted_at"] is not None
        assert (playback.status_code, playback.json()["code"]) == (404, "audio_deleted")
        return False
    assert (upload["audio_deleted"], playback.status_code) == (False, 200)
    return True


def _session_feedback(session_id: UUID, user_id: UUID, status: str) -> SessionJudged:
    view = json.loads(GOLDEN.read_text())["data"]["feedback"]
    feedback = FeedbackView.model_validate({**view, "status": status})
    return SessionJudged(session_id=session_id, user_id=user_id, feedback=feedback)


async def test_audio_is_deleted_after_the_days_that_the_user_chose(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, user_id: UUID
) -> None:
    default = (await client.get(PATH)).json()
    recording = await _confirm(client)
    clock.advance(timedelta(days=89).total_seconds())
    kept = await _has_audio(service, client, *recording)
    chosen = await client.put(PATH, json={"audio": "90_days"})
    at_89_days = await _has_audio(service, client, *recording)
    young = await _confirm(client)
    clock.advance(timedelta(days=2).total_seconds())

    assert default == {"audio": "keep", "is_default": True, "effective": "keep"}
    assert chosen.json() == (await client.get(PATH)).json()
    assert chosen.json() == {"audio": "90_days", "is_default": False, "effective": "90_days"}
    assert (kept, at_89_days) == (True, True)
    assert await _has_audio(service, client, *recording) is False
    assert await _has_audio(service, client, *young) is True
    assert (await client.put(PATH, json={"audio": "1_day"})).status_code == 422
    await deliver_event(service, UserDeleted(user_id=user_id))
    async with service.deps.db.read_only() as tx:
        assert await tx.fetch_all(select(AUDIO_RETENTION)) == []
    assert (await client.put(PATH, json={"audio": "keep"})).status_code == 401


@pytest.mark.parametrize("is_chosen_late", [False, True], ids=["before", "after"])
async def test_audio_is_deleted_once_feedback_and_transcript_exist(
    service: Service,
    client: httpx.AsyncClient,
    clock: FakeClock,
    user_id: UUID,
    sessions: Any,
    is_chosen_late: bool,
) -> None:
    session_id = new_id()
    sessions.owned.add(session_id)
    if not is_chosen_late:
        await client.put(PATH, json={"audio": "after_feedback"})
    upload_id, key = await _confirm(client, session_id=str(session_id))
    without_session = await _confirm(client)

    await deliver_event(service, _session_feedback(session_id, user_id, "failed"))
    failed = await _has_audio(service, client, upload_id, key)
    await deliver_event(service, _session_feedback(session_id, user_id, "ready"))
    if is_chosen_late:
        assert await _has_audio(service, client, upload_id, key) is True
        await client.put(PATH, json={"audio": "after_feedback"})
    # The session was scored without this recording, which is still being transcribed.
    untranscribed = await _has_audio(service, client, upload_id, key)
    transcript = TranscriptionCompleted(
        upload_id=UUID(upload_id), user_id=user_id, key=key, session_id=session_id, text="Yes.",
        language="en", duration_seconds=1, provider="p", model="m",
    )  # fmt: skip
    await deliver_event(service, transcript)
    clock.advance(61)

    assert (failed, untranscribed) == (True, True)
    assert await _has_audio(service, client, upload_id, key) is False
    assert (await client.get(f"/upload/{upload_id}")).json()["transcript"] == "Yes."
    assert await _has_audio(service, client, *without_session) is True
    clock.advance(timedelta(days=31).total_seconds())
    assert await _has_audio(service, client, *without_session) is False


async def test_default_of_the_operator_applies_without_a_choice(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    with_default = replace(service.deps, default_retention=AudioRetention.DAYS_30)
    get_app_state(service.app).deps = with_default
    by_default = await _confirm(client)
    clock.advance(timedelta(days=31).total_seconds())

    assert await _has_audio(service, client, *by_default) is False
    by_operator = {"audio": "30_days", "is_default": True, "effective": "30_days"}
    assert (await client.get(PATH)).json() == by_operator


async def _decide_storage(
    service: Service, user_id: UUID, *, is_given: bool, is_repeated: bool = False
) -> None:
    decision = ConsentChanged(
        user_id=user_id,
        purpose="storage",
        is_given=is_given,
        version="2026-11",
        changed_at=service.deps.clock(),
        is_repeated=is_repeated,
    )
    await deliver_event(service, decision)


async def _rule(client: httpx.AsyncClient) -> tuple[str, str]:
    found = (await client.get(PATH)).json()
    return found["audio"], found["effective"]


async def test_refused_storage_keeps_audio_until_feedback_and_consent_restores_the_choice(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, user_id: UUID, sessions: Any
) -> None:
    first, second, third = new_id(), new_id(), new_id()
    sessions.owned |= {first, second, third}
    with_feedback = await _confirm(client, session_id=str(first))
    await deliver_event(service, _transcript(*with_feedback, user_id))
    await deliver_event(service, _session_feedback(first, user_id, "ready"))
    kept = await _has_audio(service, client, *with_feedback)
    await _decide_storage(service, user_id, is_given=False)
    rules = [await _rule(client)]
    await client.put(PATH, json={"audio": "90_days"})
    rules.append(await _rule(client))
    after_refusal = await _has_audio(service, client, *with_feedback)
    waiting = await _confirm(client, session_id=str(second))
    await deliver_event(service, _transcript(*waiting, user_id))
    before_feedback = await _has_audio(service, client, *waiting)
    clock.advance(1)
    await _decide_storage(service, user_id, is_given=True)
    rules.append(await _rule(client))
    await deliver_event(service, _session_feedback(second, user_id, "ready"))
    after_consent = await _has_audio(service, client, *waiting)
    clock.advance(timedelta(days=91).total_seconds())

    assert rules == [("keep", "after_feedback"), ("90_days", "after_feedback"), ("90_days",) * 2]
    assert (kept, after_refusal, before_feedback, after_consent) == (True, False, True, True)
    assert await _has_audio(service, client, *waiting) is False


async def test_late_and_repeated_decisions_about_storage_keep_the_latest(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, user_id: UUID
) -> None:
    def repairs() -> float:
        labels = {"service": "media", "effect": "consent"}
        return REGISTRY.get_sample_value("coach_repairs_total", labels) or 0

    before = repairs()
    await _decide_storage(service, user_id, is_given=False, is_repeated=True)
    await _decide_storage(service, user_id, is_given=False, is_repeated=True)
    clock.advance(-60)
    await _decide_storage(service, user_id, is_given=True)

    assert await _rule(client) == ("keep", "after_feedback")
    assert repairs() == before + 1
    await deliver_event(service, UserDeleted(user_id=user_id))
    clock.advance(120)
    await _decide_storage(service, user_id, is_given=False)
    async with service.deps.db.read_only() as tx:
        assert await tx.fetch_all(select(STORAGE_CONSENTS)) == []
        assert await tx.fetch_all(select(UPLOADERS)) == []


def _transcript(upload_id: str, key: str, user_id: UUID) -> TranscriptionCompleted:
    return TranscriptionCompleted(
        upload_id=UUID(upload_id), user_id=user_id, key=key, text="Yes.", language="en",
        duration_seconds=1, provider="p", model="m",
    )  # fmt: skip


async def test_consent_without_a_refusal_leaves_earlier_recordings_as_they_were(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, user_id: UUID
) -> None:
    earlier = await _confirm(client)
    with_default = replace(service.deps, default_retention=AudioRetention.DAYS_30)
    get_app_state(service.app).deps = with_default
    await _decide_storage(service, user_id, is_given=True)
    clock.advance(timedelta(days=31).total_seconds())

    assert await _has_audio(service, client, *earlier) is True


async def test_audio_waits_two_days_at_most_for_its_transcription(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, user_id: UUID, sessions: Any
) -> None:
    session_id = new_id()
    sessions.owned.add(session_id)
    await client.put(PATH, json={"audio": "after_feedback"})
    untranscribed = await _confirm(client, session_id=str(session_id))
    await deliver_event(service, _session_feedback(session_id, user_id, "ready"))
    clock.advance(timedelta(hours=47).total_seconds())
    waiting = await _has_audio(service, client, *untranscribed)
    clock.advance(timedelta(hours=2).total_seconds())

    assert waiting is True
    assert await _has_audio(service, client, *untranscribed) is False


async def test_due_audio_is_deleted_in_batches_oldest_first(
    service: Service, clock: FakeClock, user_id: UUID
) -> None:
    now, stranger, count = clock(), new_id(), 120
    async with service.deps.db.transaction() as tx:
        for number in range(count + 1):
            owner = user_id if number < count else stranger
            await tx.execute(
                insert(UPLOADS).values(
                    id=new_id(), user_id=owner, key=f"uploads/{owner}/{number}.m4a",
                    content_type="audio/m4a", max_bytes=9, status="transcribed", created_at=now,
                    url_expires_at=now, confirmed_at=now,
                    # Of all due recordings, those of the stranger wait longest.
                    audio_delete_at=now - timedelta(seconds=1 if owner == user_id else 2),
                )
            )  # fmt: skip

    async def left(owner: UUID) -> int:
        async with service.deps.db.read_only() as tx:
            has_audio = UPLOADS.c.audio_deleted_at.is_(None)
            rows = await tx.fetch_all(
                select(UPLOADS.c.id).where(UPLOADS.c.user_id == owner, has_audio)
            )
        return len(rows)

    batches = []
    for _ in range(4):
        batches.append((await retention.delete_due_audio(service.deps), await left(user_id)))
        assert await left(stranger) == 0

    assert batches == [(50, 71), (50, 21), (21, 0), (0, 0)]
