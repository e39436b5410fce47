"""Relays live audio from a socket to ai and partial transcripts back.

Media issues the key, ai stores the recording, media confirms it. If the connection to ai breaks,
the relay reconnects and sends the missing audio again. If the client disconnects, it continues
with `audio_start` and the same `key`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from coach_common import logs
from coach_common.clock import Clock
from coach_common.errors import CoachError, Conflict, InvalidInput, Unavailable
from coach_gateway.config import GatewaySettings
from coach_gateway.sockets.frames import (
    AudioFormat,
    AudioStartedFrame,
    AudioStartFrame,
    BinaryFrame,
    ErrorFrame,
    LiveAudioFrame,
    PartialFrame,
    ServerFrame,
)

log = logs.get_logger(__name__)

CallService = Callable[..., Awaitable[dict[str, Any]]]
"""Calls a service with the user's token: (upstream, method, path, **body). Raises CoachError."""
SendFrame = Callable[[ServerFrame], None]
"""Sends a frame to the client."""
ResolveSession = Callable[[AudioStartFrame], Awaitable[str]]
"""Returns the session id of a frame."""

_FORMATS: dict[AudioFormat, tuple[str, str]] = {
    "pcm16": ("audio/wav", "wav"),
    "webm": ("audio/webm", "webm"),
    "ogg": ("audio/ogg", "ogg"),
}
_MAX_QUEUED_FRAMES = 256
_REPLAY_BUFFER_BYTES = 1024 * 1024
"""Audio kept to send again after a reconnect: about 30 s of PCM."""
_MAX_RECONNECTS = 10
_OPEN_TIMEOUT_SECONDS = 5.0


class LiveAudioRelay:
    """The live audio of one socket, one recording at a time.

    Args:
        resolve_session: Returns the session id of a frame after all earlier commands have run.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        clock: Clock,
        call_service: CallService,
        send_frame: SendFrame,
        resolve_session: ResolveSession,
        *,
        reconnect_delay_seconds: float = 1.0,
    ) -> None:
        self._reconnect_delay_seconds = reconnect_delay_seconds
        self._settings = settings
        self._clock = clock
        self._call_service = call_service
        self._send_frame = send_frame
        self._resolve_session = resolve_session
        self._recording: asyncio.Task[None] | None = None

    def handle_frame(self, frame: LiveAudioFrame, *, token: str) -> None:
        """Process `audio_start`, a binary frame or `audio_end`. Raises CoachError."""
        if isinstance(frame, AudioStartFrame):
            if self._recording is not None:
                raise Conflict("A recording is already in progress.", code="live_busy")
            self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_QUEUED_FRAMES)
            self._recording = asyncio.create_task(self._run_recording(frame, token))
            return
        if self._recording is None:
            raise Conflict("Send audio_start first.", code="live_not_started")
        try:
            self._frames.put_nowait(frame.content if isinstance(frame, BinaryFrame) else None)
        except asyncio.QueueFull:
            raise Unavailable("Audio is arriving faster than it can be processed.") from None

    async def close(self) -> None:
        """Stop the recording. ai stores the received audio if the client does not resume."""
        if self._recording is not None:
            self._recording.cancel()
            await asyncio.wait({self._recording})

    async def _run_recording(self, frame: AudioStartFrame, token: str) -> None:
        """Relay one recording until it is stored and confirmed."""
        try:
            session_id = await self._resolve_session(frame)
            start_request = await self._build_start_request(frame, token, session_id)
            connection, received = await self._open(start_request)
            self._replay_buffer = ReplayBuffer(received)
            self._send_frame(
                AudioStartedFrame(
                    session_id=session_id, key=start_request["key"], received=received
                )
            )
            while not await self._relay(connection):
                connection = await self._reconnect(start_request)
            await self._call_service(
                "media", "POST", "/upload/confirm", key=start_request["key"],
                uploaded_at=int(self._clock().timestamp() * 1000), session_id=session_id,
            )  # fmt: skip
        except CoachError as error:
            self._send_frame(ErrorFrame(message=str(error), code=error.code))
        finally:
            self._recording = None

    async def _build_start_request(
        self, frame: AudioStartFrame, token: str, session_id: str
    ) -> dict[str, Any]:
        key = frame.key
        if key is None:
            content_type, extension = _FORMATS[frame.format]
            presigned = await self._call_service(
                "media", "POST", "/upload/s3-presign",
                content_type=content_type, extension=extension, session_id=session_id,
            )  # fmt: skip
            key = presigned["key"]
        return {
            "type": "start", "token": token, "key": key, "format": frame.format,
            "sample_rate": frame.sample_rate,
        }  # fmt: skip

    async def _open(self, start_request: dict[str, Any]) -> tuple[ClientConnection, int]:
        url = self._settings.ai_url.replace("http", "ws", 1) + "/internal/live"
        headers = {"authorization": f"Bearer {self._settings.service_token}"}
        try:
            connection = await connect(
                url, additional_headers=headers, proxy=None,
                open_timeout=_OPEN_TIMEOUT_SECONDS, compression=None,
            )  # fmt: skip
        except (OSError, TimeoutError, WebSocketException) as error:
            raise Unavailable(
                "Live transcription is unavailable. Please try again.", code="live_unavailable"
            ) from error
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_SECONDS):
                await connection.send(json.dumps(start_request))
                response = json.loads(await connection.recv())
        except (OSError, TimeoutError, WebSocketException) as error:
            await connection.close()
            raise Unavailable(
                "Live transcription is unavailable. Please try again.", code="live_unavailable"
            ) from error
        if response.get("type") != "started":
            await connection.close()
            raise InvalidInput(
                str(response.get("message")), code=str(response.get("code", "live_refused"))
            )
        return connection, int(response["received"])

    async def _relay(self, connection: ClientConnection) -> bool:
        """Relay over one connection. Returns whether the recording was stored."""
        sending = asyncio.create_task(self._send_audio(connection))
        try:
            async for text in connection:
                message = json.loads(text)
                if message["type"] == "partial":
                    self._send_frame(PartialFrame(text=message["text"]))
                elif message["type"] == "stored":
                    return True
                else:
                    raise InvalidInput(str(message.get("message")), code=str(message.get("code")))
        except WebSocketException as error:
            log.warning("live_audio.upstream_lost", why=type(error).__name__)
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            await connection.close()
        return False

    async def _send_audio(self, connection: ClientConnection) -> None:
        with suppress(WebSocketException):
            if self._replay_buffer.is_ended:
                await connection.send('{"type": "end"}')
                return
            while (content := await self._frames.get()) is not None:
                self._replay_buffer.add(content)
                await connection.send(content)
            self._replay_buffer.is_ended = True
            await connection.send('{"type": "end"}')

    async def _reconnect(self, start_request: dict[str, Any]) -> ClientConnection:
        for _ in range(_MAX_RECONNECTS):
            await asyncio.sleep(self._reconnect_delay_seconds)
            try:
                connection, received = await self._open(start_request)
            except Unavailable:
                continue
            for content in self._replay_buffer.since(received):
                await connection.send(content)
            return connection
        raise Unavailable(
            "Live transcription is unavailable. Please try again.", code="live_unavailable"
        )


class ReplayBuffer:
    """The last bytes that were sent, and their total number."""

    def __init__(self, total: int = 0) -> None:
        self.is_ended = False
        self._total_bytes = total
        self._tail = bytearray()

    def add(self, content: bytes) -> None:
        self._total_bytes += len(content)
        self._tail += content
        del self._tail[: max(0, len(self._tail) - _REPLAY_BUFFER_BYTES)]

    def since(self, received: int) -> list[bytes]:
        """Return the bytes after the first `received`. Raises Unavailable if they are gone."""
        missing_bytes = self._total_bytes - received
        if missing_bytes > len(self._tail):
            raise Unavailable("Part of the live audio was lost.", code="live_lost")
        return [bytes(self._tail[len(self._tail) - missing_bytes :])] if missing_bytes > 0 else []
