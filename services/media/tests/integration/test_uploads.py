"""Uploads from presign to deletion, with a real object store."""

import asyncio
from dataclasses import replace
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from coach_common.db.migrate import schema_differences
from coach_common.errors import Conflict, NotFound
from coach_common.events.catalog import (
    SessionDeleted,
    TranscriptionCompleted,
    TranscriptionFailed,
    TranscriptionProgressed,
    UploadConfirmed,
    UploadLinked,
    UserDeleted,
)
from coach_common.events.deletions import MediaConfirmedDeletion
from coach_common.http.dependencies import get_app_state, set_app_state
from coach_common.ids import new_id
from coach_common.recordings import MAX_RECORDING_SECONDS
from coach_common.service import Service
from coach_common.storage import ObjectRejected
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event, emitted_events, http_client
from coach_media import deletions, repair, use_cases
from coach_media.deps import Deps
from coach_media.domain import MAX_UPLOADS_PER_SESSION
from coach_media.tables import METADATA, OBJECT_DELETIONS

M4A = b"\0\0\0\x20ftypM4A " + bytes(100)


def _deps(service: Service) -> Deps:
    return service.deps


async def _presign(client: httpx.AsyncClient, **changed: Any) -> httpx.Response:
    body = {"content_type": "audio/m4a", "extension": "m4a"} | changed
    return await client.post("/upload/s3-presign", json=body)


async def _upload(client: httpx.AsyncClient, body: bytes = M4A, **changed: Any) -> str:
    presigned = (await _presign(client, **changed)).json()
    response = await _put(presigned, body)
    assert response.status_code == 200
    return str(presigned["key"])


async def _put(presigned: dict[str, Any], body: bytes) -> httpx.Response:
    async with http_client() as client:
        return await client.put(presigned["url"], content=body, headers=presigned["headers"])


async def _confirm(client: httpx.AsyncClient, key: str, **body: Any) -> httpx.Response:
    return await client.post("/upload/confirm", json={"key": key, **body})


async def _object_exists(service: Service, key: str) -> bool:
    try:
        await _deps(service).object_store.head(key)
    except NotFound:
        return False
    return True


async def test_migrations_match_metadata(service: Service) -> None:
    assert service.database is not None
    assert await schema_differences(service.database, "coach_media", METADATA) == []


async def test_presign_states_how_much_of_a_recording_is_transcribed(
    client: httpx.AsyncClient,
) -> None:
    presigned = (await _presign(client)).json()

    assert presigned["max_seconds"] == MAX_RECORDING_SECONDS == 1800


async def test_put_if_absent_never_replaces_an_object(service: Service) -> None:
    store = _deps(service).object_store
    key = "uploads/u/1.wav"
    await store.put_if_absent(key, b"first", content_type="audio/wav")
    await store.put_if_absent(key, b"first", content_type="audio/wav")

    with pytest.raises(Conflict):
        await store.put_if_absent(key, b"second", content_type="audio/wav")
    assert (await store.read_prefix(key, length=10))[0] == b"first"


async def test_put_if_absent_does_not_replace_an_uploaded_object(
    service: Service, client: httpx.AsyncClient
) -> None:
    key = await _upload(client)

    with pytest.raises(Conflict):
        await _deps(service).object_store.put_if_absent(key, b"x", content_type="audio/m4a")
    assert (await _deps(service).object_store.head(key)).size_bytes == len(M4A)


async def test_one_of_concurrent_puts_creates_the_object(service: Service) -> None:
    store = _deps(service).object_store
    bodies = [bytes([number]) * 3_000_000 for number in range(6)]

    outcomes = await asyncio.gather(
        *(
            store.put_if_absent("uploads/u/1.wav", body, content_type="audio/wav")
            for body in bodies
        ),
        return_exceptions=True,
    )

    created = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome is None]
    assert len(created) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 5
    assert (await store.read_prefix("uploads/u/1.wav", length=1))[0] == created[0][:1]


async def test_rejected_put_does_not_break_the_next_one(service: Service) -> None:
    store = _deps(service).object_store
    for number in range(6):
        with pytest.raises(ObjectRejected):
            await store.put_if_absent("uploads/../x.wav", bytes(64_000), content_type="audio/wav")
        await store.put_if_absent(f"uploads/{number}.wav", bytes(64_000), content_type="audio/wav")


async def _check_live(client: httpx.AsyncClient, key: str, **changed: Any) -> httpx.Response:
    body = {"key": key, "content_type": "audio/wav"} | changed
    return await client.post("/internal/uploads/check", json=body)


async def test_live_recording_may_use_a_pending_upload_of_its_type(
    service: Service, client: httpx.AsyncClient, sessions: Any
) -> None:
    session_id = new_id()
    sessions.owned.add(session_id)
    live = {"content_type": "audio/wav", "extension": "wav"}
    key = (await _presign(client, **live, session_id=str(session_id))).json()["key"]

    checked = await _check_live(client, key, session_id=str(session_id))
    of_another = await _check_live(client, key, session_id=str(new_id()))
    of_another_type = await _check_live(client, key, content_type="audio/webm")

    assert (checked.status_code, checked.json()["status"]) == (200, "pending")
    assert (of_another.status_code, of_another.json()["code"]) == (409, "linked_elsewhere")
    assert of_another_type.status_code == 415


async def test_live_recording_learns_that_the_upload_is_confirmed(
    service: Service, client: httpx.AsyncClient
) -> None:
    key = await _upload(client)
    confirmed = (await _confirm(client, key)).json()

    checked = (await _check_live(client, key, content_type="audio/m4a")).json()

    assert checked["status"] == "confirmed"
    names = ("upload_id", "key", "size", "content_type")
    assert {name: checked[name] for name in names} == {name: confirmed[name] for name in names}


async def test_live_recording_may_not_use_other_keys(
    service: Service, client: httpx.AsyncClient, issuer: TokenIssuer, user_id: UUID
) -> None:
    live = {"content_type": "audio/wav", "extension": "wav"}
    sized = (await _presign(client, **live, size=10)).json()["key"]
    async with client_for(service, headers=issuer.bearer(new_id())) as other:
        of_other = (await _presign(other, **live)).json()["key"]

    assert (await _check_live(client, sized)).status_code == 415
    for key in (of_other, f"uploads/{user_id}/1700000000000_deadbeef.wav", "uploads/../x"):
        response = await _check_live(client, key)
        assert (response.status_code, response.json()["code"]) == (404, "recording_not_found")


async def test_confirm_emits_event_with_stored_size_and_etag(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    key = await _upload(client, size=len(M4A))

    first = await _confirm(client, key)
    second = await _confirm(client, key)

    assert first.status_code == 200
    assert first.json() == second.json()
    assert first.json()["size"] == len(M4A)
    (event,) = await emitted_events(service.database, UploadConfirmed)
    stored = await _deps(service).object_store.head(key)
    assert (event.user_id, event.key, event.size, event.etag) == (
        user_id,
        key,
        len(M4A),
        stored.etag,
    )
    upload = (await client.get(f"/upload/{first.json()['upload_id']}")).json()
    assert upload["status"] == "confirmed"


async def test_concurrent_confirms_and_sweep_emit_one_event(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    key = await _upload(client)
    clock.advance(30)

    _, *responses = await asyncio.gather(
        use_cases.sweep_unconfirmed_uploads(_deps(service)),
        *(_confirm(client, key) for _ in range(100)),
    )

    assert {response.text for response in responses} == {responses[0].text}
    assert len(await emitted_events(service.database, UploadConfirmed)) == 1


@pytest.mark.parametrize("seconds", [600, 86_400])
async def test_sweep_confirms_upload_although_its_clock_was_ahead(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, seconds: int
) -> None:
    clock.advance(seconds)
    await _upload(client)
    clock.advance(-seconds)

    assert await use_cases.sweep_unconfirmed_uploads(_deps(service)) == 1


@pytest.mark.parametrize("seconds", [600, 2 * 86_400])
async def test_check_that_was_scheduled_while_the_clock_was_ahead_is_not_delayed(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, seconds: int
) -> None:
    presigned = (await _presign(client)).json()
    clock.advance(seconds)
    assert await use_cases.sweep_unconfirmed_uploads(_deps(service)) == 1
    clock.advance(-seconds)
    await _put(presigned, M4A)

    assert await use_cases.sweep_unconfirmed_uploads(_deps(service)) == 1
    assert len(await emitted_events(service.database, UploadConfirmed)) == 1
    assert await use_cases.sweep_unconfirmed_uploads(_deps(service)) == 0


async def test_recording_that_arrives_after_the_clock_was_set_forward_is_confirmed(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    presigned = (await _presign(client)).json()
    clock.advance(86_400 + 3_600)
    await use_cases.sweep_unconfirmed_uploads(_deps(service))
    await _put(presigned, M4A)
    clock.advance(1_200)
    await use_cases.sweep_unconfirmed_uploads(_deps(service))

    assert len(await emitted_events(service.database, UploadConfirmed)) == 1


async def test_sweep_confirms_unconfirmed_upload(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    key = await _upload(client)

    assert await use_cases.sweep_unconfirmed_uploads(_deps(service)) == 0
    clock.advance(30)
    await use_cases.sweep_unconfirmed_uploads(_deps(service))

    (event,) = await emitted_events(service.database, UploadConfirmed)
    assert event.key == key


async def test_missing_upload_is_checked_with_backoff_then_expires(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    presigned = (await _presign(client)).json()
    checks = 0
    for _ in range(200):
        clock.advance(600)
        checks += await use_cases.sweep_unconfirmed_uploads(_deps(service))

    assert 10 < checks < 60
    assert (await _confirm(client, presigned["key"])).status_code == 404
    assert await emitted_events(service.database, UploadConfirmed) == []


@pytest.mark.parametrize(
    ("body", "changed", "status", "code", "is_kept"),
    [
        (b"<html>hello</html>", {}, 415, "not_what_it_said", True),
        (b"MZ" + bytes(50), {}, 415, "not_what_it_said", True),
        (b"PK\3\4" + bytes(50), {"content_type": "audio/wav", "extension": "wav"}, 415,
         "not_what_it_said", True),
        (b"", {}, 422, "empty_recording", False),
        (M4A * 20, {}, 413, "too_large", False),
    ],
)  # fmt: skip
async def test_repeated_confirm_of_rejected_upload_returns_the_same_error(
    service: Service,
    client: httpx.AsyncClient,
    clock: FakeClock,
    body: bytes,
    changed: dict[str, str],
    status: int,
    code: str,
    is_kept: bool,
) -> None:
    key = await _upload(client, body, **changed)

    rejected = await _confirm(client, key)
    again = await _confirm(client, key)
    await deletions.delete_objects(_deps(service))

    assert (rejected.status_code, rejected.json()["code"]) == (status, code)
    assert again.status_code == status
    assert {**again.json(), "request_id": ""} == {**rejected.json(), "request_id": ""}
    assert await _object_exists(service, key) is is_kept
    assert await emitted_events(service.database, UploadConfirmed) == []
    clock.advance(25 * 3600)
    await deletions.delete_objects(_deps(service))
    assert not await _object_exists(service, key)


async def test_object_of_another_length_than_declared_is_rejected(
    service: Service, client: httpx.AsyncClient
) -> None:
    presigned = (await _presign(client, size=len(M4A) + 1)).json()
    await _deps(service).object_store.put(presigned["key"], M4A, content_type="audio/m4a")

    responses = [await _confirm(client, presigned["key"]) for _ in range(2)]

    assert [(one.status_code, one.json()["code"]) for one in responses] == [
        (422, "size_mismatch")
    ] * 2


@pytest.mark.parametrize(
    ("declared", "extension", "body", "content_type"),
    [
        ("audio/webm", "webm", M4A, "audio/mp4"),
        ("audio/mpeg", "m4a", M4A, "audio/mp4"),
        ("audio/mp4", "M4A", b"\x1a\x45\xdf\xa3" + bytes(50), "audio/webm"),
        ("audio/3gpp", "3gp", M4A, "audio/3gpp"),
    ],
)
async def test_content_decides_over_the_label(
    service: Service,
    client: httpx.AsyncClient,
    declared: str,
    extension: str,
    body: bytes,
    content_type: str,
) -> None:
    key = await _upload(client, body, content_type=declared, extension=extension)

    confirmed = await _confirm(client, key)

    assert (confirmed.status_code, confirmed.json()["content_type"]) == (200, content_type)
    assert confirmed.json() == (await _confirm(client, key)).json()
    (event,) = await emitted_events(service.database, UploadConfirmed)
    assert event.content_type == content_type


@pytest.mark.parametrize("is_swept_first", [False, True])
async def test_object_that_replaced_a_confirmed_one_is_deleted(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, is_swept_first: bool
) -> None:
    presigned = (await _presign(client)).json()
    await _put(presigned, M4A)
    confirmed = await _confirm(client, presigned["key"])
    if is_swept_first:
        clock.advance(60)
        assert await use_cases.sweep_unconfirmed_uploads(_deps(service)) == 0

    await _put(presigned, M4A + b"another")
    clock.advance(1000)
    await use_cases.sweep_unconfirmed_uploads(_deps(service))
    await deletions.delete_objects(_deps(service))

    assert not await _object_exists(service, presigned["key"])
    assert (await _confirm(client, presigned["key"])).json() == confirmed.json()
    assert await use_cases.sweep_unconfirmed_uploads(_deps(service)) == 0


async def test_confirmed_object_is_kept_after_its_url_has_expired(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    key = await _upload(client)
    await _confirm(client, key)

    clock.advance(1000)
    assert await use_cases.sweep_unconfirmed_uploads(_deps(service)) == 1
    await deletions.delete_objects(_deps(service))

    assert await _object_exists(service, key)
    assert await use_cases.sweep_unconfirmed_uploads(_deps(service)) == 0


async def test_session_takes_a_limited_number_of_uploads(
    service: Service, client: httpx.AsyncClient, sessions: Any, clock: FakeClock
) -> None:
    session_id = new_id()
    sessions.owned.add(session_id)
    for _ in range(MAX_UPLOADS_PER_SESSION):
        key = await _upload(client)
        assert (await _confirm(client, key, session_id=str(session_id))).status_code == 200

    key = await _upload(client)
    refused = [
        await _presign(client, session_id=str(session_id)),
        await _confirm(client, key, session_id=str(session_id)),
    ]

    assert [(one.status_code, one.json()["code"]) for one in refused] == [
        (409, "too_many_recordings")
    ] * 2
    assert (await _confirm(client, key)).status_code == 200


async def test_confirm_can_be_retried_after_upload(client: httpx.AsyncClient) -> None:
    presigned = (await _presign(client)).json()

    early = await _confirm(client, presigned["key"])
    await _put(presigned, M4A)
    late = await _confirm(client, presigned["key"])

    assert (early.status_code, late.status_code) == (404, 200)


async def test_link_is_set_once_and_cannot_change(
    service: Service, client: httpx.AsyncClient, sessions: Any
) -> None:
    one, two = new_id(), new_id()
    sessions.owned |= {one, two}
    key = await _upload(client)

    await _confirm(client, key)
    linked = await _confirm(client, key, session_id=str(one))
    again = await _confirm(client, key, session_id=str(one))
    elsewhere = await _confirm(client, key, session_id=str(two))

    assert [linked.status_code, again.status_code, elsewhere.status_code] == [200, 200, 409]
    (event,) = await emitted_events(service.database, UploadLinked)
    assert event.session_id == one


async def test_session_id_in_confirm_is_part_of_the_event(
    service: Service, client: httpx.AsyncClient, sessions: Any
) -> None:
    one = new_id()
    sessions.owned.add(one)
    key = await _upload(client)

    await _confirm(client, key, session_id=str(one))

    (event,) = await emitted_events(service.database, UploadConfirmed)
    assert event.session_id == one
    assert await emitted_events(service.database, UploadLinked) == []


async def test_other_users_session_cannot_be_linked(
    service: Service, client: httpx.AsyncClient, sessions: Any
) -> None:
    key = await _upload(client)

    foreign = [
        await _presign(client, session_id=str(new_id())),
        await _presign(client, session_id="nonsense"),
        await _confirm(client, key, session_id=str(new_id())),
    ]
    sessions.is_down = True
    unavailable = await _presign(client, session_id=str(new_id()))

    assert {response.status_code for response in foreign} == {404}
    assert unavailable.status_code == 503
    assert unavailable.headers["retry-after"]
    assert await emitted_events(service.database, UploadConfirmed) == []


async def test_other_users_upload_returns_404(
    service: Service, client: httpx.AsyncClient, issuer: TokenIssuer
) -> None:
    key = await _upload(client)
    upload_id = (await _confirm(client, key)).json()["upload_id"]
    async with client_for(service, headers=issuer.bearer(new_id())) as bob:
        responses = [
            await bob.get(f"/upload/{upload_id}"),
            await bob.get(f"/upload/{upload_id}/url"),
            await _confirm(bob, key),
            await bob.get(f"/upload/{new_id()}"),
            await bob.get("/upload/nonsense"),
        ]

    assert {(response.status_code, response.json()["detail"]) for response in responses} == {
        (404, "Recording not found")
    }


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"size": 1001}, 413),
        ({"size": 0}, 422),
        ({"size": -1}, 422),
        ({"size": 2**63}, 422),
        ({"size": 0.4}, 422),
        ({"size": 1000.6}, 413),
        ({"size": "5"}, 422),
        ({"size": True}, 422),
        ({"content_type": "text/html"}, 415),
        ({"extension": "wav"}, 422),
        ({"extension": "m4a/../../x"}, 422),
        ({"extension": "m4a\n"}, 422),
    ],
)
async def test_invalid_presign_request_is_rejected(
    client: httpx.AsyncClient, changed: dict[str, Any], status: int
) -> None:
    response = await _presign(client, **changed)

    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize("size", ["NaN", "Infinity", "-Infinity", "1e400"])
async def test_non_finite_size_is_rejected(client: httpx.AsyncClient, size: str) -> None:
    response = await client.post(
        "/upload/s3-presign",
        content=f'{{"content_type": "audio/m4a", "extension": "m4a", "size": {size}}}',
        headers={"content-type": "application/json"},
    )

    assert response.status_code == 422


@pytest.mark.parametrize("size", [112.0, 111.7, 112.3])
async def test_fractional_size_is_rounded(client: httpx.AsyncClient, size: float) -> None:
    key = await _upload(client, size=size)

    confirmed = await _confirm(client, key)

    assert confirmed.json()["size"] == len(M4A) == 112


@pytest.mark.parametrize("uploaded_at", [1764072000123.45, 1, 0, -5, 1e18, None])
async def test_confirm_ignores_uploaded_at(
    client: httpx.AsyncClient, uploaded_at: float | None
) -> None:
    key = await _upload(client)

    confirmed = await _confirm(client, key, uploaded_at=uploaded_at)

    assert confirmed.status_code == 200


async def test_empty_session_id_means_no_session(client: httpx.AsyncClient) -> None:
    key = await _upload(client, session_id="")

    confirmed = await _confirm(client, key, session_id="")

    assert confirmed.status_code == 200
    upload = (await client.get(f"/upload/{confirmed.json()['upload_id']}")).json()
    assert upload["session_id"] is None


async def test_size_limit_below_one_mebibyte_is_named_in_bytes(client: httpx.AsyncClient) -> None:
    declared = await _presign(client, size=1001)
    stored = await _confirm(client, await _upload(client, M4A * 20))

    assert declared.json()["detail"] == "Recordings may be at most 1000 bytes."
    assert stored.json()["detail"] == "The recording is larger than 1000 bytes."


async def test_pending_upload_limit_holds_under_concurrent_calls(
    client: httpx.AsyncClient,
) -> None:
    responses = await asyncio.gather(*(_presign(client) for _ in range(20)))

    assert sorted(one.status_code for one in responses) == [200] * 3 + [429] * 17


async def test_pending_upload_limit(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await _presign(client)).status_code == 200

    response = await _presign(client)

    assert response.status_code == 429
    assert response.headers["retry-after"]


async def test_presigned_url_uses_private_request_host(client: httpx.AsyncClient) -> None:
    body = {"content_type": "audio/m4a", "extension": "m4a"}
    for host, prefix in (("10.0.2.2", "http://10.0.2.2:"), ("evil.example", "http://localhost:")):
        response = await client.post(
            "/upload/s3-presign", json=body, headers={"x-coach-public-host": host}
        )
        assert response.json()["url"].startswith(prefix)


async def test_presigned_url_has_no_port_if_the_endpoint_has_none(
    service: Service, client: httpx.AsyncClient
) -> None:
    deps = replace(_deps(service), request_host_endpoint="https://storage.test")
    app = cast(FastAPI, service.app)
    set_app_state(app, replace(get_app_state(app), deps=deps))

    response = await client.post(
        "/upload/s3-presign",
        json={"content_type": "audio/m4a", "extension": "m4a"},
        headers={"x-coach-public-host": "10.0.2.2"},
    )

    assert response.json()["url"].startswith("https://10.0.2.2/")


async def test_playback_url_returns_the_recording(client: httpx.AsyncClient) -> None:
    key = await _upload(client)
    upload_id = (await _confirm(client, key)).json()["upload_id"]

    playback = (await client.get(f"/upload/{upload_id}/url")).json()

    async with http_client() as storage:
        assert (await storage.get(playback["url"])).content == M4A


async def test_transcript_takes_precedence_over_failure(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    key = await _upload(client)
    upload_id = (await _confirm(client, key)).json()["upload_id"]
    about = {"upload_id": UUID(upload_id), "user_id": user_id, "key": key}

    async def status() -> str:
        return str((await client.get(f"/upload/{upload_id}")).json()["status"])

    await deliver_event(
        service, TranscriptionFailed(**about, reason="Unavailable.", retryable=True)
    )
    assert await status() == "transcribing"
    await deliver_event(
        service,
        TranscriptionCompleted(
            **about, text="Hello.", language="en", duration_seconds=1, provider="p", model="m"
        ),
    )
    await deliver_event(service, TranscriptionFailed(**about, reason="No.", retryable=False))

    assert await status() == "transcribed"
    assert (await client.get(f"/upload/{upload_id}")).json()["transcript"] == "Hello."


async def test_audio_coverage_and_words_are_returned_after_transcription(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    key = await _upload(client)
    upload_id = (await _confirm(client, key)).json()["upload_id"]
    before = (await client.get(f"/upload/{upload_id}?words=true")).json()
    gap = {"start": 1.5, "end": 2.0, "reason": "damaged"}
    audio = {"duration_seconds": 4.0, "heard_seconds": 3.5, "gaps": [gap]}
    words = [{"text": "Hello.", "start": 0.4, "end": 0.9}]

    await deliver_event(
        service,
        TranscriptionCompleted.model_validate(
            {
                "upload_id": upload_id,
                "user_id": user_id,
                "key": key,
                "text": "Hello.",
                "language": "en",
                "duration_seconds": 4.0,
                "provider": "p",
                "model": "m",
                "audio": audio,
                "words": words,
            }
        ),
    )

    assert (before["audio"], before["words"]) == (None, [])
    without = (await client.get(f"/upload/{upload_id}")).json()
    assert (without["audio"], without["words"]) == (audio, None)
    assert (await client.get(f"/upload/{upload_id}?words=true")).json()["words"] == words


async def test_upload_is_transcribing_once_ai_reports_progress(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    key = await _upload(client)
    upload_id = (await _confirm(client, key)).json()["upload_id"]
    about = {"upload_id": UUID(upload_id), "user_id": user_id, "key": key}
    progressed = TranscriptionProgressed(**about, done_seconds=0.0, duration_seconds=60.0)

    async def status() -> str:
        return str((await client.get(f"/upload/{upload_id}")).json()["status"])

    assert await status() == "confirmed"
    await deliver_event(service, progressed)
    assert await status() == "transcribing"
    await deliver_event(
        service,
        TranscriptionCompleted(
            **about, text="Hello.", language="en", duration_seconds=1, provider="p", model="m"
        ),
    )
    await deliver_event(service, progressed)
    assert await status() == "transcribed"


async def test_failed_upload_is_transcribing_again_after_a_restart(
    service: Service, client: httpx.AsyncClient, user_id: UUID, clock: FakeClock
) -> None:
    key = await _upload(client)
    upload_id = (await _confirm(client, key)).json()["upload_id"]
    about = {"upload_id": UUID(upload_id), "user_id": user_id, "key": key}
    started = TranscriptionProgressed(**about, done_seconds=0, duration_seconds=0)
    restarted = started.model_copy(update={"is_restart": True})
    failed = TranscriptionFailed(**about, reason="No provider.", retryable=False, restartable=True)

    async def upload() -> tuple[str, str | None]:
        body = (await client.get(f"/upload/{upload_id}")).json()
        return body["status"], body["reason"]

    await deliver_event(service, failed)
    await deliver_event(service, started)
    assert await upload() == ("failed", "No provider.")

    await deliver_event(service, restarted)
    assert await upload() == ("transcribing", None)

    # The restart arrived after its failure: the sweep asks ai, which sends the failure again.
    before = len(await emitted_events(service.database, UploadConfirmed))
    clock.advance(86_400)
    await repair.republish_untranscribed_uploads(_deps(service))
    assert len(await emitted_events(service.database, UploadConfirmed)) == before + 1
    await deliver_event(service, failed)
    assert await upload() == ("failed", "No provider.")


@pytest.mark.parametrize("deleted_by", ["session", "key", "user"])
async def test_object_is_deleted_again_after_upload_url_expires(
    service: Service,
    client: httpx.AsyncClient,
    user_id: UUID,
    sessions: Any,
    clock: FakeClock,
    deleted_by: str,
) -> None:
    session_id = new_id()
    sessions.owned.add(session_id)
    key = await _upload(client)
    await _confirm(client, key, session_id=str(session_id) if deleted_by == "session" else None)
    deletion = {
        "session": SessionDeleted(session_id=session_id, user_id=user_id),
        "key": SessionDeleted(session_id=session_id, user_id=user_id, keys=[key]),
        "user": UserDeleted(user_id=user_id),
    }[deleted_by]

    await deliver_event(service, deletion)
    await deletions.delete_objects(_deps(service))

    assert not await _object_exists(service, key)
    await _deps(service).object_store.put(key, M4A, content_type="audio/m4a")
    clock.advance(1000)
    await deletions.delete_objects(_deps(service))
    assert not await _object_exists(service, key)
    async with _deps(service).db.read_only() as tx:
        assert await tx.fetch_all(select(OBJECT_DELETIONS)) == []


async def test_deletions_are_confirmed_when_no_object_can_be_stored_again(
    service: Service, client: httpx.AsyncClient, user_id: UUID, sessions: Any, clock: FakeClock
) -> None:
    session_id, empty, of_session, of_user = new_id(), new_id(), uuid4(), uuid4()
    sessions.owned.add(session_id)
    await _confirm(client, await _upload(client), session_id=str(session_id))
    for _ in range(2):
        await _upload(client, session_id=str(session_id))

    async def confirmed() -> list[UUID]:
        events = await emitted_events(service.database, MediaConfirmedDeletion)
        return [event.receipt_id for event in events]

    without_objects = SessionDeleted(session_id=empty, user_id=new_id(), receipt_id=uuid4())
    await deliver_event(service, without_objects)
    assert await confirmed() == [without_objects.receipt_id]
    deletion = SessionDeleted(session_id=session_id, user_id=user_id, receipt_id=of_session)
    await deliver_event(service, deletion)
    await deletions.delete_objects(_deps(service))
    await deliver_event(service, deletion.model_copy(update={"is_repeated": True}))
    # The account waits for the objects of a session that was deleted before.
    account = UserDeleted(user_id=user_id, receipt_id=of_user)
    await deliver_event(service, account)
    assert len(await confirmed()) == 1

    clock.advance(1000)
    await deletions.delete_objects(_deps(service))
    assert sorted((await confirmed())[1:]) == sorted([of_session, of_user])
    # The confirmation was lost: the repeated deletion is confirmed again.
    await deliver_event(service, account.model_copy(update={"is_repeated": True}))
    assert (await confirmed())[3:] == [of_user]


async def test_session_recording_is_found_as_soon_as_it_is_stored(
    service: Service, client: httpx.AsyncClient, sessions: Any, issuer: TokenIssuer
) -> None:
    session_id, empty = new_id(), new_id()
    sessions.owned |= {session_id, empty}
    path = f"/internal/sessions/{session_id}/recording"
    await _presign(client, session_id=str(empty))
    page = await _upload(client, b"<html></html>", session_id=str(session_id))

    before = (await client.get(path)).json()
    key = await _upload(client, session_id=str(session_id))
    found = [(await client.get(path)).json() for _ in range(2)]

    assert before == {"key": None}
    assert found == [{"key": key}] * 2
    assert (await _confirm(client, page)).status_code == 415
    (event,) = await emitted_events(service.database, UploadConfirmed)
    assert (event.key, event.session_id) == (key, session_id)
    assert (await client.get(f"/internal/sessions/{empty}/recording")).json() == {"key": None}
    async with client_for(service, headers=issuer.bearer(new_id())) as bob:
        assert (await bob.get(path)).json() == {"key": None}
    async with client_for(service) as anonymous:
        assert (await anonymous.get(path)).status_code == 401
