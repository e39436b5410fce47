"""The relay of live audio: everything arrives, in order and once, whatever breaks on the way."""

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
from coach_gateway.live import LiveAudio

SERVICE_TOKEN = "a token between services"


@dataclass
class Ai:
    """What ai does at `/internal/live`, in memory; it may break, and be away."""

    port: int
    kept: dict[str, bytearray] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    breaks_after: int | None = None
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
        self.asked.append(start)
        if start["sample_rate"] == 1:
            await socket.send(json.dumps({"type": "error", "message": "No.", "code": "no"}))
            return
        kept = self.kept.setdefault(start["key"], bytearray())
        await socket.send(json.dumps({"type": "started", "received": len(kept)}))
        async for message in socket:
            if isinstance(message, str):
                self.stored[start["key"]] = bytes(kept)
                await socket.send(json.dumps({"type": "stored", "size": len(kept)}))
                return
            kept += message
            if self.breaks_after is not None and len(kept) >= self.breaks_after:
                self.breaks_after = None
                socket.transport.abort()
                return
            await socket.send(json.dumps({"type": "partial", "text": f"{len(kept)}"}))


@dataclass
class Phone:
    """What the client is told, and what media was asked."""

    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def say(self, kind: str, **fields: Any) -> None:
        self.said.append((kind, fields))

    async def ask(self, upstream: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        self.asked.append((path, body))
        return {"key": "uploads/u/1.wav"} if path.endswith("presign") else {}

    async def meant(self, frame: dict[str, Any]) -> str:
        if frame.get("session_id") == "gone":
            raise NotFound("Session not found")
        return "s1"

    async def until(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while kind not in [name for name, _ in self.said]:
                await asyncio.sleep(0.01)
        return next(fields for name, fields in self.said if name == kind)

    async def until_confirmed(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while "/upload/confirm" not in [path for path, _ in self.asked]:
                await asyncio.sleep(0.01)
        return self.asked[-1][1]


@pytest.fixture
async def ai() -> AsyncIterator[Ai]:
    ai = Ai(free_port())
    await ai.start()
    yield ai
    await ai.stop()


@pytest.fixture
def phone() -> Phone:
    return Phone()


@pytest.fixture
async def live(ai: Ai, phone: Phone) -> AsyncIterator[LiveAudio]:
    settings = GatewaySettings(service_token=SERVICE_TOKEN, ai_url=f"http://127.0.0.1:{ai.port}")
    live = LiveAudio(settings, utc_now, phone.ask, phone.say, phone.meant, return_seconds=0.05)
    yield live
    await live.close()


def _start(live: LiveAudio, **fields: Any) -> None:
    frame = {"type": "audio_start", "format": "pcm16", "sample_rate": 16_000}
    live.take(frame | fields, token="t")


CONTENT = bytes(range(256)) * 400


def _speak(live: LiveAudio, content: bytes, size: int = 4096) -> None:
    for begin in range(0, len(content), size):
        live.take({"type": "audio", "bytes": content[begin : begin + size]}, token="t")


async def test_what_is_said_at_once_is_kept_stored_and_confirmed_for_its_session(
    live: LiveAudio, ai: Ai, phone: Phone
) -> None:
    _start(live)
    _speak(live, CONTENT)
    live.take({"type": "audio_end"}, token="t")

    confirmed = await phone.until_confirmed()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}
    assert (confirmed["key"], confirmed["session_id"]) == ("uploads/u/1.wav", "s1")
    presigned = {"content_type": "audio/wav", "extension": "wav", "session_id": "s1"}
    assert phone.asked[0] == ("/upload/s3-presign", presigned)
    started = await phone.until("audio_started")
    assert started == {"session_id": "s1", "key": "uploads/u/1.wav", "received": 0}
    assert ai.asked[0]["token"] == "t"
    assert (await phone.until("partial"))["text"] == "4096"


@pytest.mark.parametrize("has_ended", [True, False])
async def test_an_ai_that_breaks_gets_again_what_it_did_not_have(
    live: LiveAudio, ai: Ai, phone: Phone, has_ended: bool
) -> None:
    ai.breaks_after = 50_000
    _start(live)
    _speak(live, CONTENT)
    if not has_ended:
        async with asyncio.timeout(30):
            while len(ai.asked) < 2:
                await asyncio.sleep(0.01)
    live.take({"type": "audio_end"}, token="t")

    await phone.until_confirmed()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}
    assert len(ai.asked) == 2


async def test_an_ai_that_starts_again_goes_on(live: LiveAudio, ai: Ai, phone: Phone) -> None:
    _start(live)
    _speak(live, CONTENT[:50_000])
    await phone.until("partial")
    await ai.stop()
    _speak(live, CONTENT[50_000:])
    await ai.start()
    live.take({"type": "audio_end"}, token="t")

    await phone.until_confirmed()

    assert ai.stored == {"uploads/u/1.wav": CONTENT}


async def test_a_phone_that_comes_back_goes_on_with_its_key(
    live: LiveAudio, ai: Ai, phone: Phone
) -> None:
    ai.kept["uploads/u/0.wav"] = bytearray(CONTENT[:50_000])
    _start(live, key="uploads/u/0.wav")
    started = await phone.until("audio_started")
    _speak(live, CONTENT[started["received"] :])
    live.take({"type": "audio_end"}, token="t")

    await phone.until_confirmed()

    assert started["received"] == 50_000
    assert ai.stored == {"uploads/u/0.wav": CONTENT}
    assert [path for path, _ in phone.asked] == ["/upload/confirm"]


@pytest.mark.parametrize(
    "fields", [{"format": "mp3"}, {"format": None}, {"session_id": "gone"}, {"sample_rate": 1}]
)
async def test_what_cannot_be_taken_is_said_and_the_next_may_begin(
    live: LiveAudio, ai: Ai, phone: Phone, fields: dict[str, Any]
) -> None:
    _start(live, **fields)
    await phone.until("error")

    _start(live)
    assert (await phone.until("audio_started"))["received"] == 0


async def test_an_ai_that_is_away_is_said(live: LiveAudio, ai: Ai, phone: Phone) -> None:
    await ai.stop()

    _start(live)

    assert (await phone.until("error"))["code"] == "live_unavailable"


async def test_frames_out_of_turn_are_refused(live: LiveAudio, phone: Phone) -> None:
    with pytest.raises(Conflict):
        live.take({"type": "audio", "bytes": b"x"}, token="t")
    with pytest.raises(Conflict):
        live.take({"type": "audio_end"}, token="t")
    _start(live)
    with pytest.raises(Conflict):
        _start(live)


async def test_a_phone_that_floods_is_told_so(live: LiveAudio, phone: Phone) -> None:
    _start(live)

    with pytest.raises(CoachError, match="faster"):
        for _ in range(100_000):
            live.take({"type": "audio", "bytes": b"x"}, token="t")
