"""Live recordings over a real socket: partial text, resumption and storage."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from coach_ai.app import build
from coach_ai.config import AiSettings
from coach_ai.ports import Transcriber
from coach_ai.speech.audio import SAMPLE_RATE, decode
from coach_ai.speech.live_service import LiveRecordingService
from coach_common.config import Settings
from coach_common.errors import Unavailable
from coach_common.service import Service, listen, running
from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_embedded.demo import word_error_rate
from support.sounds import WORDS, speech, write_recording

SERVICE_TOKEN = "a token that only the gateway knows"


@dataclass
class Objects:
    """An object store in memory that can be unavailable."""

    stored: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)

    async def put(self, key: str, body: bytes, *, content_type: str) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.stored[key] = (body, content_type)

    async def check(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def store() -> Objects:
    return Objects()


@pytest.fixture
async def live(
    settings: AiSettings,
    transport: FakeTransport,
    clock: FakeClock,
    issuer: TokenIssuer,
    transcriber: Transcriber,
    coach: Any,
    store: Objects,
    tmp_path: Path,
) -> AsyncIterator["Line"]:
    chosen = settings.model_copy(
        update={"service_token": SERVICE_TOKEN, "live_dir": tmp_path / "live"}
    )
    built = build(
        chosen, transport, clock=clock, tokens=issuer.verifier, objects=store,  # type: ignore[arg-type]
        transcriber=transcriber, scorer=coach, chat=coach,
    )  # fmt: skip
    listener = listen("127.0.0.1", 0)
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}/internal/live"
    bare = Service("live", built.app, Settings(shutdown_seconds=1), FakeTransport(), deps=None)
    async with running(bare, listener):
        yield Line(url, built.app.state.live, issuer)  # type: ignore[attr-defined]
    await built.app.state.live.transcriber.close()  # type: ignore[attr-defined]


@dataclass
class Line:
    """A client of the live socket, in the gateway's place."""

    url: str
    live: LiveRecordingService
    issuer: TokenIssuer

    @asynccontextmanager
    async def opened(
        self,
        user_id: UUID,
        *,
        key: str | None = None,
        service_token: str = SERVICE_TOKEN,
        **fields: Any,
    ) -> AsyncIterator[tuple[ClientConnection, dict[str, Any]]]:
        headers = {"authorization": f"Bearer {service_token}"}
        token = self.issuer.bearer(user_id)["authorization"].removeprefix("Bearer ")
        start = {
            "type": "start", "token": token, "key": key or f"uploads/{user_id}/1.wav",
            "format": "pcm16", "sample_rate": SAMPLE_RATE,
        }  # fmt: skip
        async with connect(self.url, additional_headers=headers, proxy=None) as socket:
            await socket.send(json.dumps(start | fields))
            yield socket, json.loads(await socket.recv())


def _raw(samples: np.ndarray, rate: int = SAMPLE_RATE) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


async def _speak(socket: ClientConnection, content: bytes, *, size: int, pause: float) -> None:
    for begin in range(0, len(content), size):
        await socket.send(content[begin : begin + size])
        await asyncio.sleep(pause)


async def _until(socket: ClientConnection, word: str, partials: list[str]) -> None:
    async with asyncio.timeout(120):
        while not partials or not partials[-1].lower().rstrip(" .,!?").endswith(word):
            frame = json.loads(await socket.recv())
            assert frame["type"] == "partial"
            partials.append(frame["text"])


async def _end(socket: ClientConnection) -> dict[str, Any]:
    await socket.send(json.dumps({"type": "end"}))
    async with asyncio.timeout(60):
        while (frame := json.loads(await socket.recv()))["type"] == "partial":
            pass
    return dict(frame)


@pytest.mark.speech
async def test_partials_arrive_during_speech_and_never_shrink(
    live: Line, store: Objects, user_id: UUID
) -> None:
    pause = np.zeros(SAMPLE_RATE, np.float32)
    sentences = [_raw(np.concatenate([speech(name), pause])) for name in WORDS]
    partials: list[str] = []
    async with live.opened(user_id) as (socket, started):
        for sentence, words in zip(sentences, WORDS.values(), strict=True):
            await _speak(socket, sentence, size=SAMPLE_RATE // 2, pause=0.01)
            await _until(socket, words.split()[-1], partials)
        ended = await _end(socket)

    assert started == {"type": "started", "received": 0}
    assert len(partials) >= len(sentences)
    assert all(after.startswith(before) for before, after in itertools.pairwise(partials))
    assert word_error_rate(" ".join(WORDS.values()), partials[-1]) <= 0.15
    content, content_type = store.stored[f"uploads/{user_id}/1.wav"]
    assert (ended["type"], ended["size"], content_type) == ("stored", len(content), "audio/wav")
    assert content[44:] == b"".join(sentences)


@pytest.mark.speech
async def test_growing_webm_recording_yields_partials(
    live: Line, store: Objects, user_id: UUID, tmp_path: Path
) -> None:
    samples = np.concatenate([speech("austen-0880.wav"), np.zeros(SAMPLE_RATE, np.float32)])
    file = write_recording(tmp_path / "a.webm", samples, "webm", "libopus", options={"live": "1"})
    content, key = file.read_bytes(), f"uploads/{user_id}/1.webm"
    partials: list[str] = []
    async with live.opened(user_id, key=key, format="webm") as (socket, _):
        await _speak(socket, content, size=len(content) // 8, pause=0.2)
        await _until(socket, "young man", partials)
        await _end(socket)

    assert store.stored[key] == (content, "audio/webm")


async def test_live_recording_resumes_at_received_bytes(
    live: Line, store: Objects, user_id: UUID, tmp_path: Path
) -> None:
    content = _raw(speech("austen-0930.wav"))
    first, kept = content[:40_000], 40_000
    async with live.opened(user_id) as (socket, _):
        await _speak(socket, first, size=1_000, pause=0)
        socket.transport.abort()
    async with live.opened(user_id) as (socket, started):
        kept = started["received"]
        await _speak(socket, content[kept:], size=8_000, pause=0)
        await _end(socket)

    stored, _ = store.stored[f"uploads/{user_id}/1.wav"]
    assert stored[44:] == content
    (tmp_path / "a.wav").write_bytes(stored)
    assert len(decode(tmp_path / "a.wav")) == len(content) // 2
    assert not [*live.live.directory.iterdir()]


async def test_received_audio_survives_a_disconnect(live: Line, user_id: UUID) -> None:
    content = _raw(speech("austen-0930.wav"))
    async with live.opened(user_id) as (socket, _):
        await socket.send(content[:64_000])
        pong = await socket.ping()
        await pong
        socket.transport.abort()
    async with live.opened(user_id) as (_, started):
        assert started["received"] == 64_000


async def test_abandoned_recording_is_uploaded_after_store_outage(
    live: Line, store: Objects, user_id: UUID
) -> None:
    content = _raw(speech("austen-0930.wav"))
    store.failures = [Unavailable("Unavailable.")]
    async with live.opened(user_id) as (socket, _):
        await socket.send(content)
        await (await socket.ping())
        socket.transport.abort()
    live.live.abandoned_seconds = 0.2
    sweeping = asyncio.create_task(live.live.store_abandoned())
    async with asyncio.timeout(30):
        while not store.stored:
            await asyncio.sleep(0.05)
    sweeping.cancel()

    stored, _ = store.stored[f"uploads/{user_id}/1.wav"]
    assert stored[44:] == content
    assert not [*live.live.directory.iterdir()]


async def test_second_connection_replaces_the_first(live: Line, user_id: UUID) -> None:
    async with live.opened(user_id) as (first, _):
        await first.send(b"\0\1" * 100)
        await (await first.ping())
        async with live.opened(user_id) as (_, started):
            with pytest.raises(ConnectionClosed):
                async with asyncio.timeout(10):
                    await first.recv()

    assert started == {"type": "started", "received": 200}


async def test_active_recording_is_not_treated_as_abandoned(
    live: Line, store: Objects, user_id: UUID
) -> None:
    live.live.abandoned_seconds = 0.05
    async with live.opened(user_id) as (socket, _):
        await socket.send(b"\0\1" * 100)
        await (await socket.ping())
        sweeping = asyncio.create_task(live.live.store_abandoned())
        await asyncio.sleep(0.5)
        assert store.stored == {}
        await _end(socket)
        sweeping.cancel()

    assert len(store.stored) == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": "uploads/0190c8f4-0000-7000-8000-000000000000/1.wav"}, "not found"),
        ({"format": "mp3"}, "one of"),
        ({"sample_rate": 1}, "sample_rate must be"),
        ({"sample_rate": None}, "sample_rate must be"),
        ({"token": "nonsense"}, ""),
        ({"type": "end"}, "first frame must be `start`"),
    ],
)
async def test_invalid_start_frame_is_rejected(
    live: Line, store: Objects, user_id: UUID, fields: dict[str, Any], words: str
) -> None:
    async with live.opened(user_id, **fields) as (_, answer):
        assert answer["type"] == "error"
        assert words in answer["message"]

    assert store.stored == {}


async def test_live_socket_requires_service_token(live: Line, user_id: UUID) -> None:
    for token in ("", "wrong", live.issuer.bearer(user_id)["authorization"][7:]):
        with pytest.raises(InvalidStatus):
            async with live.opened(user_id, service_token=token):
                pass


async def test_empty_live_recording_is_rejected(live: Line, store: Objects, user_id: UUID) -> None:
    async with live.opened(user_id) as (socket, _):
        assert (await _end(socket))["message"] == "This recording is empty."

    assert store.stored == {}
