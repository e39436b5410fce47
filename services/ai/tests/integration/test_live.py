"""Live recordings over a real socket: partial text, resumption and storage."""

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from coach_ai.app import build
from coach_ai.config import AiSettings
from coach_ai.deps import Deps
from coach_ai.ports import Transcriber
from coach_ai.speech.audio import SAMPLE_RATE, decode
from coach_ai.speech.live_service import LiveRecordingService, get_live_service
from coach_ai.speech.live_transcriber import LocalLiveTranscriber
from coach_ai.speech.recording_file import MAX_REJECTED_ATTEMPTS, RecordingDirectory
from coach_common.config import Settings
from coach_common.errors import Conflict, NotFound, Unavailable
from coach_common.events.catalog import SessionDeleted, UserDeleted
from coach_common.ids import new_id
from coach_common.service import Service, listen, running
from coach_common.storage import ObjectRejected
from coach_common.testing.fakes import FakeClock, FakeTransport, TokenIssuer
from coach_common.testing.harness import deliver_event, migrated_service, wait_until
from coach_embedded.demo import word_error_rate
from support.sounds import WORDS, speech, write_recording

SERVICE_TOKEN = "a token that only the gateway knows"


@dataclass
class Objects:
    """An object store in memory that can be unavailable."""

    stored: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    uploads: int = 0
    """Uploads that have started."""
    gate: asyncio.Event | None = None
    """Uploads wait for it, if it is set."""

    async def head(self, key: str) -> None:
        if key not in self.stored:
            raise NotFound("Object not found in storage.")

    async def put_if_absent(self, key: str, body: bytes, *, content_type: str) -> None:
        self.uploads += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        if self.stored.setdefault(key, (body, content_type))[0] != body:
            raise Conflict("The key already has another object.")

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
    async with migrated_service(built), running(bare, listener):
        yield Line(url, get_live_service(cast(FastAPI, built.app)), issuer, built)


@dataclass
class Line:
    """A client of the live socket, in the gateway's place."""

    url: str
    live: LiveRecordingService
    issuer: TokenIssuer
    service: Service[Deps]

    def files(self) -> list[str]:
        """The names of the files of recordings in progress."""
        return [path.name for path in self.live.directory.path.glob("*/*")]

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
        start: dict[str, Any] = {
            "type": "start", "token": token, "key": key or _key(user_id),
            "format": "pcm16", "sample_rate": SAMPLE_RATE,
        }  # fmt: skip
        async with connect(self.url, additional_headers=headers, proxy=None) as socket:
            await socket.send(json.dumps(start | fields))
            yield socket, json.loads(await socket.recv())


def _key(user_id: UUID, number: int = 1, extension: str = "wav") -> str:
    return f"uploads/{user_id}/{1_700_000_000_000 + number}_0a1b2c3d.{extension}"


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
    content, content_type = store.stored[_key(user_id)]
    assert (ended["type"], ended["size"], content_type) == ("stored", len(content), "audio/wav")
    assert content[44:] == b"".join(sentences)


@pytest.mark.speech
async def test_partial_arrives_if_the_client_stops_sending_within_a_phrase(
    live: Line, user_id: UUID
) -> None:
    spoken = speech("austen-0930.wav")
    partials: list[str] = []
    async with live.opened(user_id) as (socket, _):
        await socket.send(_raw(spoken[: len(spoken) // 2]))
        async with asyncio.timeout(120):
            partials.append(json.loads(await socket.recv())["text"])
        await _speak(
            socket,
            _raw(np.concatenate([spoken[len(spoken) // 2 :], np.zeros(SAMPLE_RATE, np.float32)])),
            size=SAMPLE_RATE // 2,
            pause=0.01,
        )
        await _until(socket, WORDS["austen-0930.wav"].split()[-1], partials)

    assert all(after.startswith(before) for before, after in itertools.pairwise(partials))
    assert partials[0].lower().startswith("he might even have")


async def test_recording_is_stored_without_a_live_transcriber(
    live: Line, store: Objects, user_id: UUID
) -> None:
    live.live.transcriber = None
    content = _raw(speech("austen-0930.wav"))
    async with live.opened(user_id) as (socket, _):
        await socket.send(content)
        await socket.send(json.dumps({"type": "end"}))
        frame = json.loads(await socket.recv())

    assert frame["type"] == "stored"
    assert store.stored[_key(user_id)][0][44:] == content


@pytest.mark.speech
async def test_growing_webm_recording_yields_partials(
    live: Line, store: Objects, user_id: UUID, tmp_path: Path
) -> None:
    samples = np.concatenate([speech("austen-0880.wav"), np.zeros(SAMPLE_RATE, np.float32)])
    file = write_recording(tmp_path / "a.webm", samples, "webm", "libopus", options={"live": "1"})
    content, key = file.read_bytes(), _key(user_id, extension="webm")
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

    stored, _ = store.stored[_key(user_id)]
    assert stored[44:] == content
    (tmp_path / "a.wav").write_bytes(stored)
    assert len(decode(tmp_path / "a.wav")) == len(content) // 2
    assert live.files() == []


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
    live.live.abandoned_seconds = 0.0
    await live.live.sweep()
    assert store.stored == {}
    await live.live.sweep()
    assert store.stored == {}, "the upload is retried after a delay"
    live.live.now = lambda: time.time() + 6
    await live.live.sweep()

    stored, _ = store.stored[_key(user_id)]
    assert stored[44:] == content
    assert live.files() == []


async def test_ended_recording_is_stored_if_the_gateway_disconnects(
    live: Line, store: Objects, user_id: UUID
) -> None:
    store.gate = asyncio.Event()
    async with live.opened(user_id) as (socket, _):
        await _end_in_upload(socket, store)
        socket.transport.abort()
    store.gate.set()
    await _wait_until_idle(live)

    assert store.stored[_key(user_id)][0][44:] == AUDIO
    assert live.files() == []


async def test_ended_recording_is_resumed_and_stored_once_if_another_socket_interrupts_its_upload(
    live: Line, store: Objects, user_id: UUID
) -> None:
    store.gate = asyncio.Event()
    async with live.opened(user_id) as (first, _):
        await _end_in_upload(first, store)
        async with live.opened(user_id) as (second, started):
            store.gate.set()
            ended = await _end(second)
        async with live.opened(user_id) as (_, again):
            pass

    assert started == {"type": "started", "received": len(AUDIO)}
    assert ended["type"] == "stored"
    assert (again["type"], again["code"]) == ("error", "already_stored")
    assert store.stored[_key(user_id)][0][44:] == AUDIO
    assert live.files() == []


async def _end_in_upload(socket: ClientConnection, store: Objects) -> None:
    """Send a recording and its end, and wait until its upload has started."""
    await socket.send(AUDIO)
    await socket.send(json.dumps({"type": "end"}))

    async def has_started() -> bool:
        return store.uploads == 1

    await wait_until(has_started, description="an upload")


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
    live.live.abandoned_seconds = 0.0
    async with live.opened(user_id) as (socket, _):
        await socket.send(b"\0\1" * 100)
        await (await socket.ping())
        await live.live.sweep()
        assert store.stored == {}
        await _end(socket)

    assert len(store.stored) == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": _key(UUID("0190c8f4-0000-7000-8000-000000000000"))}, "not found"),
        ({"key": "uploads/{user_id}/1.wav"}, "not found"),
        ({"key": "uploads/{user_id}/1700000000000_deadbeef.html"}, "not found"),
        ({"key": "uploads/{user_id}/1700000000000_deadbeef.webm"}, "not found"),
        ({"key": "uploads/{user_id}/1700000000000_deadbeef.wav\n"}, "not found"),
        ({"key": "uploads/{user_id}/../{user_id}/1700000000000_deadbeef.wav"}, "not found"),
        ({"key": "uploads/{user_id}/" + "x" * 2000}, "not found"),
        ({"key": 7}, "not found"),
        ({"session_id": "x"}, "not found"),
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
    if isinstance(fields.get("key"), str):
        fields = fields | {"key": fields["key"].format(user_id=user_id)}
    async with live.opened(user_id, **fields) as (_, answer):
        assert answer["type"] == "error"
        assert words in answer["message"]

    assert store.stored == {}
    assert live.files() == []


async def test_live_socket_requires_service_token(live: Line, user_id: UUID) -> None:
    for token in ("", "wrong", live.issuer.bearer(user_id)["authorization"][7:]):
        with pytest.raises(InvalidStatus):
            async with live.opened(user_id, service_token=token):
                pass


async def test_empty_live_recording_is_rejected(live: Line, store: Objects, user_id: UUID) -> None:
    async with live.opened(user_id) as (socket, _):
        assert (await _end(socket))["message"] == "This recording is empty."

    assert store.stored == {}


AUDIO = bytes(range(250)) * 100


async def _break_off(live: Line, user_id: UUID, content: bytes = AUDIO, **fields: Any) -> None:
    """Send audio and disconnect without `end`."""
    async with live.opened(user_id, **fields) as (socket, started):
        assert started["type"] == "started", started
        await socket.send(content)
        await (await socket.ping())
        socket.transport.abort()
    await _wait_until_idle(live)


async def _wait_until_idle(live: Line) -> None:
    async def is_idle() -> bool:
        return not live.live._tasks

    await wait_until(is_idle, description="no connection")


async def test_stored_recording_is_never_written_again(
    live: Line, store: Objects, user_id: UUID
) -> None:
    key = _key(user_id)
    store.stored[key] = (b"confirmed long ago", "audio/wav")
    async with live.opened(user_id) as (_, answer):
        assert (answer["type"], answer["code"]) == ("error", "already_stored")

    assert store.stored[key][0] == b"confirmed long ago"
    assert live.files() == []


async def test_resume_after_the_sweep_adds_nothing(
    live: Line, store: Objects, user_id: UUID
) -> None:
    await _break_off(live, user_id)
    live.live.abandoned_seconds = 0.0
    await live.live.sweep()
    stored = store.stored[_key(user_id)]

    async with live.opened(user_id) as (_, answer):
        assert (answer["type"], answer["code"]) == ("error", "already_stored")
    assert store.stored[_key(user_id)] == stored
    assert stored[0][44:] == AUDIO


async def test_object_that_appeared_during_the_recording_is_kept(
    live: Line, store: Objects, user_id: UUID
) -> None:
    async with live.opened(user_id) as (socket, _):
        await socket.send(AUDIO)
        store.stored[_key(user_id)] = (b"uploaded by another client", "audio/wav")
        assert (await _end(socket))["code"] == "already_stored"

    assert store.stored[_key(user_id)][0] == b"uploaded by another client"
    assert live.files() == []


async def test_recording_is_kept_if_the_store_is_unavailable_at_its_end(
    live: Line, store: Objects, user_id: UUID
) -> None:
    store.failures = [Unavailable("Unavailable.")]
    async with live.opened(user_id) as (socket, _):
        await socket.send(AUDIO)
        assert (await _end(socket))["code"] == "live_upload_delayed"
    assert len(live.files()) == 2

    live.live.abandoned_seconds = 0.0
    live.live.now = lambda: time.time() + 6
    await live.live.sweep()
    assert store.stored[_key(user_id)][0][44:] == AUDIO


async def test_recording_that_the_store_rejects_is_given_up(
    live: Line, store: Objects, user_id: UUID
) -> None:
    await _break_off(live, user_id)
    live.live.abandoned_seconds = 0.0
    attempts = 0
    while live.files():
        attempts += 1
        assert attempts <= MAX_REJECTED_ATTEMPTS
        store.failures = [ObjectRejected("No.")]
        live.live.now = lambda: time.time() + 400 * attempts  # noqa: B023
        await live.live.sweep()

    assert (attempts, store.stored) == (MAX_REJECTED_ATTEMPTS, {})


async def test_recording_is_given_up_after_24_hours(
    live: Line, store: Objects, user_id: UUID
) -> None:
    await _break_off(live, user_id)
    live.live.abandoned_seconds = 0.0
    store.failures = [Unavailable("Unavailable."), Unavailable("Unavailable.")]
    live.live.now = lambda: time.time() + 23 * 3600
    await live.live.sweep()
    assert len(live.files()) == 2

    live.live.now = lambda: time.time() + 25 * 3600
    await live.live.sweep()
    assert (live.files(), store.stored) == ([], {})


async def test_third_recording_of_a_user_is_rejected(live: Line, user_id: UUID) -> None:
    async with (
        live.opened(user_id, key=_key(user_id, 1)) as (_, first),
        live.opened(user_id, key=_key(user_id, 2)) as (_, second),
        live.opened(user_id, key=_key(user_id, 3)) as (_, third),
        live.opened(user_id, key=_key(user_id, 2)) as (_, resumed),
        live.opened(other := new_id(), key=_key(other)) as (_, of_another),
    ):
        kinds = [one["type"] for one in (first, second, resumed, of_another)]

    assert kinds == ["started"] * 4
    assert third["code"] == "too_many_live_recordings"


async def test_recording_without_audio_ends_and_can_be_resumed(live: Line, user_id: UUID) -> None:
    live.live.idle_seconds = 0.3
    async with live.opened(user_id) as (socket, _):
        await socket.send(AUDIO)
        async with asyncio.timeout(10):
            while (frame := json.loads(await socket.recv()))["type"] == "partial":
                pass
    assert (frame["type"], frame["code"]) == ("error", "live_idle")

    async with live.opened(user_id) as (_, started):
        assert started == {"type": "started", "received": len(AUDIO)}


async def test_audio_keeps_a_recording_from_being_idle(
    live: Line, store: Objects, user_id: UUID
) -> None:
    live.live.idle_seconds = 0.6
    async with live.opened(user_id) as (socket, _):
        for _ in range(8):
            await socket.send(b"\0\1" * 50)
            await asyncio.sleep(0.1)
        assert (await _end(socket))["type"] == "stored"


async def test_recordings_that_are_not_stored_are_bounded_per_user(
    live: Line, user_id: UUID
) -> None:
    live.live.directory = RecordingDirectory(
        live.live.directory.path, max_user_bytes=60_000, max_user_recordings=3
    )
    await _break_off(live, user_id, key=_key(user_id, 1))
    await _break_off(live, user_id, key=_key(user_id, 2))
    async with live.opened(user_id, key=_key(user_id, 3)) as (socket, _):
        await socket.send(AUDIO)
        async with asyncio.timeout(10):
            while (frame := json.loads(await socket.recv()))["type"] == "partial":
                pass
    assert frame["code"] == "live_too_long"
    await _break_off(live, user_id, b"\0\1" * 50, key=_key(user_id, 3))

    async with live.opened(user_id, key=_key(user_id, 4)) as (_, answer):
        assert answer["code"] == "live_storage_full"
    async with live.opened(user_id, key=_key(user_id, 1)) as (_, answer):
        assert answer == {"type": "started", "received": len(AUDIO)}
    async with live.opened(other := new_id(), key=_key(other)) as (_, answer):
        assert answer["type"] == "started"


async def test_recordings_of_a_deleted_user_are_erased(
    live: Line, store: Objects, user_id: UUID
) -> None:
    other = new_id()
    await _break_off(live, user_id)
    await _break_off(live, other, key=_key(other))
    async with live.opened(user_id, key=_key(user_id, 2)) as (socket, _):
        await socket.send(AUDIO)
        await (await socket.ping())
        await deliver_event(live.service, UserDeleted(user_id=user_id))
        await live.live.sweep()
        assert [path.parent.name for path in live.live.directory.path.glob("*/*.audio")] == [
            str(other)
        ]
    async with live.opened(user_id, key=_key(user_id, 3)) as (_, answer):
        assert answer["code"] == "recording_not_found"
    assert store.stored == {}


async def test_recording_of_a_deleted_session_is_erased(
    live: Line, store: Objects, user_id: UUID
) -> None:
    session_id = new_id()
    await _break_off(live, user_id, session_id=str(session_id))
    await deliver_event(
        live.service, SessionDeleted(session_id=session_id, user_id=user_id, keys=[])
    )
    live.live.abandoned_seconds = 0.0
    await live.live.sweep()

    assert (live.files(), store.stored) == ([], {})


async def test_shutdown_stores_every_recording(live: Line, store: Objects, user_id: UUID) -> None:
    await _break_off(live, user_id)
    worker = asyncio.create_task(live.live.store_abandoned())
    await asyncio.sleep(0)
    worker.cancel()
    await asyncio.wait({worker})

    assert worker.cancelled()
    assert store.stored[_key(user_id)][0][44:] == AUDIO
    assert live.files() == []


async def test_crash_of_a_recording_is_reported_as_an_error(
    live: Line, store: Objects, user_id: UUID
) -> None:
    store.failures = [KeyError("a bug")]
    async with live.opened(user_id) as (socket, _):
        await socket.send(AUDIO)
        assert (await _end(socket))["code"] == "internal"
    assert len(live.files()) == 2


@pytest.mark.parametrize("target", ["directory", "user directory", "file", "description"])
async def test_symbolic_links_are_not_followed(
    live: Line, store: Objects, user_id: UUID, tmp_path: Path, target: str
) -> None:
    victim = tmp_path / "victim"
    directory = live.live.directory.path
    name = _key(user_id).rpartition("/")[2]
    if target in ("directory", "user directory"):
        victim.mkdir()
        link = directory if target == "directory" else directory / str(user_id)
    else:
        victim.write_bytes(b"private")
        suffix = ".audio" if target == "file" else ".json"
        link = directory / str(user_id) / f"{name}{suffix}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(victim)

    async with live.opened(user_id) as (socket, answer):
        if target == "description":
            await socket.send(AUDIO)
            assert (await _end(socket))["type"] == "stored"
        else:
            assert answer["code"] == "live_unavailable"

    assert not victim.is_dir() or [*victim.iterdir()] == []
    assert victim.is_dir() or victim.read_bytes() == b"private"


async def test_directory_is_private(live: Line, user_id: UUID) -> None:
    directory = live.live.directory.path
    directory.mkdir(parents=True)
    os.chmod(directory, 0o755)  # noqa: PTH101
    await _break_off(live, user_id)

    modes = {path.stat().st_mode & 0o777 for path in (directory, *directory.glob("*"))}
    files = {path.stat().st_mode & 0o777 for path in directory.glob("*/*")}
    assert (modes, files) == ({0o700}, {0o600})


async def test_incomplete_files_of_a_crash_are_deleted(live: Line, user_id: UUID) -> None:
    await _break_off(live, user_id)
    directory = live.live.directory.path / str(user_id)
    for name in ("1700000000009_0a1b2c3d.wav.json", "1700000000008_0a1b2c3d.wav.audio"):
        (directory / name).touch()
        os.utime(directory / name, (0, 0))
    await live.live.sweep()

    assert sorted(live.files()) == sorted(
        f"{_key(user_id).rpartition('/')[2]}{suffix}" for suffix in (".audio", ".json")
    )


@pytest.mark.speech
async def test_end_of_a_recording_keeps_the_child_process_of_others(
    live: Line, tmp_path: Path
) -> None:
    transcriber = live.live.transcriber
    assert isinstance(transcriber, LocalLiveTranscriber)
    path, other_path = tmp_path / "one.audio", tmp_path / "two.audio"
    for each in (path, other_path):
        each.write_bytes(_raw(speech("austen-0930.wav")))
    options: dict[str, Any] = {"sample_rate": SAMPLE_RATE, "start": 0.0, "language": None}
    await transcriber.decode(path, **options)
    pid = transcriber.pid

    ended = asyncio.create_task(transcriber.decode(other_path, **options))
    other = asyncio.create_task(transcriber.decode(path, **options))
    await asyncio.sleep(0.05)
    ended.cancel()
    await asyncio.wait({ended})
    await other

    assert ended.cancelled()
    assert transcriber.pid == pid is not None
