"""Live recordings over `/internal/live`: stored while they arrive, transcribed continuously.

The gateway opens one WebSocket per recording. It authenticates with SERVICE_TOKEN, and the user
with the access token in the first frame:

    -> start {token, key, session_id?, format, sample_rate?, reports_silence?}
    <- started {received}      bytes stored so far; a resuming client continues from there
    -> binary frames           audio
    <- partial {text, is_reply}    committed text so far; whether an interview is answered
    <- silence {seconds}       an interview is silent, if the gateway asked for it
    -> end
    <- stored {size}           the recording is in the object store
    <- error {message, code}   instead of any of these

The gateway has asked media whether the key is the user's and pending. The recording is uploaded
only if the store has no object under the key. A recording whose connection broke is uploaded after
`abandoned_seconds` without new audio, and every recording is uploaded at shutdown.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from fastapi import APIRouter, FastAPI
from prometheus_client import Counter, Gauge
from starlette.websockets import WebSocket, WebSocketDisconnect

from coach_ai.deps import Deps
from coach_ai.speech.live_context import LiveContext, load_live_context
from coach_ai.speech.live_partials import LivePartials, LiveTranscriber
from coach_ai.speech.recording_file import (
    CONTENT_TYPES,
    RecordingDirectory,
    RecordingFile,
    RecordingInfo,
)
from coach_ai.store import deletion
from coach_common import logs
from coach_common.credentials import is_service_token
from coach_common.errors import (
    BadRequest,
    CoachError,
    Conflict,
    InvalidInput,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from coach_common.storage import ObjectRejected
from coach_common.tokens import AccessTokenVerifier

log = logs.get_logger(__name__)

LIVE_RECORDINGS = Gauge("coach_ai_live_recordings", "Live recordings in progress.")
LIVE_STORED = Counter(
    "coach_ai_live_stored", "Live recordings uploaded to the object store, by reason.", ["reason"]
)
LIVE_DISCARDED = Counter(
    "coach_ai_live_discarded", "Live recordings deleted without an upload, by reason.", ["reason"]
)

ABANDONED_SECONDS = 60.0
IDLE_SECONDS = 30.0
MAX_CONCURRENT = 64
MAX_CONCURRENT_PER_USER = 2
_START_TIMEOUT_SECONDS = 10.0
_SWEEP_INTERVAL_SECONDS = 5.0
_SHUTDOWN_SECONDS = 20.0
_POLICY_VIOLATION = 1008

router = APIRouter()


class AlreadyStored(Conflict):
    """The object store has an object under the key of the recording."""

    code = "already_stored"

    def __init__(self) -> None:
        super().__init__("This recording was stored already.")


class UploadDelayed(Unavailable):
    """The recording is complete and will be uploaded later."""

    code = "live_upload_delayed"

    def __init__(self) -> None:
        super().__init__(
            "The recording is saved and will be uploaded as soon as storage is available."
        )


class RecordingIdle(BadRequest):
    """No audio arrived for a while."""

    code = "live_idle"


@dataclass(slots=True)
class LiveRecordingService:
    """Serves the live recordings of a process.

    `directory` holds the recordings in progress. `_tasks` has one task per object key. Without a
    `transcriber`, clients get no partial texts.
    """

    deps: Deps
    transcriber: LiveTranscriber | None
    token_verifier: AccessTokenVerifier
    service_token: str
    directory: RecordingDirectory
    abandoned_seconds: float = ABANDONED_SECONDS
    idle_seconds: float = IDLE_SECONDS
    now: Callable[[], float] = time.time
    """Unix time for retries of uploads."""
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    # --- connections

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection until it ends. A later connection for the same key replaces it."""
        presented = socket.headers.get("authorization", "").removeprefix("Bearer ")
        if not is_service_token(presented, self.service_token):
            await socket.close(_POLICY_VIOLATION)
            return
        await socket.accept()
        try:
            info, context = await self._read_start(socket)
            await self._run_exclusively(socket, info, context)
        except WebSocketDisconnect:
            return
        except CoachError as error:
            log.info("live.ended_with_error", code=error.code)
            await _send_error(socket, str(error), error.code)
        except Exception:
            log.exception("live.crashed")
            await _send_error(socket, "Something went wrong on our side.", "internal")
        with suppress(WebSocketDisconnect, RuntimeError):  # The gateway may have disconnected.
            await socket.close()

    async def _read_start(self, socket: WebSocket) -> tuple[RecordingInfo, LiveContext]:
        """Return what the first frame describes, and what is known about its session.

        Authenticates the user of the frame.
        """
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                frame = await socket.receive_json()
        except (TimeoutError, ValueError, KeyError):
            frame = None
        if not isinstance(frame, Mapping) or frame.get("type") != "start":
            raise InvalidInput("The first frame must be `start`.")
        identity = await self.token_verifier.verify(str(frame.get("token")))
        info = RecordingInfo.parse(frame, user_id=identity.user_id)
        if await self._is_deleted(info):
            raise NotFound("Recording not found", code="recording_not_found")
        return info, await load_live_context(self.deps, info, frame)

    async def _run_exclusively(
        self, socket: WebSocket, info: RecordingInfo, context: LiveContext
    ) -> None:
        """Serve a recording in a task that a later connection for the key can cancel."""
        await self._stop(info.key)
        of_user = sum(key.startswith(_user_prefix(info.user_id)) for key in self._tasks)
        if of_user >= MAX_CONCURRENT_PER_USER:
            raise TooManyRequests(
                "You have too many live recordings in progress.", code="too_many_live_recordings"
            )
        if len(self._tasks) >= MAX_CONCURRENT:
            raise TooManyRequests(
                "Too many live recordings are in progress. Please try again.", code="live_busy"
            )
        task = self._tasks[info.key] = asyncio.create_task(
            self._serve_recording(socket, info, context)
        )
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            if self._tasks.get(info.key) is task:
                del self._tasks[info.key]
        if not task.cancelled():
            task.result()

    async def _stop(self, key: str) -> None:
        """End the connection for this key. It may be broken without having noticed."""
        while (previous := self._tasks.pop(key, None)) is not None:
            previous.cancel()
            await asyncio.wait({previous})

    async def _serve_recording(
        self, socket: WebSocket, info: RecordingInfo, context: LiveContext
    ) -> None:
        file = self.directory.open_locked(info)
        if file is None:
            raise Unavailable("Another connection is still writing this recording.")
        decoding: asyncio.Task[None] | None = None
        LIVE_RECORDINGS.inc()
        try:
            if not file.received:
                await self._require_absent(file)
            await socket.send_json({"type": "started", "received": file.received})
            if self.transcriber is not None:
                partials = LivePartials(socket, file, self.transcriber, context)
                decoding = asyncio.create_task(partials.send())
            await self._receive_audio(socket, file)
            if decoding is not None:
                decoding.cancel()
            size = await self._upload(file, "completed")
            await socket.send_json({"type": "stored", "size": size})
        finally:
            LIVE_RECORDINGS.dec()
            if decoding is not None:
                decoding.cancel()
            if not file.received:
                self._delete(file)
            file.unlock()

    async def _receive_audio(self, socket: WebSocket, file: RecordingFile) -> None:
        """Append binary frames to the file until the `end` frame."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.idle_seconds) as idle:
                while True:
                    message: dict[str, Any] = dict(await socket.receive())
                    if message["type"] == "websocket.disconnect":
                        raise WebSocketDisconnect(message.get("code", 1006))
                    if content := message.get("bytes"):
                        file.append(content)
                        idle.reschedule(loop.time() + self.idle_seconds)
                    elif message.get("text") and _is_end(message["text"]):
                        return
        except TimeoutError:
            raise RecordingIdle(
                f"No audio arrived for {self.idle_seconds:.0f} s. Please resume the recording."
            ) from None

    # --- uploads

    async def store_abandoned(self) -> None:
        """Upload recordings whose connection broke. Runs until cancelled, then uploads all."""
        try:
            while True:
                await asyncio.sleep(min(_SWEEP_INTERVAL_SECONDS, self.abandoned_seconds))
                await self.sweep()
        except asyncio.CancelledError:
            await self._store_at_shutdown()
            raise

    async def sweep(self, *, is_shutdown: bool = False) -> None:
        """Delete recordings of deleted users and sessions, and upload abandoned recordings.

        At shutdown, recordings are uploaded without waiting for their client or their retry.
        """
        try:
            recordings = await asyncio.to_thread(self.directory.list_recordings)
        except Unavailable as error:
            log.error("live.directory_unusable", reason=str(error))
            return
        for info in recordings:
            try:
                await self._sweep_one(info, is_shutdown=is_shutdown)
            except Unavailable as error:
                log.warning("live.sweep_failed", reason=str(error))

    async def _sweep_one(self, info: RecordingInfo, *, is_shutdown: bool) -> None:
        if await self._is_deleted(info):
            await self._stop(info.key)
            self.directory.delete(info)
            LIVE_DISCARDED.labels("erased").inc()
            return
        if not is_shutdown and info.retry_at > self.now():
            return
        file = self.directory.lock_abandoned(
            info, min_age_seconds=0.0 if is_shutdown else self.abandoned_seconds
        )
        if file is None:
            return
        try:
            await self._upload(file, "shutdown" if is_shutdown else "abandoned")
        except CoachError as error:
            log.warning("live.upload_failed", code=error.code, attempts=file.info.attempts)
        finally:
            file.unlock()

    async def _store_at_shutdown(self) -> None:
        try:
            async with asyncio.timeout(_SHUTDOWN_SECONDS):
                await self.sweep(is_shutdown=True)
        except TimeoutError:
            log.error("live.shutdown_timed_out")

    async def _require_absent(self, file: RecordingFile) -> None:
        """Raise AlreadyStored if the store has the key. A store that is down is asked later."""
        try:
            await self.deps.objects.head(file.info.key)
        except (NotFound, Unavailable):
            return
        raise AlreadyStored

    async def _upload(self, file: RecordingFile, reason: str) -> int:
        """Upload a recording, delete its file, and return the uploaded size in bytes.

        Raises:
            InvalidInput: If the recording is empty. Its file is deleted.
            AlreadyStored: If the store has another object. The file is deleted.
            UploadDelayed: If the upload failed and is tried again later.
        """
        if not file.received:
            self._delete(file)
            raise InvalidInput("This recording is empty.", code="live_empty")
        content = await asyncio.to_thread(file.content)
        content_type = CONTENT_TYPES[file.info.format]
        try:
            await self.deps.objects.put_if_absent(file.info.key, content, content_type=content_type)
        except Conflict:
            self._discard(file, "already_stored")
            raise AlreadyStored from None
        except Unavailable as error:
            self._schedule_retry(file, error)
            raise UploadDelayed from error
        self._delete(file)
        LIVE_STORED.labels(reason).inc()
        return len(content)

    def _schedule_retry(self, file: RecordingFile, error: Unavailable) -> None:
        retried = file.info.schedule_retry(
            now=self.now(),
            last_byte_at=file.last_byte_at,
            is_rejected=isinstance(error, ObjectRejected),
        )
        if retried is None:
            self._discard(file, "given_up")
        else:
            file.save_info(retried)

    def _discard(self, file: RecordingFile, reason: str) -> None:
        log.error("live.recording_discarded", reason=reason, size_bytes=file.received)
        LIVE_DISCARDED.labels(reason).inc()
        self._delete(file)

    def _delete(self, file: RecordingFile) -> None:
        file.delete()
        self.directory.delete_empty(file.info.user_id)

    async def _is_deleted(self, info: RecordingInfo) -> bool:
        session_id = None if info.session_id is None else UUID(info.session_id)
        async with self.deps.db.read_only() as tx:
            return await deletion.is_deleted(tx, info.user_id, session_id)


def _user_prefix(user_id: UUID) -> str:
    return f"uploads/{user_id}/"


def _is_end(text: str) -> bool:
    try:
        message = json.loads(text)
    except ValueError:
        return False
    return isinstance(message, dict) and message.get("type") == "end"


async def _send_error(socket: WebSocket, message: str, code: str) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # The gateway may have disconnected.
        await socket.send_json({"type": "error", "message": message, "code": code})


def set_live_service(app: FastAPI, service: LiveRecordingService) -> None:
    """Store the service in the app, for `/internal/live`."""
    app.state.live = service


def get_live_service(app: FastAPI) -> LiveRecordingService:
    """Return the service that was stored in the app."""
    service = getattr(app.state, "live", None)
    if not isinstance(service, LiveRecordingService):
        raise TypeError("the app was created without a LiveRecordingService")
    return service


@router.websocket("/internal/live")
async def serve_live_recording(socket: WebSocket) -> None:
    """Receive a live recording from the gateway."""
    await get_live_service(socket.app).serve(socket)
