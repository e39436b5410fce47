"""Live audio relay: all audio arrives once and in order, across broken connections."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from coach_common.clock import utc_now
from coach_common.errors import CoachError, Conflict, NotFound
from coach_common.testing.servers import free_port
from coach_gateway.config import GatewaySettings
from coach_gateway.live_audio import LiveAudioRelay
from coach_gateway.sockets.frames import AudioEndFrame, AudioStartFrame, BinaryFrame, ServerFrame

SERVICE_TOKEN = "a token between services"


@dataclass
class StubAiService:
    """`/internal/live` of ai in memory. May disconnect or be stopped."""

    port: int
    received: dict[str, bytearray] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    start_requests: list[dict[str, Any]] = field(default_factory=list)
    disconnects_after: int | None = None
    server: Server | None = None

    async def start(self) -> None:
        self.server = await serve(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        assert socket.request.path == "/internal/live"
        assert socket.request.headers["authorization"] == f"Bearer {SERVICE_TOKEN}"
        start = json.loads(await socket.recv())
        self.start_requests.append(start)
        if start["sample_rate"] == 1:
            await socket.send(json.dumps({"type": "error", "message": "No.", "code": "no"}))
            return
        kept = self.received.setdefault(start["key"], bytearray())
        await socket.send(json.dumps({"type": "started", "received": len(kept)}))
        async for message in socket:
            if isinstance(message, str):
                self.stored[start["key"]] = bytes(kept)
                await socket.send(json.dumps({"type": "stored", "size": len(kept)}))
                return
            kept += message
            if self.disconnects_after is not None and len(kept) >= self.disconnects_after:
                self.disconnects_after = None
                socket.transport.abort()
                return
            await socket.send(json.dumps({"type": "partial", "text": f"{len(kept)}"}))


@dataclass
class FakeClient:
    """Records frames to the client and calls to media."""

    frames: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def send_frame(self, frame: ServerFrame) -> None:
        fields = frame.model_dump()
        self.frames.append((fields.pop("type"), fields))

    async def call_service(
        self, upstream: str, method: str, path: str, **body: Any
    ) -> dict[str, Any]:
        self.calls.append((path, body))
        return {"key": "uploads/u/1.wav"} if path.endswith("presign") else {}

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
async def ai() -> AsyncIterator[StubAiService]:
    ai = StubAiService(free_port())
    await ai.start()
    yield ai
    await ai.stop()


@pytest.fixture
def phone() -> FakeClient:
    return FakeClient()


@pytest.fixture
async def live(ai: StubAiService, phone: FakeClient) -> AsyncIterator[LiveAudioRelay]:
    settings = GatewaySettings(service_token=SERVICE_TOKEN, ai_url=f"http://127.0.0.1:{ai.port}")
    live = LiveAudioRelay(
        settings,
        utc_now,
        phone.call_service,
        phone.send_frame,
        phone.resolve_session,
        reconnect_delay_seconds=0.05,
    )
    yield live
    await live.close()


def _start(live: LiveAudioRelay, **fields: Any) -> None:
    frame = {"type": "audio_start", "format": "pcm16", "sample_rate": 16_000} | fields
    live.handle_frame(AudioStartFrame(**frame), token="t")


CONTENT = bytes(range(256)) * 400


def _send_audio(live: LiveAudioRelay, content: bytes, size: int = 4096) -> None:
    for begin in range(0, len(content), size):
        live.handle_frame(BinaryFrame(content[begin : begin + size]), token="t")


async def test_audio_is_stored_and_confirmed_for_its_session(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    _start(live)
    _send_audio(live, CONTENT)
    live.handle_frame(AudioEndFrame(type="audio_end"), token="t")

    confirmed = await phone.wait_for_confirmation()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}
    assert (confirmed["key"], confirmed["session_id"]) == ("uploads/u/1.wav", "s1")
    presigned = {"content_type": "audio/wav", "extension": "wav", "session_id": "s1"}
    assert phone.calls[0] == ("/upload/s3-presign", presigned)
    started = await phone.wait_for("audio_started")
    assert started == {"session_id": "s1", "key": "uploads/u/1.wav", "received": 0}
    assert ai.start_requests[0]["token"] == "t"
    assert (await phone.wait_for("partial"))["text"] == "4096"


@pytest.mark.parametrize("has_ended", [True, False])
async def test_lost_audio_is_sent_again_after_a_broken_connection(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient, has_ended: bool
) -> None:
    ai.disconnects_after = 50_000
    _start(live)
    _send_audio(live, CONTENT)
    if not has_ended:
        async with asyncio.timeout(30):
            while len(ai.start_requests) < 2:
                await asyncio.sleep(0.01)
    live.handle_frame(AudioEndFrame(type="audio_end"), token="t")

    await phone.wait_for_confirmation()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}
    assert len(ai.start_requests) == 2


async def test_recording_continues_after_ai_restarts(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    _start(live)
    _send_audio(live, CONTENT[:50_000])
    await phone.wait_for("partial")
    await ai.stop()
    _send_audio(live, CONTENT[50_000:])
    await ai.start()
    live.handle_frame(AudioEndFrame(type="audio_end"), token="t")

    await phone.wait_for_confirmation()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}


async def test_client_resumes_a_recording_by_key(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient
) -> None:
    ai.received["uploads/u/0.wav"] = bytearray(CONTENT[:50_000])
    _start(live, key="uploads/u/0.wav")
    started = await phone.wait_for("audio_started")
    _send_audio(live, CONTENT[started["received"] :])
    live.handle_frame(AudioEndFrame(type="audio_end"), token="t")

    await phone.wait_for_confirmation()

    assert started["received"] == 50_000
    assert ai.stored == {"uploads/u/0.wav": CONTENT}
    assert [path for path, _ in phone.calls] == ["/upload/confirm"]


@pytest.mark.parametrize("fields", [{"session_id": "gone"}, {"sample_rate": 1}])
async def test_rejected_start_returns_error_and_next_start_works(
    live: LiveAudioRelay, ai: StubAiService, phone: FakeClient, fields: dict[str, Any]
) -> None:
    _start(live, **fields)
    await phone.wait_for("error")

    _start(live)
    assert (await phone.wait_for("audio_started"))["received"] == 0


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
        live.handle_frame(BinaryFrame(b"x"), token="t")
    with pytest.raises(Conflict):
        live.handle_frame(AudioEndFrame(type="audio_end"), token="t")
    _start(live)
    with pytest.raises(Conflict):
        _start(live)


async def test_audio_faster_than_the_queue_is_rejected(
    live: LiveAudioRelay, phone: FakeClient
) -> None:
    _start(live)

    with pytest.raises(CoachError, match="faster"):
        for _ in range(100_000):
            live.handle_frame(BinaryFrame(b"x"), token="t")
