"""The WebSocket contract over real connections."""

import asyncio
import json
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

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
from coach_common.testing.harness import http_client, wait_until

UNKNOWN = "00000000-0000-7000-8000-000000000000"


async def _next(socket: ClientConnection, seconds: float = 5) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        frame: dict[str, Any] = json.loads(await socket.recv())
        return frame


async def _send(socket: ClientConnection, **frame: Any) -> None:
    await socket.send(json.dumps(frame))


async def _wait_closed(socket: ClientConnection, seconds: float = 8) -> int | None:
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


async def _publish(gateway: Any, event: Event) -> UUID:
    event_id = new_id()
    for subscription in gateway.service.subscriptions:
        if subscription.event is type(event):
            await subscription.handle(event, MessageContext(subscription.queue, event_id))
    return event_id


def _session_judged(user_id: UUID) -> SessionJudged:
    return SessionJudged(
        session_id=new_id(),
        user_id=user_id,
        feedback={"session_id": "s", "status": "ready", "overall_score": 70},
    )


@pytest.mark.parametrize("method", ["header", "subprotocol", "first frame"])
async def test_every_authentication_method_returns_auth_success(
    gateway: Any, issuer: TokenIssuer, user_id: UUID, method: str
) -> None:
    token = issuer.issue(user_id)
    options: dict[str, Any] = {
        "header": {"additional_headers": {"authorization": f"Bearer {token}"}},
        "subprotocol": {"subprotocols": ["bearer", token]},
        "first frame": {},
    }[method]
    async with connect(gateway.socket_url, proxy=None, **options) as socket:
        if method == "first frame":
            await _send(socket, type="auth", token=token)
        answer = await _next(socket)
        await _send(socket, type="ping")

        assert answer["type"] == "auth_success"
        assert (answer["user_id"], answer["resumed"]) == (str(user_id), False)
        assert answer["expires_at"].endswith("Z")
        assert socket.subprotocol == ("bearer" if method == "subprotocol" else None)
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
async def test_failed_authentication_returns_error_and_closes(
    gateway: Any, frame: dict[str, Any]
) -> None:
    async with connect(gateway.socket_url, proxy=None) as socket:
        await _send(socket, **frame)

        assert (await _next(socket))["type"] == "error"
        assert await _wait_closed(socket) == 1008


async def test_socket_without_authentication_times_out(gateway: Any) -> None:
    async with connect(gateway.socket_url, proxy=None) as socket:
        assert (await _next(socket))["code"] == "auth_timeout"
        assert await _wait_closed(socket) == 1008


@pytest.mark.parametrize(
    ("query", "origin", "status", "code"),
    [
        ("?token=x", None, 400, "token_in_url"),
        ("?access_token=x", None, 400, "token_in_url"),
        ("", "https://evil.example", 403, "origin_not_allowed"),
        ("", "null", 403, "origin_not_allowed"),
        ("", "", 403, "origin_not_allowed"),
        ("", "http://localhost", 403, "origin_not_allowed"),
        ("", "http://127.0.0.1", 403, "origin_not_allowed"),
        ("", "http://127.0.0.1.evil.example:{port}", 403, "origin_not_allowed"),
        ("", "http://127.0.0.1@evil.example:{port}", 403, "origin_not_allowed"),
        ("", "http://127.0.0.1:x", 403, "origin_not_allowed"),
        ("", "https://[", 403, "origin_not_allowed"),
        ("", "file://evil.example", 403, "origin_not_allowed"),
    ],
)
async def test_refused_handshake_is_a_problem_that_is_counted(
    gateway: Any, query: str, origin: str | None, status: int, code: str
) -> None:
    headers = {} if origin is None else {"origin": origin.format(port=gateway.port)}
    before = await _request_count(gateway, status)
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            gateway.socket_url + query,
            additional_headers=headers,
            subprotocols=[Subprotocol("bearer"), Subprotocol("x")],
            proxy=None,
        ):
            pass

    response = refused.value.response
    problem = json.loads(response.body)
    assert response.status_code == problem["status"] == status
    assert problem["code"] == code
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert await _request_count(gateway, status) == before + 1


async def _request_count(gateway: Any, status: int) -> float:
    async with http_client() as client:
        lines = (await client.get(f"{gateway.url}/metrics")).text.splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("coach_http_requests_total{")
        and 'service="gateway"' in line
        and f'status="{status}"' in line
        and "/ws/transcribe" in line
    )


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "http://127.0.0.1:{port}",
        "https://127.0.0.1:{port}",
        "ws://127.0.0.1:{port}",
        "file://",
        "capacitor://localhost",
        "ionic://localhost",
        "http://localhost:8081",
    ],
)
async def test_native_app_and_allowed_page_connect(
    gateway: Any, issuer: TokenIssuer, user_id: UUID, origin: str | None
) -> None:
    headers = {} if origin is None else {"origin": origin.format(port=gateway.port)}
    async with connect(gateway.socket_url, additional_headers=headers, proxy=None) as socket:
        await _send(socket, type="auth", token=issuer.issue(user_id))
        assert (await _next(socket))["type"] == "auth_success"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://api.example.com", "api.example.com"),
        ("https://api.example.com:443", "api.example.com"),
        ("http://api.example.com", "API.example.com:80"),
        ("http://10.0.2.2:8000", "10.0.2.2:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
async def test_origin_of_the_requested_host_connects(
    gateway: Any, issuer: TokenIssuer, user_id: UUID, origin: str, host: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        f"GET /ws/transcribe HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    status_line = await reader.readline()
    writer.transport.abort()

    assert b" 101 " in status_line


async def test_foreign_origin_with_a_bearer_token_connects(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    headers = {"origin": "https://evil.example"} | issuer.bearer(user_id)
    async with connect(gateway.socket_url, additional_headers=headers, proxy=None) as socket:
        assert (await _next(socket))["type"] == "auth_success"


class TestAllOrigins:
    """`CORS_ORIGINS=["*"]` applies to the socket as well."""

    @pytest.fixture
    def setting_overrides(self) -> dict[str, Any]:
        return {"cors_origins": ("*",)}

    async def test_every_page_connects(
        self, gateway: Any, issuer: TokenIssuer, user_id: UUID
    ) -> None:
        headers = {"origin": "https://somewhere.example"}
        async with connect(gateway.socket_url, additional_headers=headers, proxy=None) as socket:
            await _send(socket, type="auth", token=issuer.issue(user_id))
            assert (await _next(socket))["type"] == "auth_success"


async def test_allowed_origin_and_v1_path_connect(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    url = gateway.socket_url.replace("/ws/", "/v1/ws/")
    headers = {"origin": "http://localhost:8081"} | issuer.bearer(user_id)
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        assert (await _next(socket))["type"] == "auth_success"


async def test_frames_become_service_calls_with_the_users_token(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        question = "Why? " * 30
        await _send(socket, type="session_start", question=question)
        started = await _next(socket)
        await _send(socket, type="audio_uri", key="uploads/u/1.m4a")
        await _send(socket, type="complete", duration_seconds=9.4)

        async def has_asked() -> bool:
            return len(gateway.upstreams.requests) == 3

        await wait_until(has_asked, description="three calls")

    opened, confirmed, completed = gateway.upstreams.requests
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
        ('{"type": "interview_message", "message": "m"}', "no_session"),
        ('{"type": "interview_message", "session_id": "../x"}', "session_not_found"),
        ('{"type": "interview_message", "idempotency_key": "a\\r\\nb: c"}', "invalid"),
        ('{"type": "interview_start", "title": "T"}', "invalid"),
        ('{"type": "audio_uri", "key": "k"}', "no_session"),
        ('{"type": "complete"}', "no_session"),
        ('{"type": "audio_uri", "uri": "file:///x.m4a"}', "key_needed"),
        ('{"type": "audio_start", "format": "webm"}', "no_session"),
        ('{"type": "audio_end"}', "live_not_started"),
        (b"\x00\x01", "live_not_started"),
        ('{"type": "dance"}', "unknown_type"),
        ('{"type": "audio"}', "unknown_type"),
        ('{"type": "audio", "bytes": "abc"}', "unknown_type"),
        ('{"type": "ping", "x": "' + "x" * 17_000 + '"}', "too_large"),
        ('{"type": ["ping"]}', "bad_json"),
        ("[]", "bad_json"),
        ("{", "bad_json"),
        ("[" * 100_000, "bad_json"),
        ('{"type": "session_start"}', "invalid"),
        ('{"type": "audio_start", "format": "mp3"}', "invalid"),
        ('{"type": "audio_start", "format": "pcm16", "sample_rate": "16000"}', "invalid"),
        ('{"type": "audio_start", "format": "pcm16", "sample_rate": true}', "invalid"),
        ('{"type": "audio_start", "format": "pcm16", "sample_rate": NaN}', "invalid"),
        ('{"type": "complete", "session_id": "../internal/x"}', "session_not_found"),
        ('{"type": "ping", "x": "' + "x" * 1_100_000 + '"}', "too_large"),
    ],
)
async def test_invalid_frame_returns_error_and_keeps_socket_open(
    gateway: Any, issuer: TokenIssuer, user_id: UUID, frame: str | bytes, code: str
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await socket.send(frame)
        answer = await _next(socket)
        await _send(socket, type="ping")

        assert (answer["type"], answer["code"]) == ("error", code)
        assert isinstance(answer["message"], str)
        assert await _next(socket) == {"type": "pong"}
    assert gateway.upstreams.requests == []


async def test_service_error_is_forwarded_to_the_client(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    gateway.upstreams.error_response = (
        404,
        {"detail": "Session not found", "code": "session_not_found"},
    )
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await _send(socket, type="session_start", session_id=UNKNOWN)

        assert await _next(socket) == {
            "type": "error", "message": "Session not found", "code": "session_not_found",
        }  # fmt: skip


async def test_frame_over_4_mib_closes_the_socket(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        with suppress(ConnectionClosed):
            await socket.send("x" * (4 * 1024 * 1024 + 1))
        assert await _wait_closed(socket) == 1009


async def test_frame_flood_closes_the_socket(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        for _ in range(300):
            try:
                await _send(socket, type="ping")
            except ConnectionClosed:
                break
        assert await _wait_closed(socket) == 1008


async def test_push_reaches_all_sockets_of_its_user_only(
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
        event_id = await _publish(gateway, transcribed)
        feedback_id = await _publish(gateway, _session_judged(user_id))

        for socket in (one, two):
            assert await _next(socket) == {
                "type": "transcript", "event_id": str(event_id),
                "session_id": str(transcribed.session_id), "key": "k", "text": "Hi.", "final": True,
            }  # fmt: skip
            feedback = await _next(socket)
            assert feedback["event_id"] == str(feedback_id)
            assert (feedback["type"], feedback["overall_score"]) == ("feedback", 70)
        await _send(other, type="ping")
        assert await _next(other) == {"type": "pong"}


async def test_transcript_without_session_is_pushed(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    about = {"upload_id": new_id(), "user_id": user_id, "key": "k", "text": "Hi.", "language": "en",
             "duration_seconds": 1.0, "provider": "p", "model": "m"}  # fmt: skip
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await _publish(gateway, TranscriptionCompleted(**about, session_id=new_id()))
        await _publish(gateway, TranscriptionCompleted(**about))

        pushed = await _next(socket)
        assert (pushed["type"], pushed["session_id"]) == ("transcript", None)


async def test_measured_feedback_is_pushed_before_scores_and_never_after(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    session_id = new_id()
    shown = {"session_id": str(session_id), "overall_score": None, "delivery": {"pace": {}}}
    about = {"session_id": session_id, "user_id": user_id}
    interim = SessionMeasured(**about, feedback=shown | {"status": "transcribing"})
    measured = SessionMeasured(**about, feedback=shown | {"status": "scoring"})
    final = SessionJudged(**about, feedback=shown | {"status": "ready", "overall_score": 70})
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        for event in (interim, measured, interim, final, measured, interim):
            await _publish(gateway, event)
        await _send(socket, type="ping")

        pushed = [await _next(socket) for _ in range(4)]

    assert [(one["type"], one.get("status")) for one in pushed] == [
        ("feedback", "transcribing"),
        ("feedback", "scoring"),
        ("feedback", "ready"),
        ("pong", None),
    ]
    assert pushed[0]["delivery"] == {"pace": {}}


async def test_progress_is_pushed_until_the_transcript_was_pushed(
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
        event_id = await _publish(gateway, progressed)
        await _publish(gateway, transcribed)
        await _publish(gateway, progressed)
        await _send(socket, type="ping")

        pushed = [await _next(socket) for _ in range(3)]

    assert pushed[0] == {
        "type": "progress", "event_id": str(event_id), "session_id": str(session_id), "key": "k",
        "done_seconds": 120.0, "duration_seconds": 600.0,
    }  # fmt: skip
    assert [one["type"] for one in pushed[1:]] == ["transcript", "pong"]


async def test_reconnect_replays_missed_pushes_or_reports_a_gap(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    token = issuer.issue(user_id)
    first = str(await _publish(gateway, _session_judged(user_id)))
    missed = str(await _publish(gateway, _session_judged(user_id)))
    async with connect(gateway.socket_url, proxy=None) as socket:
        await _send(socket, type="auth", token=token, last_event_id=first)
        resumed = await _next(socket)
        again = [await _next(socket), await _next(socket)]
    async with connect(gateway.socket_url, proxy=None) as socket:
        await _send(socket, type="auth", token=token, last_event_id=UNKNOWN)
        unknown = await _next(socket)

    assert resumed["resumed"] is True
    assert [frame["event_id"] for frame in again] == [first, missed]
    assert unknown["resumed"] is False


async def test_revoked_login_closes_its_sockets_only(
    gateway: Any, issuer: TokenIssuer, user_id: UUID
) -> None:
    login_id = new_id()
    async with (
        _open(gateway, issuer, user_id, sid=str(login_id)) as ended,
        _open(gateway, issuer, user_id) as other,
    ):
        await _next(ended)
        await _next(other)
        gateway.upstreams.revoked_login_ids.append(login_id)

        assert (await _next(ended))["code"] == "login_ended"
        assert await _wait_closed(ended) == 1008
        await _send(other, type="ping")
        assert await _next(other) == {"type": "pong"}


async def test_expired_token_closes_the_socket_unless_renewed(
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
        await _send(renewed, type="auth", token=issuer.issue(user_id))
        assert (await _next(renewed))["type"] == "auth_success"

        assert (await _next(expiring))["code"] == "token_expired"
        assert await _wait_closed(expiring) == 1008
        await _send(renewed, type="ping")
        assert await _next(renewed) == {"type": "pong"}


async def test_socket_cannot_switch_user(gateway: Any, issuer: TokenIssuer, user_id: UUID) -> None:
    async with _open(gateway, issuer, user_id) as socket:
        await _next(socket)
        await _send(socket, type="auth", token=issuer.issue(new_id()))

        assert (await _next(socket))["code"] == "wrong_user"
        assert await _wait_closed(socket) == 1008


async def test_sockets_per_user_are_limited(
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
        assert await _wait_closed(four) == 1008
