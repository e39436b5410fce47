"""The socket, every row of its contract, over real connections."""

import asyncio
import json
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from coach_common.db.transaction import MessageContext
from coach_common.events.base import Event
from coach_common.events.catalog import (
    SessionJudged,
    SessionMeasured,
    SessionTranscribed,
    TranscriptionCompleted,
    TranscriptionProgressed,
)
from coach_common.ids import new_id
from coach_common.testing.fakes import TokenIssuer
from coach_common.testing.harness import wait_until

UNKNOWN = "00000000-0000-7000-8000-000000000000"


async def _next(socket: ClientConnection, seconds: float = 5) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        frame: dict[str, Any] = json.loads(await socket.recv())
        return frame


async def _say(socket: ClientConnection, **frame: Any) -> None:
    await socket.send(json.dumps(frame))


async def _closed(socket: ClientConnection, seconds: float = 8) -> int | None:
    async with asyncio.timeout(seconds):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return socket.close_code


def _open(gateway: Any, issuer: TokenIssuer, user_id: UUID, **claims: Any) -> Any:
    token = issuer.issue(user_id, **claims)
    return connect(
        gateway.socket_url, additional_headers={"authorization": f"Bearer {token}"}, proxy=None
    )


async def _happen(gateway: Any, event: Event) -> UUID:
    event_id = new_id()
    for subscription in gateway.service.subscriptions:
        if subscription.event is type(event):
            await subscription.handle(event, MessageContext(subscription.queue, event_id))
    return event_id


def _judged(user_id: UUID) -> SessionJudged:
    return SessionJudged(
        session_id=new_id(),
        user_id=user_id,
        feedback={"session_id": "s", "status": "ready", "overall_score": 70},
    )


@pytest.mark.parametrize("way", ["header", "subprotocol", "first frame"])
async def test_each_way_to_authenticate_ends_in_auth_success(
    gateway: Any, issuer: TokenIssuer, user_id: UUID, way: str
) -> None:
    token = issuer.issue(user_id)
    options: dict[str, Any] = {
        "header": {"additional_headers": {"authorization": f"Bearer {token}"}},
        "subprotocol": {"subprotocols": ["bearer", token]},
        "first frame": {},
    }[way]
    async with connect(gateway.socket_url, proxy=None, **options) as socket:
        if way == "first frame":
            await _say(socket, type="auth", token=token)
        answer = await _next(socket)
        await _say(socket, type="ping")

        assert answer["type"] == "auth_success"
        assert (answer["user_id"], answer["resumed"]) == (str(user_id), False)
        assert answer["expires_at"].endswith("Z")
        assert socket.subprotocol == ("bearer" if way == "subprotocol" else None)
        assert await _next(socket) == {"type": "pong"}


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "auth", "token": "nonsense"},
        {"type": "auth"},
        {"type": "session_start", "question": "Q?"},
        {"type": "ping"},
    ],
)
async def test_a_failed_authentication_is_said_and_closed(
    gateway: Any, frame: dict[str, Any]
) -> None:
    async with connect(gateway.socket_url, proxy=None) as socket:
        await _say(socket, **frame)

        assert (await _next(socket))["type"] == "error"
        assert await _closed(socket) == 1008


async def test_whoever_never_authenticates_is_closed(gateway: Any) -> None:
    async with connect(gateway.socket_url, proxy=None) as socket:
        assert (await _next(socket))["code"] == "auth_timeout"
        assert await _closed(socket) == 1008


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("?token=x", {}, 400),
        ("?access_token=x", {}, 400),
        ("", {"origin": "https://evil.example"}, 403),
    ],
)
async def test_before_the_upgrade_only_queries_with_tokens_and_bad_origins_are_refused(
    gateway: Any, path: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(gateway.socket_url + path, additional_headers=headers, proxy=None):
            pass

    assert refused.value.response.status_code == status


async def test_an_allowed_origin_and_the_canonical_path_connect(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    url = gateway.socket_url.replace("/ws/", "/v1/ws/")
    headers = {"origin": "http://localhost:8081"} | issuer.bearer(user_id)
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        assert (await _next(socket))["type"] == "auth_success"


async def test_frames_become_calls_in_the_persons_name(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        question = "Why? " * 30
        await _say(socket, type="session_start", question=question)
        started = await _next(socket)
        await _say(socket, type="audio_uri", key="uploads/u/1.m4a")
        await _say(socket, type="complete", duration_seconds=9)

        async def has_asked() -> bool:
            return len(gateway.upstreams.asked) == 3

        await wait_until(has_asked, description="three calls")

    opened, confirmed, completed = gateway.upstreams.asked
    session_id = started["session_id"]
    assert started["type"] == "session_started"
    assert json.loads(opened["body"])["title"] == question.strip()[:80]
    assert (confirmed["upstream"], confirmed["path"]) == ("media", "/upload/confirm")
    assert json.loads(confirmed["body"])["session_id"] == session_id
    assert completed["path"] == f"/sessions/{session_id}/complete"
    assert json.loads(completed["body"]) == {"duration_seconds": 9}
    assert all(one["headers"]["authorization"].startswith("Bearer ") for one in (opened, confirmed))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"type": "audio_uri", "key": "k"}', "no_session"),
        ('{"type": "complete"}', "no_session"),
        ('{"type": "audio_uri", "uri": "file:///x.m4a"}', "key_needed"),
        ('{"type": "audio_start", "format": "webm"}', "no_session"),
        ('{"type": "audio_end"}', "live_not_started"),
        (b"\x00\x01", "live_not_started"),
        ('{"type": "dance"}', "unknown_type"),
        ('{"type": ["ping"]}', "bad_json"),
        ("[]", "bad_json"),
        ("{", "bad_json"),
        ("[" * 100_000, "bad_json"),
        ('{"type": "session_start"}', "invalid"),
        ('{"type": "complete", "session_id": "../internal/x"}', "session_not_found"),
        ('{"type": "ping", "x": "' + "x" * 1_100_000 + '"}', "too_large"),
    ],
)
async def test_a_frame_that_cannot_be_is_said_and_the_socket_stays(
    gateway: Any, issuer: TokenIssuer, user_id: UUID, frame: str | bytes, code: str
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await socket.send(frame)
        answer = await _next(socket)
        await _say(socket, type="ping")

        assert (answer["type"], answer["code"]) == ("error", code)
        assert isinstance(answer["message"], str)
        assert await _next(socket) == {"type": "pong"}
    assert gateway.upstreams.asked == []


async def test_a_services_refusal_is_passed_on_in_its_words(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    gateway.upstreams.refusal = (404, {"detail": "Session not found", "code": "session_not_found"})
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await _say(socket, type="session_start", session_id=UNKNOWN)

        assert await _next(socket) == {
            "type": "error", "message": "Session not found", "code": "session_not_found",
        }  # fmt: skip


async def test_a_frame_above_four_mebibytes_closes_the_socket(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        with suppress(ConnectionClosed):
            await socket.send("x" * (4 * 1024 * 1024 + 1))
        assert await _closed(socket) == 1009


async def test_a_flood_closes_the_socket(gateway: Any, issuer: TokenIssuer, user_id: UUID) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        for _ in range(300):
            try:
                await _say(socket, type="ping")
            except ConnectionClosed:
                break
        assert await _closed(socket) == 1008


async def test_pushes_reach_every_socket_of_that_user_and_no_others(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    other_id = new_id()
    async with (
        _open(gateway, issuer, user_id) as one,
        _open(gateway, issuer, user_id) as two,
        _open(gateway, issuer, other_id) as other,
    ):
        for socket in (one, two, other):
            await _next(socket)
        transcribed = SessionTranscribed(session_id=new_id(), user_id=user_id, key="k", text="Hi.")
        event_id = await _happen(gateway, transcribed)
        judged_id = await _happen(gateway, _judged(user_id))

        for socket in (one, two):
            assert await _next(socket) == {
                "type": "transcript", "event_id": str(event_id),
                "session_id": str(transcribed.session_id), "key": "k", "text": "Hi.", "final": True,
            }  # fmt: skip
            feedback = await _next(socket)
            assert feedback["event_id"] == str(judged_id)
            assert (feedback["type"], feedback["overall_score"]) == ("feedback", 70)
        await _say(other, type="ping")
        assert await _next(other) == {"type": "pong"}


async def test_a_transcript_without_a_session_is_pushed_too(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    about = {"upload_id": new_id(), "user_id": user_id, "key": "k", "text": "Hi.", "language": "en",
             "duration_seconds": 1.0, "provider": "p", "model": "m"}  # fmt: skip
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await _happen(gateway, TranscriptionCompleted(**about, session_id=new_id()))
        await _happen(gateway, TranscriptionCompleted(**about))

        pushed = await _next(socket)
        assert (pushed["type"], pushed["session_id"]) == ("transcript", None)


async def test_delivery_is_pushed_ahead_of_the_judgement_and_never_after_it(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    session_id = new_id()
    shown = {"session_id": str(session_id), "overall_score": None, "delivery": {"pace": {}}}
    about = {"session_id": session_id, "user_id": user_id}
    heard = SessionMeasured(**about, feedback=shown | {"status": "transcribing"})
    measured = SessionMeasured(**about, feedback=shown | {"status": "scoring"})
    judged = SessionJudged(**about, feedback=shown | {"status": "ready", "overall_score": 70})
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        for event in (heard, measured, heard, judged, measured, heard):
            await _happen(gateway, event)
        await _say(socket, type="ping")

        pushed = [await _next(socket) for _ in range(4)]

    assert [(one["type"], one.get("status")) for one in pushed] == [
        ("feedback", "transcribing"),
        ("feedback", "scoring"),
        ("feedback", "ready"),
        ("pong", None),
    ]
    assert pushed[0]["delivery"] == {"pace": {}}


async def test_progress_is_pushed_until_the_transcript_is_there(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    session_id = new_id()
    progressed = TranscriptionProgressed(
        upload_id=new_id(), user_id=user_id, key="k", session_id=session_id,
        done_seconds=120.0, duration_seconds=600.0,
    )  # fmt: skip
    transcribed = SessionTranscribed(session_id=session_id, user_id=user_id, key="k", text="Hi.")
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        event_id = await _happen(gateway, progressed)
        await _happen(gateway, transcribed)
        await _happen(gateway, progressed)
        await _say(socket, type="ping")

        pushed = [await _next(socket) for _ in range(3)]

    assert pushed[0] == {
        "type": "progress", "event_id": str(event_id), "session_id": str(session_id), "key": "k",
        "done_seconds": 120.0, "duration_seconds": 600.0,
    }  # fmt: skip
    assert [one["type"] for one in pushed[1:]] == ["transcript", "pong"]


async def test_who_comes_back_is_told_what_was_missed_or_that_it_is_not_known(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    token = issuer.issue(user_id)
    first = str(await _happen(gateway, _judged(user_id)))
    missed = str(await _happen(gateway, _judged(user_id)))
    async with connect(gateway.socket_url, proxy=None) as socket:
        await _say(socket, type="auth", token=token, last_event_id=first)
        resumed = await _next(socket)
        again = [await _next(socket), await _next(socket)]
    async with connect(gateway.socket_url, proxy=None) as socket:
        await _say(socket, type="auth", token=token, last_event_id=UNKNOWN)
        unknown = await _next(socket)

    assert resumed["resumed"] is True
    assert [frame["event_id"] for frame in again] == [first, missed]
    assert unknown["resumed"] is False


async def test_an_ended_login_closes_its_open_sockets_and_no_others(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    login_id = new_id()
    async with (
        _open(gateway, issuer, user_id, sid=str(login_id)) as ended,
        _open(gateway, issuer, user_id) as other,
    ):
        await _next(ended)
        await _next(other)
        gateway.upstreams.ended.append(login_id)

        assert (await _next(ended))["code"] == "login_ended"
        assert await _closed(ended) == 1008
        await _say(other, type="ping")
        assert await _next(other) == {"type": "pong"}


async def test_an_expired_token_closes_the_socket_unless_it_was_renewed(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    import time

    soon = int(time.time()) + 2
    async with (
        _open(gateway, issuer, user_id, exp=soon) as expiring,
        _open(gateway, issuer, user_id, exp=soon) as renewed,
    ):
        await _next(expiring)
        await _next(renewed)
        await _say(renewed, type="auth", token=issuer.issue(user_id))
        assert (await _next(renewed))["type"] == "auth_success"

        assert (await _next(expiring))["code"] == "token_expired"
        assert await _closed(expiring) == 1008
        await _say(renewed, type="ping")
        assert await _next(renewed) == {"type": "pong"}


async def test_a_socket_stays_with_its_user(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await _say(socket, type="auth", token=issuer.issue(new_id()))

        assert (await _next(socket))["code"] == "wrong_user"
        assert await _closed(socket) == 1008


async def test_a_user_has_so_many_sockets_and_no_more(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with (
        _open(gateway, issuer, user_id) as one,
        _open(gateway, issuer, user_id) as two,
        _open(gateway, issuer, user_id) as three,
        _open(gateway, issuer, user_id) as four,
    ):
        for socket in (one, two, three):
            assert (await _next(socket))["type"] == "auth_success"
        assert (await _next(four))["code"] == "too_many_sockets"
        assert await _closed(four) == 1008
