"""Recordings of interviews: their link, the retention of their audio, and their deletion."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from coach_common.errors import NotFound
from coach_common.events.base import Event
from coach_common.events.catalog import SessionDeleted, TranscriptionCompleted
from coach_common.events.deletions import MediaConfirmedDeletion
from coach_common.events.interviews import (
    InterviewAssessed,
    InterviewDeleted,
    InterviewRecordingLinked,
)
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.session_kind import SessionKind
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event, emitted_events, http_client
from coach_media import deletions, retention

M4A = b"\0\0\0\x20ftypM4A " + bytes(100)
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


class InterviewEvents:
    """Builds the events about one interview of a user."""

    def __init__(self, user_id: UUID) -> None:
        self.user_id, self.interview_id, self.receipt_id = user_id, new_id(), uuid4()

    @property
    def _base(self) -> dict[str, Any]:
        return {
            "interview_id": self.interview_id,
            "user_id": self.user_id,
            "title": "Mock",
            "interview_type": "case",
            "created_at": AT,
        }

    def linked(self, key: str) -> InterviewRecordingLinked:
        return InterviewRecordingLinked(**self._base, key=key)

    def assessed(self, *keys: str) -> InterviewAssessed:
        scores = dict.fromkeys(("overall", "communication", "technical", "clarity"), 70)
        return InterviewAssessed(
            **self._base,
            **{f"{name}_score": score for name, score in scores.items()},
            completed_at=AT,
            assessed_at=AT,
            question_count=1,
            keys=list(keys),
        )

    def deleted(self, *keys: str, is_repeated: bool = False) -> InterviewDeleted:
        return InterviewDeleted(
            interview_id=self.interview_id,
            user_id=self.user_id,
            keys=list(keys),
            receipt_id=self.receipt_id,
            deleted_at=AT,
            is_repeated=is_repeated,
        )


@pytest.fixture
def interview(user_id: UUID) -> InterviewEvents:
    return InterviewEvents(user_id)


async def _upload(client: httpx.AsyncClient, **changed: Any) -> str:
    body = {"content_type": "audio/m4a", "extension": "m4a"} | changed
    presigned = (await client.post("/upload/s3-presign", json=body)).json()
    async with http_client() as store:
        await store.put(presigned["url"], content=M4A, headers=presigned["headers"])
    return str(presigned["key"])


async def _confirm(client: httpx.AsyncClient, key: str, **body: Any) -> dict[str, Any]:
    response = await client.post("/upload/confirm", json={"key": key, **body})
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


async def _deliver(service: Service, *events: Event) -> None:
    for event in events:
        assert (await deliver_event(service, event)).outcome.value == "done"
    await deletions.delete_objects(service.deps)


async def _has_object(service: Service, key: str) -> bool:
    try:
        await service.deps.object_store.head(key)
    except NotFound:
        return False
    return True


async def _confirmed(service: Service) -> list[UUID]:
    events = await emitted_events(service.database, MediaConfirmedDeletion)
    return [one.receipt_id for one in events]


async def test_recordings_go_with_their_interview_and_nothing_else_does(
    service: Service,
    client: httpx.AsyncClient,
    interview: InterviewEvents,
    sessions: Any,
    issuer: TokenIssuer,
    clock: FakeClock,
) -> None:
    practice, stranger = new_id(), InterviewEvents(new_id())
    sessions.owned.add(practice)
    keys = {}
    for name in ("linked", "named", "practice", "free"):
        keys[name] = await _upload(client)
        await _confirm(
            client, keys[name], **({"session_id": str(practice)} if name == "practice" else {})
        )
    async with client_for(service, headers=issuer.bearer(stranger.user_id)) as other:
        keys["foreign"] = await _upload(other)
        await _confirm(other, keys["foreign"])
    # The link of `named` is lost, and `practice` belongs to another session.
    await _deliver(
        service,
        *(interview.linked(keys[name]) for name in ("linked", "practice", "foreign")),
    )
    of_sessions = SessionDeleted(
        session_id=interview.interview_id,
        user_id=interview.user_id,
        receipt_id=interview.receipt_id,
        kind=SessionKind.INTERVIEW.value,
    )
    await _deliver(service, of_sessions)
    assert await _confirmed(service) == []
    assert await _has_object(service, keys["linked"])

    deletion = interview.deleted(keys["named"], keys["practice"], keys["foreign"])
    await _deliver(service, deletion)

    kept = [name for name in keys if await _has_object(service, keys[name])]
    assert kept == ["practice", "free", "foreign"]
    assert await _confirmed(service) == []
    clock.advance(1000)
    await deletions.delete_objects(service.deps)
    assert await _confirmed(service) == [interview.receipt_id]
    await _deliver(service, deletion.model_copy(update={"is_repeated": True}))
    assert await _confirmed(service) == [interview.receipt_id] * 2


async def test_late_link_and_late_upload_do_not_outlive_the_interview(
    service: Service, client: httpx.AsyncClient, interview: InterviewEvents, sessions: Any
) -> None:
    sessions.owned.add(interview.interview_id)
    late_link, pending = await _upload(client), await _upload(client)
    confirmed = await _confirm(client, late_link)
    await _deliver(service, interview.linked(pending))
    await _deliver(service, interview.deleted(), interview.linked(late_link))
    late_confirm = await client.post("/upload/confirm", json={"key": pending})
    body = {"content_type": "audio/m4a", "extension": "m4a"}
    late_presign = await client.post(
        "/upload/s3-presign", json=body | {"session_id": str(interview.interview_id)}
    )

    assert (await client.get(f"/upload/{confirmed['upload_id']}")).status_code == 404
    assert (late_confirm.status_code, late_presign.status_code) == (404, 404)
    assert not await _has_object(service, late_link)
    assert not await _has_object(service, pending)


@pytest.mark.parametrize("is_linked", [True, False])
async def test_audio_goes_after_the_assessment_if_the_user_has_chosen_so(
    service: Service,
    client: httpx.AsyncClient,
    interview: InterviewEvents,
    clock: FakeClock,
    is_linked: bool,
) -> None:
    await client.put("/upload/retention", json={"audio": "after_feedback"})
    key = await _upload(client)
    upload_id = (await _confirm(client, key))["upload_id"]
    transcribed = TranscriptionCompleted(
        upload_id=upload_id,
        user_id=interview.user_id,
        key=key,
        text="I fixed it.",
        language="en",
        duration_seconds=1.0,
        provider="local",
        model="base",
    )
    await _deliver(service, transcribed)
    if is_linked:
        await _deliver(service, interview.linked(key))
    clock.advance(60)
    await retention.delete_due_audio(service.deps)
    before = (await client.get(f"/upload/{upload_id}")).json()
    await _deliver(service, interview.assessed(key))
    clock.advance(60)
    await retention.delete_due_audio(service.deps)
    after = (await client.get(f"/upload/{upload_id}")).json()

    assert (before["audio_deleted"], after["audio_deleted"]) == (False, True)
