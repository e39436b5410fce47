"""Live audio relay: all audio arrives once and in order, across broken connections."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from coach_common.clock import utc_now
from coach_common.errors import Conflict, NotFound
from coach_common.testing.harness import wait_until
from coach_common.testing.servers import free_port
from coach_gateway.live_audio import LiveAudioClient, LiveAudioRelay
from coach_gateway.live_audio.buffers import AudioOverrun, PendingAudio
from coach_gateway.sockets.frame_base import ServerFrame
from coach_gateway.sockets.frames import AudioStartFrame
from coach_gateway.upstreams import Upstream
from support.live_audio import SERVICE_TOKEN, StubAiService


@dataclass
class FakeClient:
    """Records frames to the client and calls to media."""

    frames: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    token: str = "t"
    status: str = "pending"
    """Of the upload that the client resumes, as media knows it."""
    failures: list[Exception] = field(default_factory=list)
    """Raised by the next calls."""

    def send_frame(self, frame: ServerFrame) -> None:
        fields = json.loads(frame.encode())
        self.frames.append((fields.pop("type"), fields))

    async def call_service(
        self, upstream: str, method: str, path: str, **body: Any
    ) -> dict[str, Any]:
        self.calls.append((path, body))
        if self.failures:
            raise self.failures.pop(0)
        if path.endswith("presign"):
            return {"key": "uploads/u/1.wav"}
        return {
            "upload_id": "u1", "key": body["key"], "size": 7, "content_type": "audio/wav",
            "status": self.status,
        }  # fmt: skip

    async def resolve_session(self, frame: AudioStartFrame) -> str:
        if frame.session_id == "gone":
            raise NotFound("Session not found")
        return "s1"

    async def wait_for(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while kind not in [name for name, _ in self.frames]:
                await asyncio.sleep(0.01)
        return next(fields for name, fields in self.frames if name == kind)

    async def wait_for_confirmation(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while "/upload/confirm" not in [path for path, _ in self.calls]:
                await asyncio.sleep(0.01)
        return self.calls[-1][1]


@pytest.fixture
def phone() -> FakeClient:
    return FakeClient()


def _upstream(*ports: int) -> Upstream:
    urls = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    return Upstream("ai", urls, max_in_flight=8, connect_timeout_seconds=1.0)


def _relay(phone: FakeClient, upstream: Upstream, **options: Any) -> LiveAudioRelay:
    return LiveAudioRelay(
        LiveAudioClient(upstream, SERVICE_TOKEN),
        utc_now,
        phone.call_service,
        phone.send_frame,
        phone.resolve_session,
        lambda: phone.token,
        reconnect_delay_seconds=0.05,
        **options,
    )


async def test_replies_and_silence_are_reported_for_the_session(
    ai: StubAiService, phone: FakeClient
) -> None:
    events: list[tuple[Any, ...]] = []
    live = LiveAudioRelay(
        LiveAudioClient(_upstream(ai.port), SERVICE_TOKEN), utc_now, phone.call_service,
        phone.send_frame, phone.resolve_session, lambda: phone.token,
        on_reply=lambda *event: events.append(event),
        on_silence=lambda *event: events.append(event),
    )  # fmt: skip
    ai.reports = [
        {"type": "silence", "seconds": 2.5},
        {"type": "partial", "text": "Hm", "is_reply": False},
        {"type": "partial", "text": "Hm I led it", "is_reply": True},
    ]
    _start(live)
    await phone.wait_for("audio_started")
    for _ in range(3):
        await live.add_audio(b"\0" * 100)
    live.end()
    await phone.wait_for_confirmation()
    await live.close()

    assert ai.start_requests[0]["reports_silence"] is True
    assert events == [("s1", 2.5), ("s1",)]
    partials = [fields for name, fields in phone.frames if name == "partial"]
    assert [one["is_reply"] for one in partials[:2]] == [False, True]


@pytest.fixture
async def live(ai: StubAiService, phone: FakeClient) -> AsyncIterator[LiveAudioRelay]:
    live = _relay(phone, _upstream(ai.port))
    yield live
    await live.close()


def _start(live: LiveAudioRelay, **fields: Any) -> None:
    frame = {"type": "audio_start", "format": "pcm16", "sample_rate": 16_000}
    live.start(AudioStartFrame.model_validate(frame | fields))


CONTENT = bytes(range(256)) * 400


async def _send_audio(live: LiveAudioRelay, content: bytes, size: int = 4096) -> None:
    for begin in range(0, len(content), size):
        await live.add_audio(content[begin : begin + size])


async def test_audio_is_stored_and_confirmed_for_its_session(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    _start(live)
    await _send_audio(live, CONTENT)
    live.end()

    confirmed = await phone.wait_for_confirmation()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}
    assert (confirmed["key"], confirmed["session_id"]) == ("uploads/u/1.wav", "s1")
    presigned = {"content_type": "audio/wav", "extension": "wav", "session_id": "s1"}
    assert phone.calls[0] == ("/upload/s3-presign", presigned)
    started = await phone.wait_for("audio_started")
    assert started == {"session_id": "s1", "key": "uploads/u/1.wav", "received": 0}
    assert ai.start_requests[0]["token"] == "t"
    await phone.wait_for("partial")


@pytest.mark.parametrize("has_ended", [True, False])
async def test_lost_audio_is_sent_again_after_a_broken_connection(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient, has_ended: bool
) -> None:
    ai.disconnects_after = 50_000
    _start(live)
    await _send_audio(live, CONTENT)
    if not has_ended:
        async with asyncio.timeout(30):
            while len(ai.start_requests) < 2:
                await asyncio.sleep(0.01)
    live.end()

    await phone.wait_for_confirmation()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}
    assert len(ai.start_requests) == 2


async def test_recording_continues_after_ai_restarts(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    _start(live)
    await _send_audio(live, CONTENT[:50_000])
    await phone.wait_for("partial")
    await ai.stop()
    await _send_audio(live, CONTENT[50_000:])
    await ai.start()
    live.end()

    await phone.wait_for_confirmation()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}


async def test_client_resumes_a_recording_by_key(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    ai.received["uploads/u/0.wav"] = bytearray(CONTENT[:50_000])
    _start(live, key="uploads/u/0.wav")
    started = await phone.wait_for("audio_started")
    await _send_audio(live, CONTENT[started["received"] :])
    live.end()

    await phone.wait_for_confirmation()

    assert started["received"] == 50_000
    assert ai.stored == {"uploads/u/0.wav": CONTENT}
    asked = {"key": "uploads/u/0.wav", "content_type": "audio/wav", "session_id": "s1"}
    assert phone.calls[0] == ("/internal/uploads/check", asked)
    assert [path for path, _ in phone.calls] == ["/internal/uploads/check", "/upload/confirm"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"session_id": "gone"}, "Session"),
        ({"sample_rate": 1}, "sample_rate"),
        ({"sample_rate": 96_000}, "sample_rate"),
        ({"sample_rate": None}, "sample_rate"),
    ],
    ids=str,
)
async def test_rejected_start_returns_error_and_next_start_works(
    live: LiveAudioRelay, phone: FakeClient, fields: dict[str, Any], words: str
) -> None:
    _start(live, **fields)
    assert words in (await phone.wait_for("error"))["message"]

    _start(live)
    assert (await phone.wait_for("audio_started"))["received"] == 0


@pytest.mark.parametrize(("rate", "expected"), [(16_000.0, 16_000), (44_100.4, 44_100)])
async def test_sample_rate_with_a_fraction_is_rounded(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient, rate: float, expected: int
) -> None:
    _start(live, sample_rate=rate)
    await phone.wait_for("audio_started")

    assert ai.start_requests[0]["sample_rate"] == expected


async def test_unavailable_ai_returns_error(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    await ai.stop()

    _start(live)

    assert (await phone.wait_for("error"))["code"] == "live_unavailable"


async def test_audio_frames_out_of_order_are_rejected(
    live: LiveAudioRelay, phone: FakeClient
) -> None:
    with pytest.raises(Conflict):
        await live.add_audio(b"x")
    with pytest.raises(Conflict):
        live.end()
    _start(live)
    with pytest.raises(Conflict):
        _start(live)


async def test_audio_after_a_failed_start_is_dropped_without_further_errors(
    live: LiveAudioRelay, phone: FakeClient
) -> None:
    _start(live, sample_rate=1)
    await phone.wait_for("error")

    await _send_audio(live, CONTENT)
    live.end()

    assert [kind for kind, _ in phone.frames] == ["error"]


async def test_unexpected_exception_reaches_the_client(
    live: LiveAudioRelay, phone: FakeClient
) -> None:
    phone.failures = [KeyError("a bug")]
    _start(live)

    error = await phone.wait_for("error")
    assert (error["code"], error["message"]) == ("internal", "Something went wrong on our side.")

    _start(live)
    await phone.wait_for("audio_started")


@pytest.mark.parametrize("status", ["confirmed", "transcribing", "transcribed", "failed"])
async def test_stored_recording_is_not_resumed(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient, status: str
) -> None:
    phone.status = status
    _start(live, key="uploads/u/0.wav")

    error = await phone.wait_for("error")

    assert error["code"] == "already_stored"
    stored = {"upload_id": "u1", "key": "uploads/u/0.wav", "size": 7, "content_type": "audio/wav"}
    assert error["upload"] == stored
    assert ai.start_requests == []


async def test_recording_that_ai_has_stored_is_confirmed_and_not_resumed(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    ai.refuses_with = "already_stored"
    _start(live, key="uploads/u/0.wav")

    error = await phone.wait_for("error")

    assert (error["code"], error["upload"]["size"]) == ("already_stored", 7)
    assert [path for path, _ in phone.calls] == ["/internal/uploads/check", "/upload/confirm"]


async def test_recording_that_ai_stores_at_shutdown_is_not_sent_again(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    ai.stores_and_restarts = True
    _start(live)
    await phone.wait_for("audio_started")
    await _send_audio(live, CONTENT)
    phone.failures = [NotFound("Recording not found", code="recording_not_found")] * 2

    error = await phone.wait_for("error")

    assert (error["code"], error["upload"]["upload_id"]) == ("already_stored", "u1")
    assert len(ai.start_requests) == 1


async def test_complete_recording_that_ai_stores_at_shutdown_is_confirmed(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    ai.stores_and_restarts = True
    _start(live)
    await _send_audio(live, b"0123456")
    live.end()

    await phone.wait_for_confirmation()
    await _wait_until_idle(live)

    assert ai.stored == {"uploads/u/1.wav": b"0123456"}
    assert [kind for kind, _ in phone.frames] == ["audio_started"]


async def test_key_that_media_rejects_never_reaches_ai(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    phone.failures = [NotFound("Recording not found", code="recording_not_found")]
    _start(live, key="uploads/somebody/0.wav")

    assert (await phone.wait_for("error"))["code"] == "recording_not_found"
    assert ai.start_requests == []


async def test_reconnect_sends_the_renewed_token(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    ai.disconnects_after = 50_000
    _start(live)
    await phone.wait_for("audio_started")
    phone.token = "renewed"
    await _send_audio(live, CONTENT)
    live.end()

    await phone.wait_for_confirmation()

    assert [start["token"] for start in ai.start_requests] == ["t", "renewed"]


async def test_connection_is_closed_after_audio_was_lost(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    _start(live)
    await _send_audio(live, CONTENT)
    await phone.wait_for("partial")
    ai.received.clear()
    ai.disconnects_after = 1
    ai.received["uploads/u/1.wav"] = bytearray(10 * 1024 * 1024)
    await _send_audio(live, CONTENT)

    assert (await phone.wait_for("error"))["code"] == "live_lost"

    await ai.wait_for_connections(0)


async def test_connection_is_closed_when_the_client_disconnects(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    _start(live)
    await _send_audio(live, CONTENT)
    await phone.wait_for("partial")
    await live.close()

    await ai.wait_for_connections(0)
    assert ai.stored == {}, "the client may resume the recording"


@pytest.mark.parametrize("has_started", [True, False])
async def test_ended_recording_is_stored_and_confirmed_after_the_client_disconnects(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient, has_started: bool
) -> None:
    _start(live)
    if has_started:
        await phone.wait_for("audio_started")
    await _send_audio(live, CONTENT)
    live.end()
    await live.wait_until_ended()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}
    assert [path for path, _ in phone.calls] == ["/upload/s3-presign", "/upload/confirm"]


async def test_resumed_recording_is_stored_whole_after_the_client_disconnects(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    ai.received["uploads/u/0.wav"] = bytearray(CONTENT[:50_000])
    _start(live, key="uploads/u/0.wav")
    await _send_audio(live, CONTENT[50_000:])
    live.end()
    await live.wait_until_ended()

    assert ai.stored == {"uploads/u/0.wav": CONTENT}
    assert [path for path, _ in phone.calls] == ["/internal/uploads/check", "/upload/confirm"]


async def test_ended_recording_is_sent_again_if_ai_disconnects_after_the_client(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    ai.disconnects_after = 50_000
    _start(live)
    await _send_audio(live, CONTENT)
    live.end()
    await live.wait_until_ended()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}
    assert "/upload/confirm" in [path for path, _ in phone.calls]


async def test_ended_recording_waits_for_ai_if_the_client_cannot_send_it_again(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    await ai.stop()
    _start(live)
    await _send_audio(live, CONTENT)
    live.end()
    waiting = asyncio.create_task(live.wait_until_ended())

    async def has_asked() -> bool:
        return [path for path, _ in phone.calls] == ["/upload/s3-presign"]

    await wait_until(has_asked, description="a key")
    await ai.start()
    await waiting

    assert ai.stored == {"uploads/u/1.wav": CONTENT}
    assert "/upload/confirm" in [path for path, _ in phone.calls]


async def test_recording_is_complete_if_ai_disconnects_after_storing_it(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    ai.loses_stored = True
    _start(live)
    await phone.wait_for("audio_started")
    await _send_audio(live, b"0123456")
    live.end()

    await phone.wait_for_confirmation()
    await _wait_until_idle(live)

    assert ai.stored == {"uploads/u/1.wav": b"0123456"}
    assert [kind for kind, _ in phone.frames if kind != "partial"] == ["audio_started"]


async def test_ended_recording_is_stopped_if_it_is_not_stored_in_time(
    ai: StubAiService, phone: FakeClient
) -> None:
    ai.gate = asyncio.Event()
    live = _relay(phone, _upstream(ai.port), end_timeout_seconds=0.2)
    _start(live)
    await _send_audio(live, CONTENT)
    live.end()
    async with asyncio.timeout(60):
        await live.wait_until_ended()
    await live.close()

    await ai.wait_for_connections(0)
    assert ai.stored == {}
    assert "/upload/confirm" not in [path for path, _ in phone.calls]


async def test_recording_uses_the_replica_that_works(ai: StubAiService, phone: FakeClient) -> None:
    relay = _relay(phone, _upstream(free_port(), ai.port, free_port()))
    for number in range(4):
        phone.calls.clear()
        _start(relay, key=f"uploads/u/{number}.wav")
        await _send_audio(relay, CONTENT)
        relay.end()
        await phone.wait_for_confirmation()
        await _wait_until_idle(relay)

    assert ai.stored == {f"uploads/u/{number}.wav": CONTENT for number in range(4)}


async def test_resumed_recordings_go_to_the_replica_that_has_them(phone: FakeClient) -> None:
    replicas = [StubAiService(free_port()), StubAiService(free_port())]
    for replica in replicas:
        await replica.start()
    urls = [replica.port for replica in replicas]
    for _ in range(2):
        relay = _relay(phone, _upstream(*urls))
        for number in range(8):
            phone.frames.clear()
            _start(relay, key=f"uploads/u/{number}.wav")
            await phone.wait_for("audio_started")
            await relay.close()
            relay = _relay(phone, _upstream(*reversed(urls)))
    for replica in replicas:
        await replica.stop()

    keys = [{start["key"] for start in replica.start_requests} for replica in replicas]
    assert keys[0].isdisjoint(keys[1])
    assert len(keys[0] | keys[1]) == 8
    assert all(keys)


async def _wait_until_idle(relay: LiveAudioRelay) -> None:
    async def is_idle() -> bool:
        return relay.state == "idle"

    await wait_until(is_idle, description="an idle relay")


async def test_full_buffer_makes_the_client_wait() -> None:
    pending = PendingAudio(max_bytes=1000)
    await pending.put(bytes(900))
    waiting = asyncio.create_task(pending.put(bytes(200)))
    await asyncio.sleep(0)

    assert not waiting.done()
    assert len(await pending.get() or b"") == 900
    await waiting
    assert len(await pending.get() or b"") == 200


async def test_buffer_that_stays_full_is_an_overrun() -> None:
    pending = PendingAudio(max_bytes=1000, put_timeout_seconds=0.05)
    await pending.put(bytes(1000))

    with pytest.raises(AudioOverrun):
        await pending.put(b"x")


async def test_frame_longer_than_the_buffer_is_accepted_while_it_is_empty() -> None:
    pending = PendingAudio(max_bytes=1000)
    await pending.put(bytes(100_000))
    pending.end()

    pieces = []
    while piece := await pending.get():
        pieces.append(len(piece))

    assert pieces == [65_536, 34_464]
