"""The repair sweep of sessions: which sessions are stalled, and when."""

from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from coach_common.db.database import Database
from coach_common.db.migrate import upgrade
from coach_common.events.catalog import SessionDeleted, SessionStalled, UploadConfirmed, UserDeleted
from coach_common.events.deletions import DeletionCompleted
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock
from coach_common.testing.harness import deliver_event, emitted_events
from coach_sessions.repair import publish_stalled_sessions


async def _create(client: httpx.AsyncClient) -> str:
    created = await client.post("/sessions", json={"title": "T", "question": "Q?"})
    return str(created.json()["id"])


async def _stalled(service: Service) -> list[SessionStalled]:
    await publish_stalled_sessions(service.deps)
    return await emitted_events(service.database, SessionStalled)


async def test_waiting_session_is_stalled_after_a_minute_then_with_backoff(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    session_id = await _create(client)
    await client.post(f"/sessions/{session_id}/complete")
    counts = []
    for seconds in (0, 59, 2, 30, 31, 60, 62):
        clock.advance(seconds)
        counts.append(len(await _stalled(service)))

    assert counts == [0, 0, 1, 1, 2, 2, 3]
    (first, *_) = await _stalled(service)
    assert (str(first.session_id), first.status) == (session_id, "waiting_for_recording")


async def test_session_is_stalled_although_its_clock_was_a_day_ahead(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    clock.advance(86_400)
    session_id = await _create(client)
    await client.post(f"/sessions/{session_id}/complete")
    clock.advance(-86_400)

    assert [str(one.session_id) for one in await _stalled(service)] == [session_id]


async def test_session_that_waits_for_nothing_is_not_stalled(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    await _create(client)
    deleted = await _create(client)
    await client.post(f"/sessions/{deleted}/complete")
    await client.delete(f"/sessions/{deleted}")
    clock.advance(3600)

    assert await _stalled(service) == []


async def test_stalled_session_names_the_key_that_it_requested(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, user_id: UUID
) -> None:
    session_id = await _create(client)
    key = f"uploads/{user_id}/1764000000000_00000001.m4a"
    await client.post(f"/sessions/{session_id}/complete", json={"audio_s3_key": key})
    clock.advance(61)

    (stalled,) = await _stalled(service)

    assert (stalled.requested_key, stalled.audio_s3_key) == (key, None)


@pytest.mark.parametrize("has_original", [True, False])
async def test_repeated_confirmation_links_the_recording_once(
    service: Service, client: httpx.AsyncClient, user_id: UUID, has_original: bool
) -> None:
    session_id = await _create(client)
    confirmed = UploadConfirmed(
        upload_id=new_id(), user_id=user_id, key=f"uploads/{user_id}/1764000000000_00000001.m4a",
        content_type="audio/m4a", size=9, etag="e", session_id=UUID(session_id),
    )  # fmt: skip
    if has_original:
        await deliver_event(service, confirmed)

    await deliver_event(service, confirmed.model_copy(update={"is_repeated": True}))

    session = (await client.get(f"/sessions/{session_id}")).json()
    assert session["audio_s3_key"] == confirmed.key


async def test_due_sessions_are_found_with_an_index(service: Service) -> None:
    if not service.database.is_sqlite:
        pytest.skip("the plan of an empty table says nothing in MariaDB")
    async with service.database.read_only() as tx:
        plan = await tx.fetch_all(
            text(
                "EXPLAIN QUERY PLAN SELECT id FROM sessions"
                " WHERE repair_after <= '2026-11-24' ORDER BY repair_after LIMIT 100"
            )
        )

    assert any("ix_sessions_repair_after" in row["detail"] for row in plan)


async def test_migration_schedules_sessions_that_wait_already(database_url: str) -> None:
    database = Database(database_url, source="sessions")
    await upgrade(database, "coach_sessions", revision="2026_11_26_requested_key")
    insert = text(
        "INSERT INTO sessions (id, user_id, title, status, created_at, updated_at, completed_at,"
        " published_fingerprints) VALUES (:id, :id, 'T', :status, '2026-11-24 12:00:00',"
        " '2026-11-24 12:00:00', '2026-11-24 12:00:00', '{}')"
    )
    async with database.engine.begin() as connection:
        for number, status in enumerate(("ready", "transcribing")):
            await connection.execute(insert, {"id": bytes([number] * 16), "status": status})

    await upgrade(database, "coach_sessions")

    async with database.engine.begin() as connection:
        due = await connection.execute(
            text("SELECT status FROM sessions WHERE repair_after IS NOT NULL")
        )
        assert due.scalars().all() == ["transcribing"]
    await database.close()


async def test_deletion_is_published_once_when_it_is_due_until_it_is_confirmed(
    service: Service, client: httpx.AsyncClient, user_id: UUID, clock: FakeClock
) -> None:
    session_id = await _create(client)
    deleted = await client.delete(f"/sessions/{session_id}")
    receipt_id = UUID(deleted.headers["location"].removeprefix("/privacy/receipts/"))
    deletions = service.deps.deletions
    due = []
    await deliver_event(service, UserDeleted(user_id=user_id))
    for days in (0.5, 11, 0.5, 30):
        clock.advance(days * 86_400)
        due.append((await deletions.republish_due(), await deletions.republish_due()))
    await deliver_event(service, DeletionCompleted(receipt_id=receipt_id))
    clock.advance(86_400)

    assert due == [(1, 0), (1, 0), (0, 0), (1, 0)]
    assert await deletions.republish_due() == 0
    published = await emitted_events(service.database, SessionDeleted)
    # The deletion of the account has deleted the first event, which was not published yet.
    assert [(one.receipt_id, one.is_repeated) for one in published] == [(receipt_id, True)] * 3
