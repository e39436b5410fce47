"""Uploads from presign to removal, against a real object store."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from coach_common.db.migrate import differences
from coach_common.errors import NotFound
from coach_common.events.catalog import (
    SessionDeleted,
    TranscriptionCompleted,
    TranscriptionFailed,
    UploadConfirmed,
    UploadLinked,
    UserDeleted,
)
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver, published
from coach_media import use_cases
from coach_media.deps import Deps
from coach_media.tables import METADATA, REMOVALS

M4A = b"\0\0\0\x20ftypM4A " + bytes(100)


def _deps(service: Service) -> Deps:
    return service.app.state.deps  # type: ignore[attr-defined, no-any-return]


async def _presign(client: httpx.AsyncClient, **changed: Any) -> httpx.Response:
    body = {"content_type": "audio/m4a", "extension": "m4a"} | changed
    return await client.post("/upload/s3-presign", json=body)


async def _uploaded(client: httpx.AsyncClient, body: bytes = M4A, **changed: Any) -> str:
    place = (await _presign(client, **changed)).json()
    async with httpx.AsyncClient() as phone:
        answer = await phone.put(place["url"], content=body, headers=place["headers"])
    assert answer.status_code == 200
    return str(place["key"])


async def _confirm(client: httpx.AsyncClient, key: str, **body: Any) -> httpx.Response:
    return await client.post("/upload/confirm", json={"key": key, "uploaded_at": 1, **body})


async def _is_stored(service: Service, key: str) -> bool:
    try:
        await _deps(service).objects.stat(key)
    except NotFound:
        return False
    return True


async def test_the_migrations_make_the_tables_the_code_declares(service: Service) -> None:
    assert service.database is not None
    assert await differences(service.database, "coach_media", METADATA) == []


async def test_a_confirmed_upload_is_announced_with_what_is_really_there(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    key = await _uploaded(client, size=len(M4A))

    first = await _confirm(client, key)
    second = await _confirm(client, key)

    assert first.status_code == 200
    assert first.json() == second.json()
    assert first.json()["size"] == len(M4A)
    (event,) = await published(service.database, UploadConfirmed)
    stored = await _deps(service).objects.stat(key)
    assert (event.user_id, event.key, event.size, event.etag) == (
        user_id,
        key,
        len(M4A),
        stored.etag,
    )
    shown = (await client.get(f"/upload/{first.json()['upload_id']}")).json()
    assert shown["status"] == "confirmed"


async def test_a_hundred_confirms_and_the_sweep_announce_once(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    key = await _uploaded(client)
    clock.advance(30)

    answers = await asyncio.gather(
        use_cases.sweep(_deps(service)), *(_confirm(client, key) for _ in range(100))
    )

    assert {answer.text for answer in answers[1:]} == {answers[1].text}
    assert len(await published(service.database, UploadConfirmed)) == 1


async def test_what_arrived_without_a_confirm_is_found(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    key = await _uploaded(client)

    assert await use_cases.sweep(_deps(service)) == 0
    clock.advance(30)
    await use_cases.sweep(_deps(service))

    (event,) = await published(service.database, UploadConfirmed)
    assert event.key == key


async def test_what_never_came_is_looked_for_and_then_expires(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    place = (await _presign(client)).json()
    looks = 0
    for _ in range(200):
        clock.advance(600)
        looks += await use_cases.sweep(_deps(service))

    assert 10 < looks < 60
    assert (await _confirm(client, place["key"])).status_code == 404
    assert await published(service.database, UploadConfirmed) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>hello</html>", 415), (b"", 415), (b"MZ" + bytes(50), 415), (M4A * 20, 413)],
)
async def test_what_is_not_what_it_said_is_rejected_and_removed(
    service: Service, client: httpx.AsyncClient, body: bytes, status: int
) -> None:
    key = await _uploaded(client, body)

    refused = await _confirm(client, key)
    again = await _confirm(client, key)
    await use_cases.remove_objects(_deps(service))

    assert refused.status_code == status
    assert again.status_code in (413, 415)
    assert not await _is_stored(service, key)
    assert await published(service.database, UploadConfirmed) == []


async def test_a_confirm_before_the_object_is_there_can_be_repeated(
    client: httpx.AsyncClient,
) -> None:
    place = (await _presign(client)).json()

    early = await _confirm(client, place["key"])
    async with httpx.AsyncClient() as phone:
        await phone.put(place["url"], content=M4A, headers=place["headers"])
    late = await _confirm(client, place["key"])

    assert (early.status_code, late.status_code) == (404, 200)


async def test_a_session_named_later_links_once_and_for_good(
    service: Service, client: httpx.AsyncClient, sessions: Any
) -> None:
    one, two = new_id(), new_id()
    sessions.mine |= {one, two}
    key = await _uploaded(client)

    await _confirm(client, key)
    linked = await _confirm(client, key, session_id=str(one))
    again = await _confirm(client, key, session_id=str(one))
    elsewhere = await _confirm(client, key, session_id=str(two))

    assert [linked.status_code, again.status_code, elsewhere.status_code] == [200, 200, 409]
    (event,) = await published(service.database, UploadLinked)
    assert event.session_id == one


async def test_a_session_named_at_the_confirm_is_in_the_one_event(
    service: Service, client: httpx.AsyncClient, sessions: Any
) -> None:
    one = new_id()
    sessions.mine.add(one)
    key = await _uploaded(client)

    await _confirm(client, key, session_id=str(one))

    (event,) = await published(service.database, UploadConfirmed)
    assert event.session_id == one
    assert await published(service.database, UploadLinked) == []


async def test_somebody_elses_session_cannot_be_named(
    service: Service, client: httpx.AsyncClient, sessions: Any
) -> None:
    key = await _uploaded(client)

    foreign = [
        await _presign(client, session_id=str(new_id())),
        await _presign(client, session_id="nonsense"),
        await _confirm(client, key, session_id=str(new_id())),
    ]
    sessions.is_away = True
    away = await _presign(client, session_id=str(new_id()))

    assert {answer.status_code for answer in foreign} == {404}
    assert away.status_code == 503
    assert away.headers["retry-after"]
    assert await published(service.database, UploadConfirmed) == []


async def test_somebody_elses_recording_looks_like_none_at_all(
    service: Service, client: httpx.AsyncClient, issuer: TokenIssuer
) -> None:
    key = await _uploaded(client)
    upload_id = (await _confirm(client, key)).json()["upload_id"]
    async with client_for(service, headers=issuer.bearer(new_id())) as bob:
        answers = [
            await bob.get(f"/upload/{upload_id}"),
            await bob.get(f"/upload/{upload_id}/url"),
            await _confirm(bob, key),
            await bob.get(f"/upload/{new_id()}"),
            await bob.get("/upload/nonsense"),
        ]

    assert {(answer.status_code, answer.json()["detail"]) for answer in answers} == {
        (404, "Recording not found")
    }


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"size": 1001}, 413),
        ({"size": 0}, 422),
        ({"size": -1}, 422),
        ({"size": 2**63}, 422),
        ({"size": 1.5}, 422),
        ({"size": "5"}, 422),
        ({"size": True}, 422),
        ({"content_type": "text/html"}, 415),
        ({"extension": "wav"}, 422),
        ({"extension": "m4a/../../x"}, 422),
        ({"extension": "m4a\n"}, 422),
        ({"extension": "M4A"}, 422),
    ],
)
async def test_an_announcement_that_cannot_be_is_refused_by_name(
    client: httpx.AsyncClient, changed: dict[str, Any], status: int
) -> None:
    answer = await _presign(client, **changed)

    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


async def test_too_many_pending_uploads_are_refused(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await _presign(client)).status_code == 200

    answer = await _presign(client)

    assert answer.status_code == 429
    assert answer.headers["retry-after"]


async def test_the_url_carries_the_private_host_the_phone_used(client: httpx.AsyncClient) -> None:
    body = {"content_type": "audio/m4a", "extension": "m4a"}
    for host, shown in (("10.0.2.2", "http://10.0.2.2:"), ("evil.example", "http://localhost:")):
        answer = await client.post(
            "/upload/s3-presign", json=body, headers={"x-coach-public-host": host}
        )
        assert answer.json()["url"].startswith(shown)


async def test_a_recording_plays_back(client: httpx.AsyncClient) -> None:
    key = await _uploaded(client)
    upload_id = (await _confirm(client, key)).json()["upload_id"]

    place = (await client.get(f"/upload/{upload_id}/url")).json()

    async with httpx.AsyncClient() as phone:
        assert (await phone.get(place["url"])).content == M4A


async def test_a_success_beats_a_failure_whatever_arrives_first(
    service: Service, client: httpx.AsyncClient, user_id: UUID
) -> None:
    key = await _uploaded(client)
    upload_id = (await _confirm(client, key)).json()["upload_id"]
    about = {"upload_id": UUID(upload_id), "user_id": user_id, "key": key}

    async def status() -> str:
        return str((await client.get(f"/upload/{upload_id}")).json()["status"])

    await deliver(service, TranscriptionFailed(**about, reason="Away.", retryable=True))
    assert await status() == "transcribing"
    await deliver(
        service,
        TranscriptionCompleted(
            **about, text="Hello.", language="en", duration_seconds=1, provider="p", model="m"
        ),
    )
    await deliver(service, TranscriptionFailed(**about, reason="No.", retryable=False))

    assert await status() == "transcribed"
    assert (await client.get(f"/upload/{upload_id}")).json()["transcript"] == "Hello."


@pytest.mark.parametrize("by", ["session", "key", "person"])
async def test_what_is_deleted_is_removed_now_and_again_after_its_url_expired(
    service: Service,
    client: httpx.AsyncClient,
    user_id: UUID,
    sessions: Any,
    clock: FakeClock,
    by: str,
) -> None:
    session_id = new_id()
    sessions.mine.add(session_id)
    key = await _uploaded(client)
    await _confirm(client, key, **({"session_id": str(session_id)} if by == "session" else {}))
    gone = {
        "session": SessionDeleted(session_id=session_id, user_id=user_id),
        "key": SessionDeleted(session_id=session_id, user_id=user_id, keys=[key]),
        "person": UserDeleted(user_id=user_id),
    }[by]

    await deliver(service, gone)
    await use_cases.remove_objects(_deps(service))

    assert not await _is_stored(service, key)
    await _deps(service).objects.put(key, M4A, content_type="audio/m4a")
    clock.advance(1000)
    await use_cases.remove_objects(_deps(service))
    assert not await _is_stored(service, key)
    async with _deps(service).db.read() as tx:
        assert await tx.rows(select(REMOVALS)) == []
