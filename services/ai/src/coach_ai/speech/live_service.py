"""Live recordings over `/internal/live`: stored while they arrive, transcribed continuously.

The gateway opens one WebSocket per recording. It authenticates with SERVICE_TOKEN, and the user
with the access token in the first frame:

    -> start {token, key, format, sample_rate?}
    <- started {received}      bytes stored so far; a resuming client continues from there
    -> binary frames           audio
    <- partial {text}          committed text so far
    -> end
    <- stored {size}           the recording is in the object store

The uploaded recording is confirmed and transcribed like any other. A recording whose connection
broke is uploaded after `abandoned_seconds` without new audio.
"""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter
from prometheus_client import Counter, Gauge
from starlette.websockets import WebSocket, WebSocketDisconnect

from coach_ai.deps import Deps
from coach_ai.domain import CannotTranscribe
from coach_ai.speech.local_agreement import Hypothesis, LocalAgreement
from coach_ai.speech.recording_file import CONTENT_TYPES, RecordingFile, RecordingInfo
from coach_common import logs
from coach_common.credentials import is_service_token
from coach_common.errors import CoachError, NotFound, TooManyRequests, Unavailable
from coach_common.tokens import AccessTokenVerifier

log = logs.get_logger(__name__)

LIVE_RECORDINGS = Gauge("coach_ai_live_recordings", "Live recordings in progress.")
PARTIALS = Counter("coach_ai_live_partials", "Partial texts sent to clients.")
LIVE_STORED = Counter(
    "coach_ai_live_stored", "Live recordings uploaded to the object store, by reason.", ["reason"]
)

ABANDONED_SECONDS = 60.0
_MAX_CONCURRENT = 64
_START_TIMEOUT_SECONDS = 10.0
_MIN_DECODE_INTERVAL_SECONDS = 0.1
_RETRY_SECONDS = 5.0
_POLICY_VIOLATION = 1008

router = APIRouter()


class LiveTranscriber(Protocol):
    """Transcribes a recording that is still growing."""

    async def decode(
        self, recording: Path, *, sample_rate: int | None, start: float, language: str | None
    ) -> tuple[Hypothesis, str | None] | None:
        """Return the words from `start` on and the language if it is certain.

        Returns None if there is nothing new.
        """


@dataclass(slots=True)
class LiveRecordingService:
    """Serves the live recordings of a process.

    `directory` holds the recordings in progress. `_tasks` has one task per object key.
    """

    deps: Deps
    transcriber: LiveTranscriber
    token_verifier: AccessTokenVerifier
    service_token: str
    directory: Path
    abandoned_seconds: float = ABANDONED_SECONDS
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection until it ends. A later connection for the same key replaces it."""
        presented = socket.headers.get("authorization", "").removeprefix("Bearer ")
        if not is_service_token(presented, self.service_token):
            await socket.close(_POLICY_VIOLATION)
            return
        await socket.accept()
        with suppress(WebSocketDisconnect, RuntimeError):
            try:
                info = await self._read_start(socket)
                await self._replace_previous(info.key)
                task = asyncio.create_task(self._serve_recording(socket, info))
                self._tasks[info.key] = task
                try:
                    await asyncio.wait({task})
                finally:
                    task.cancel()
                    if self._tasks.get(info.key) is task:
                        del self._tasks[info.key]
                if not task.cancelled():
                    task.result()
            except CoachError as error:
                await socket.send_json({"type": "error", "message": str(error), "code": error.code})
            await socket.close()

    async def store_abandoned(self) -> None:
        """Upload recordings whose connection broke. Runs until cancelled."""
        while True:
            await asyncio.sleep(min(5.0, self.abandoned_seconds))
            for file in await asyncio.to_thread(
                RecordingFile.lock_abandoned, self.directory, self.abandoned_seconds
            ):
                try:
                    await self._upload(file, "abandoned")
                except CoachError as error:
                    log.warning("live.upload_failed", reason=str(error))
                finally:
                    file.unlock()

    async def _read_start(self, socket: WebSocket) -> RecordingInfo:
        """Return what the first frame describes, after authenticating its user."""
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                frame = await socket.receive_json()
        except (TimeoutError, ValueError, KeyError):
            frame = None
        if not isinstance(frame, dict) or frame.get("type") != "start":
            raise CannotTranscribe("The first frame must be `start`.")
        identity = await self.token_verifier.verify(str(frame.get("token")))
        info = RecordingInfo.parse(frame.get("key"), frame.get("format"), frame.get("sample_rate"))
        if not info.key.startswith(f"uploads/{identity.user_id}/"):
            raise NotFound("Recording not found")
        if len(self._tasks) >= _MAX_CONCURRENT:
            raise TooManyRequests("Too many live recordings are in progress.")
        return info

    async def _replace_previous(self, key: str) -> None:
        """End the previous connection for this key. It may be broken without having noticed."""
        if (previous := self._tasks.get(key)) is not None:
            previous.cancel()
            await asyncio.wait({previous})

    async def _serve_recording(self, socket: WebSocket, info: RecordingInfo) -> None:
        file = await asyncio.to_thread(RecordingFile.open_locked, self.directory, info)
        if file is None:
            raise Unavailable("Another connection is still writing this recording.")
        decoding = asyncio.create_task(self._transcribe_live(socket, file))
        LIVE_RECORDINGS.inc()
        try:
            await socket.send_json({"type": "started", "received": file.received})
            await _receive_audio(socket, file)
            decoding.cancel()
            size = await self._upload(file, "completed")
            await socket.send_json({"type": "stored", "size": size})
        finally:
            LIVE_RECORDINGS.dec()
            decoding.cancel()
            file.unlock()

    async def _transcribe_live(self, socket: WebSocket, file: RecordingFile) -> None:
        agreement = LocalAgreement()
        decoded_bytes, language = 0, None
        decode_seconds = 0.0
        while True:
            # Decoding a long window takes time. Waiting as long again leaves half for other
            # recordings.
            await asyncio.sleep(max(_MIN_DECODE_INTERVAL_SECONDS, decode_seconds))
            if file.received == decoded_bytes:
                continue
            decoded_bytes = file.received
            started_at = time.monotonic()
            try:
                result = await self.transcriber.decode(
                    file.path,
                    sample_rate=file.info.sample_rate,
                    start=agreement.window_start,
                    language=language,
                )
            except CoachError as error:
                # Partial text is optional: the recording continues without it.
                log.warning("live.transcription_failed", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if result is None:
                decode_seconds = time.monotonic() - started_at
                continue
            hypothesis, detected = result
            language = language or detected
            if agreement.update(hypothesis):
                PARTIALS.inc()
                await socket.send_json({"type": "partial", "text": agreement.text})

    async def _upload(self, file: RecordingFile, reason: str) -> int:
        """Upload a recording, delete its file, and return the uploaded size in bytes."""
        content = await asyncio.to_thread(file.content)
        if file.received:
            await self.deps.objects.put(
                file.info.key, content, content_type=CONTENT_TYPES[file.info.format]
            )
            LIVE_STORED.labels(reason).inc()
        file.delete()
        if not file.received:
            raise CannotTranscribe("This recording is empty.")
        return len(content)


async def _receive_audio(socket: WebSocket, file: RecordingFile) -> None:
    """Append binary frames to the file until the `end` frame."""
    while True:
        message: dict[str, Any] = dict(await socket.receive())
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        content = message.get("bytes")
        if content:
            file.append(content)
        elif message.get("text"):
            with suppress(ValueError, AttributeError):
                if json.loads(message["text"]).get("type") == "end":
                    return


@router.websocket("/internal/live")
async def serve_live_recording(socket: WebSocket) -> None:
    """Receive a live recording from the gateway."""
    service: LiveRecordingService = socket.app.state.live
    await service.serve(socket)
