"""Live audio from a phone to ai, and what is heard back: the relay of one socket.

Media is asked for a key first, ai keeps what comes and stores it, media confirms what was stored.
When ai goes away meanwhile, the relay comes back to it and says again what did not arrive; when the
phone goes away, `audio_start` with the `key` it was told goes on where it broke.
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

log = logs.get_logger(__name__)

Ask = Callable[..., Awaitable[dict[str, Any]]]
"""(upstream, method, path, **body), in the user's name; raises a CoachError that can be said."""
Say = Callable[..., None]
"""(type, **fields): a frame to the client."""
Meant = Callable[[dict[str, Any]], Awaitable[str]]
"""The session a frame is for."""

_KINDS = {
    "pcm16": ("audio/wav", "wav"),
    "webm": ("audio/webm", "webm"),
    "ogg": ("audio/ogg", "ogg"),
}
_WAITING_FRAMES = 256
_SAID_AGAIN_BYTES = 1024 * 1024
"""What is remembered of what was sent, for an ai that comes back: half a minute of raw sound."""
_RETURNS = 10
_OPEN_SECONDS = 5.0


class LiveAudio:
    """The live audio of one socket; one recording at a time.

    `meant` says, once the calls before it are done, which session a frame is for.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        clock: Clock,
        ask: Ask,
        say: Say,
        meant: Meant,
        *,
        return_seconds: float = 1.0,
    ) -> None:
        self._return_seconds = return_seconds
        self._settings = settings
        self._clock = clock
        self._ask = ask
        self._say = say
        self._meant = meant
        self._work: asyncio.Task[None] | None = None

    def take(self, frame: dict[str, Any], *, token: str) -> None:
        """Take a frame of live audio: `audio_start`, `audio` with its bytes, or `audio_end`."""
        if frame["type"] == "audio_start":
            if self._work is not None:
                raise Conflict("Something is being recorded already.", code="live_busy")
            self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING_FRAMES)
            self._work = asyncio.create_task(self._record(frame, token))
            return
        if self._work is None:
            raise Conflict("Begin with audio_start.", code="live_not_started")
        try:
            self._frames.put_nowait(frame["bytes"] if frame["type"] == "audio" else None)
        except asyncio.QueueFull:
            raise Unavailable("Live audio comes faster than it can be kept.") from None

    async def close(self) -> None:
        """Leave: the phone is gone. What came is kept by ai, and stored if nobody comes back."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def _record(self, frame: dict[str, Any], token: str) -> None:
        """Have a recording kept until it is stored and confirmed, over however many connections."""
        try:
            session_id = await self._meant(frame)
            announced = await self._announced(frame, token, session_id)
            connection, received = await self._open(announced)
            self._sent = _Sent(received)
            self._say(
                "audio_started", session_id=session_id, key=announced["key"], received=received
            )
            while not await self._hand_on(connection):
                connection = await self._come_back(announced)
            await self._ask(
                "media", "POST", "/upload/confirm", key=announced["key"],
                uploaded_at=int(self._clock().timestamp() * 1000), session_id=session_id,
            )  # fmt: skip
        except CoachError as error:
            self._say("error", message=str(error), code=error.code)
        finally:
            self._work = None

    async def _announced(
        self, frame: dict[str, Any], token: str, session_id: str
    ) -> dict[str, Any]:
        kind, key = frame.get("format"), frame.get("key")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise InvalidInput(f"format: live audio is one of {', '.join(_KINDS)}")
        if not isinstance(key, str):
            content_type, extension = _KINDS[kind]
            place = await self._ask(
                "media", "POST", "/upload/s3-presign",
                content_type=content_type, extension=extension, session_id=session_id,
            )  # fmt: skip
            key = place["key"]
        return {
            "type": "start", "token": token, "key": key, "format": kind,
            "sample_rate": frame.get("sample_rate"),
        }  # fmt: skip

    async def _open(self, announced: dict[str, Any]) -> tuple[ClientConnection, int]:
        url = self._settings.ai_url.replace("http", "ws", 1) + "/internal/live"
        headers = {"authorization": f"Bearer {self._settings.service_token}"}
        try:
            connection = await connect(
                url, additional_headers=headers, proxy=None,
                open_timeout=_OPEN_SECONDS, compression=None,
            )  # fmt: skip
        except (OSError, TimeoutError, WebSocketException) as error:
            raise Unavailable("Live audio is away.", code="live_unavailable") from error
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await connection.send(json.dumps(announced))
                said = json.loads(await connection.recv())
        except (OSError, TimeoutError, WebSocketException) as error:
            await connection.close()
            raise Unavailable("Live audio is away.", code="live_unavailable") from error
        if said.get("type") != "started":
            await connection.close()
            raise InvalidInput(str(said.get("message")), code=str(said.get("code", "live_refused")))
        return connection, int(said["received"])

    async def _hand_on(self, connection: ClientConnection) -> bool:
        """Hand on over one connection; tell whether the recording was stored in the end."""
        sending = asyncio.create_task(self._send(connection))
        try:
            async for text in connection:
                said = json.loads(text)
                if said["type"] == "partial":
                    self._say("partial", text=said["text"])
                elif said["type"] == "stored":
                    return True
                else:
                    raise InvalidInput(str(said.get("message")), code=str(said.get("code")))
        except WebSocketException as error:
            log.warning("live.broken", why=type(error).__name__)
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            await connection.close()
        return False

    async def _send(self, connection: ClientConnection) -> None:
        with suppress(WebSocketException):
            if self._sent.is_over:
                await connection.send('{"type": "end"}')
                return
            while (content := await self._frames.get()) is not None:
                self._sent.add(content)
                await connection.send(content)
            self._sent.is_over = True
            await connection.send('{"type": "end"}')

    async def _come_back(self, announced: dict[str, Any]) -> ClientConnection:
        for _ in range(_RETURNS):
            await asyncio.sleep(self._return_seconds)
            try:
                connection, received = await self._open(announced)
            except Unavailable:
                continue
            for content in self._sent.after(received):
                await connection.send(content)
            return connection
        raise Unavailable("Live audio is away.", code="live_unavailable")


class _Sent:
    """The last of what was sent, and how much it was in all."""

    def __init__(self, total: int = 0) -> None:
        self.is_over = False
        self._total = total
        self._last = bytearray()

    def add(self, content: bytes) -> None:
        self._total += len(content)
        self._last += content
        del self._last[: max(0, len(self._last) - _SAID_AGAIN_BYTES)]

    def after(self, received: int) -> list[bytes]:
        """Return what comes after the first `received` bytes, as far as it is remembered."""
        missing = self._total - received
        if missing > len(self._last):
            raise Unavailable("A part of the live audio was lost.", code="live_lost")
        return [bytes(self._last[len(self._last) - missing :])] if missing > 0 else []
