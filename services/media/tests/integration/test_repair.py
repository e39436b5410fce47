"""The repair sweep of media: which uploads are published again, and when."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from coach_common.events.catalog import SessionStalled, TranscriptionCompleted, UploadConfirmed
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock
from coach_common.testing.harness import deliver_event, emitted_events, http_client
from coach_media.repair import republish_untranscribed_uploads

M4A = b"\0\0\0\x20ftypM4A " + bytes(100)


async def _confirm(client: httpx.AsyncClient, **session: object) -> dict[str, Any]:
    body = {"content_type": "audio/m4a", "extension": "m4a"}
    presigned = (await client.post("/upload/s3-presign", json=body | session)).json()
    async with http_client() as store:
        await store.put(presigned["url"], content=M4A, headers=presigned["headers"])
    confirmed = await client.post("/upload/confirm", json={"key": presigned["key"]})
    return confirmed.json()  # type: ignore[no-any-return]


async def _repeated(service: Service) -> list[UploadConfirmed]:
    published = await emitted_events(service.database, UploadConfirmed)
    return [event for event in published if event.is_repeated]


async def test_upload_without_transcript_is_published_again_with_backoff(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    await _confirm(client)
    counts = []
    for seconds in (0, 59, 2, 30, 31, 60, 62):
        clock.advance(seconds)
        await republish_untranscribed_uploads(service.deps)
        counts.append(len(await _repeated(service)))

    assert counts == [0, 0, 1, 1, 2, 2, 3]


async def test_upload_is_published_again_although_its_clock_was_a_day_ahead(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    await _confirm(client)
    clock.advance(61)
    await republish_untranscribed_uploads(service.deps)
    clock.advance(86_400)
    await republish_untranscribed_uploads(service.deps)
    clock.advance(-86_400)

    await republish_untranscribed_uploads(service.deps)

    assert len(await _repeated(service)) == 3


async def test_transcribed_upload_is_not_published_again(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, user_id: UUID
) -> None:
    upload = await _confirm(client)
    (confirmed,) = await emitted_events(service.database, UploadConfirmed)
    await deliver_event(
        service,
        TranscriptionCompleted(
            upload_id=UUID(upload["upload_id"]), user_id=user_id, key=confirmed.key, text="words",
            language="en", duration_seconds=3.0, provider="local", model="base",
        ),
    )  # fmt: skip
    clock.advance(3600)

    await republish_untranscribed_uploads(service.deps)

    assert await _repeated(service) == []


@pytest.mark.parametrize(
    ("status", "published"),
    [("waiting_for_recording", 1), ("transcribing", 1), ("scoring", 0)],
)
async def test_stalled_session_gets_its_uploads_again(
    service: Service,
    client: httpx.AsyncClient,
    clock: FakeClock,
    user_id: UUID,
    status: str,
    published: int,
) -> None:
    await _confirm(client)
    (confirmed,) = await emitted_events(service.database, UploadConfirmed)
    clock.advance(20)

    for key in (confirmed.key, "another key"):
        await deliver_event(
            service,
            SessionStalled(
                session_id=new_id(), user_id=user_id, title="T", question=None,
                duration_seconds=None, status=status, requested_key=key,
            ),
        )  # fmt: skip

    assert [event.key for event in await _repeated(service)] == [confirmed.key] * published


async def test_fresh_confirmation_is_not_published_again(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    await _confirm(client)
    (confirmed,) = await emitted_events(service.database, UploadConfirmed)

    await deliver_event(
        service,
        SessionStalled(
            session_id=new_id(), user_id=user_id, title="T", question=None, duration_seconds=None,
            status="waiting_for_recording", requested_key=confirmed.key,
        ),
    )  # fmt: skip

    assert await _repeated(service) == []
