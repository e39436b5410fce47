"""Exports of all data of a user: collected, downloaded, retried, deleted."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from coach_common.events.catalog import SessionDeleted, UserDeleted
from coach_common.events.exports import (
    AiExportPartCollected,
    AuthExportPartCollected,
    ExportCompleted,
    ExportPartCollected,
    ExportRequested,
    SessionsExportPartCollected,
)
from coach_common.ids import new_id
from coach_common.service import Service
from coach_common.testing.fakes import FakeClock, TokenIssuer
from coach_common.testing.harness import client_for, deliver_event, emitted_events, http_client
from coach_media import exports
from coach_media.archive import ArchiveWriter
from coach_media.tables import EXPORT_PARTS, EXPORTS

PATH = "/auth/me/export"
RECORDING = b"\0\0\0\x20ftypM4A " + bytes(range(100))
KINDS: Sequence[type[ExportPartCollected]] = (
    AuthExportPartCollected, SessionsExportPartCollected, AiExportPartCollected,
)  # fmt: skip


async def _record(client: httpx.AsyncClient) -> tuple[str, str]:
    """Upload and confirm a recording. Returns its id and key."""
    wanted = {"content_type": "audio/m4a", "extension": "m4a"}
    presigned = (await client.post("/upload/s3-presign", json=wanted)).json()
    async with http_client() as storage:
        await storage.put(presigned["url"], content=RECORDING, headers=presigned["headers"])
    confirmed = (await client.post("/upload/confirm", json={"key": presigned["key"]})).json()
    return confirmed["upload_id"], confirmed["key"]


async def _collect(service: Service, request: ExportRequested) -> None:
    """Deliver the parts of all services: two of each other service, the last one first."""
    await deliver_event(service, request)
    for kind in KINDS:
        for number in (2, 1):
            part = kind(
                export_id=request.export_id,
                user_id=request.user_id,
                attempt=request.attempt,
                number=number,
                is_last=number == 2,
                table="rows",
                content=json.dumps([{"attempt": request.attempt, "number": number}]),
            )
            await deliver_event(service, part)


async def _rows(service: Service) -> int:
    async with service.deps.db.read_only() as tx:
        return len(await tx.fetch_all(select(EXPORTS))) + len(
            await tx.fetch_all(select(EXPORT_PARTS.c.number))
        )


async def test_archive_has_the_parts_of_all_services_and_the_recordings(
    service: Service,
    client: httpx.AsyncClient,
    user_id: UUID,
    issuer: TokenIssuer,
    clock: FakeClock,
) -> None:
    upload_id, _ = await _record(client)
    lost_id, lost_key = await _record(client)
    await service.deps.object_store.delete(lost_key)
    requested, again = [await client.post(PATH) for _ in range(2)]
    path = requested.headers["location"]
    (request,) = await emitted_events(service.database, ExportRequested)
    pending = await client.get(path)
    await _collect(service, request)
    status = (await client.get(path, headers={"accept": "application/json"})).json()
    downloaded = await client.get(path)
    async with client_for(service, headers=issuer.bearer(new_id())) as other:
        foreign = await other.get(path)

    assert (requested.status_code, again.json()) == (202, requested.json())
    assert (pending.json()["status"], pending.headers["retry-after"]) == ("pending", "5")
    assert status["status"] == "ready"
    assert (foreign.status_code, foreign.json()["code"]) == (404, "export_not_found")
    assert downloaded.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(downloaded.content))
    assert archive.testzip() is None
    assert archive.read(f"recordings/{upload_id}.m4a") == RECORDING
    names = archive.namelist()
    for name in ("auth", "sessions", "ai"):
        assert json.loads(archive.read(f"{name}/0002-rows.json")) == [{"attempt": 1, "number": 2}]
    (own,) = (name for name in names if name.startswith("media/") and "uploads" in name)
    assert {row["id"] for row in json.loads(archive.read(own))} == {upload_id, lost_id}
    assert json.loads(archive.read("export.json"))["missing_recordings"] == [lost_id]
    (completed,) = await emitted_events(service.database, ExportCompleted)
    assert (str(completed.export_id), completed.user_id) == (status["id"], user_id)

    clock.advance(7 * 86_400 + 1)
    assert (await client.get(path)).status_code == 404
    await exports.retry_and_expire(service.deps)
    assert await _rows(service) == 0


async def test_lost_parts_are_requested_again_and_late_ones_ignored(
    service: Service, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    path = (await client.post(PATH)).headers["location"]
    (first,) = await emitted_events(service.database, ExportRequested)
    early = await exports.retry_and_expire(service.deps)
    clock.advance(301)
    retried = [await exports.retry_and_expire(service.deps) for _ in range(2)]
    (_, second) = await emitted_events(service.database, ExportRequested)
    await _collect(service, first)
    after_late_parts = (await client.get(path)).json()["status"]
    await _collect(service, second)
    archive = zipfile.ZipFile(io.BytesIO((await client.get(path)).content))

    assert (early, retried, second.attempt) == (0, [1, 0], 2)
    assert after_late_parts == "pending"
    assert json.loads(archive.read("ai/0001-rows.json")) == [{"attempt": 2, "number": 1}]


@pytest.mark.parametrize("deleted", ["session", "account"])
async def test_export_is_deleted_with_a_session_or_the_account(
    service: Service, client: httpx.AsyncClient, user_id: UUID, deleted: str
) -> None:
    path = (await client.post(PATH)).headers["location"]
    (request,) = await emitted_events(service.database, ExportRequested)
    await _collect(service, request)
    deletion: Any = (
        UserDeleted(user_id=user_id)
        if deleted == "account"
        else SessionDeleted(session_id=new_id(), user_id=user_id)
    )
    await deliver_event(service, deletion)
    await _collect(service, request)

    assert (await client.get(path)).status_code == 404
    assert await _rows(service) == 0
    assert (await client.post(PATH)).status_code == (401 if deleted == "account" else 202)


async def test_user_has_one_export_which_a_later_request_replaces(
    service: Service, client: httpx.AsyncClient, clock: FakeClock, issuer: TokenIssuer
) -> None:
    async def request() -> str:
        requested = await client.post(PATH)
        assert requested.status_code == 202
        return requested.headers["location"]

    async with client_for(service, headers=issuer.bearer(new_id())) as other:
        foreign = (await other.post(PATH)).headers["location"]
        simultaneous = set(await asyncio.gather(*(request() for _ in range(5))))
        first = simultaneous.pop()
        (event,) = [
            one
            for one in await emitted_events(service.database, ExportRequested)
            if str(one.export_id) in first
        ]
        await _collect(service, event)
        clock.advance(599)
        within_ten_minutes = await request()
        clock.advance(2)
        second = await request()

        assert (simultaneous, within_ten_minutes) == (set(), first)
        assert second != first
        assert (await client.get(first)).status_code == 404
        assert (await client.get(second)).status_code == 200
        assert (await other.get(foreign)).status_code == 200


async def test_download_yields_pieces_of_bounded_size() -> None:
    chunk = bytes(256 * 1024)

    async def read_recording() -> AsyncGenerator[bytes, None]:
        for _ in range(40):
            yield chunk

    archive = ArchiveWriter(datetime(2026, 11, 27, tzinfo=UTC))
    pieces = [await archive.add_text("ai/0001-rows.json", "x" * len(chunk))]
    pieces += [piece async for piece in archive.add_stream("recordings/a.m4a", read_recording())]
    pieces.append(archive.finish())

    assert max(map(len, pieces)) <= len(chunk) + 1024
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as read:
        assert len(read.read("recordings/a.m4a")) == 40 * len(chunk)
