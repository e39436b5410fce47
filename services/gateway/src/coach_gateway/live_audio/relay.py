"""The live audio of one socket, relayed to ai, and partial transcripts relayed back.

Media issues the key, ai stores the recording, media confirms it. If the connection to ai breaks,
the relay reconnects and sends the missing audio again. If the client disconnects, it continues
with `audio_start` and the same `key`. If it disconnects after `audio_end`, the recording is stored
and confirmed without it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

from prometheus_client import Counter

from coach_common import logs
from coach_common.clock import Clock
from coach_common.errors import CoachError, Conflict
from coach_gateway.live_audio.buffers import AudioDiscarded, PendingAudio, ReplayBuffer
from coach_gateway.live_audio.client import (
    LiveAudioClient,
    LiveConnection,
    LiveConnectionLost,
    LiveServiceStopped,
    LiveUnavailable,
)
from coach_gateway.sockets.frame_base import ServerFrame
from coach_gateway.sockets.frames import (
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    AudioFormat,
    AudioStartedFrame,
    AudioStartFrame,
    ErrorFrame,
    PartialFrame,
    StoredUpload,
    invalid_sample_rate,
)

log = logs.get_logger(__name__)

LIVE_RECORDINGS = Counter(
    "coach_gateway_live_recordings", "Live recordings by outcome.", ["outcome"]
)
RECONNECTS = Counter("coach_gateway_live_reconnects", "Broken connections to ai in a recording.")

CallService = Callable[..., Awaitable[dict[str, Any]]]
"""Calls a service with the user's token: (upstream, method, path, **body). Raises CoachError."""
SendFrame = Callable[[ServerFrame], None]
"""Sends a frame to the client."""
ResolveSession = Callable[[AudioStartFrame], Awaitable[str]]
"""Returns the session id of a frame."""

OnReply = Callable[[str], None]
"""Receives the session id when the user speaks in an interview."""
OnSilence = Callable[[str, float], None]
"""Receives the session id, and how many seconds of silence an interview has had."""

_FORMATS: dict[AudioFormat, tuple[str, str]] = {
    "pcm16": ("audio/wav", "wav"),
    "webm": ("audio/webm", "webm"),
    "ogg": ("audio/ogg", "ogg"),
}
_MAX_RECONNECTS = 10
_MAX_CONFIRM_ATTEMPTS = 30
_START_TIMEOUT_SECONDS = 10.0
_END_TIMEOUT_SECONDS = 30.0
"""Time for an ended recording to be stored after its client has disconnected. ai stores the rest
as abandoned."""


class RelayState(StrEnum):
    """What the client may send."""

    IDLE = "idle"
    """`audio_start`."""
    RECORDING = "recording"
    """Audio and `audio_end`."""
    ENDING = "ending"
    """Nothing. The recording is being stored and confirmed."""
    FAILED = "failed"
    """`audio_start`. Audio that is still on its way is dropped: the client got an `error`."""


class LiveRejected(CoachError):
    """ai rejected or ended the recording."""


class AlreadyStored(Conflict):
    """The recording was stored before the client resumed it."""

    code = "already_stored"

    def __init__(self, upload: StoredUpload) -> None:
        super().__init__("This recording was stored already. Please start a new one.")
        self.upload = upload


class LiveAudioRelay:
    """The live audio of one socket, one recording at a time.

    Args:
        resolve_session: Returns the session id of a frame after all earlier commands have run.
        get_token: Returns the newest access token of the socket.
    """

    def __init__(
        self,
        client: LiveAudioClient,
        clock: Clock,
        call_service: CallService,
        send_frame: SendFrame,
        resolve_session: ResolveSession,
        get_token: Callable[[], str],
        *,
        on_reply: OnReply = lambda _: None,
        on_silence: OnSilence = lambda _, __: None,
        reconnect_delay_seconds: float = 1.0,
        end_timeout_seconds: float = _END_TIMEOUT_SECONDS,
    ) -> None:
        self._client = client
        self._clock = clock
        self._call_service = call_service
        self._send_frame = send_frame
        self._resolve_session = resolve_session
        self._get_token = get_token
        self._on_reply = on_reply
        self._on_silence = on_silence
        self._reconnect_delay_seconds = reconnect_delay_seconds
        self._end_timeout_seconds = end_timeout_seconds
        self._state = RelayState.IDLE
        self._pending = PendingAudio()
        self._replay: ReplayBuffer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> RelayState:
        """What the client may send."""
        return self._state

    def start(self, frame: AudioStartFrame) -> None:
        """Start a recording. Raises Conflict if one is in progress."""
        if self._state in (RelayState.RECORDING, RelayState.ENDING):
            raise Conflict("A recording is already in progress.", code="live_busy")
        self._state = RelayState.RECORDING
        self._pending = PendingAudio()
        self._task = asyncio.create_task(self._run(frame))

    def expect_no_audio(self) -> None:
        """Drop the audio that follows a rejected `audio_start`, unless a recording is active."""
        if self._state is RelayState.IDLE:
            self._state = RelayState.FAILED

    async def add_audio(self, content: bytes) -> None:
        """Append audio, waiting while the buffer is full.

        Raises:
            Conflict: If no recording is in progress.
            AudioOverrun: If the buffer stays full. The recording ends and can be resumed.
        """
        if self._state is RelayState.FAILED:
            return
        if self._state is not RelayState.RECORDING:
            raise Conflict("Send audio_start first.", code="live_not_started")
        try:
            await self._pending.put(content)
        except CoachError as error:
            if self._task is not None:
                self._task.cancel()
            self._finish(RelayState.FAILED, error.code)
            raise

    def end(self) -> None:
        """End the recording. Raises Conflict if none is in progress."""
        if self._state is RelayState.FAILED:
            return
        if self._state is not RelayState.RECORDING:
            raise Conflict("Send audio_start first.", code="live_not_started")
        self._state = RelayState.ENDING
        self._pending.end()

    async def wait_until_ended(self) -> None:
        """Wait until the recording is stored and confirmed if its end was received.

        Returns after `end_timeout_seconds` also if it is not.
        """
        if self._state is RelayState.ENDING and self._task is not None:
            await asyncio.wait({self._task}, timeout=self._end_timeout_seconds)

    async def close(self) -> None:
        """Stop the recording. ai stores the received audio if the client does not resume."""
        self._pending.discard()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, frame: AudioStartFrame) -> None:
        """Relay one recording until it is stored and confirmed. Every error reaches the client."""
        try:
            await self._record(frame)
        except AlreadyStored as error:
            self._fail(error, error.upload)
        except CoachError as error:
            self._fail(error)
        except Exception:
            log.exception("live_audio.crashed")
            self._fail(CoachError("Something went wrong on our side.", code="internal"))
        else:
            self._finish(RelayState.IDLE, "stored")

    def _fail(self, error: CoachError, upload: StoredUpload | None = None) -> None:
        log.info("live_audio.failed", code=error.code)
        self._finish(RelayState.FAILED, error.code)
        self._send_frame(ErrorFrame(message=str(error), code=error.code, upload=upload))

    def _finish(self, state: RelayState, outcome: str) -> None:
        self._state = state
        self._pending.discard()
        LIVE_RECORDINGS.labels(outcome).inc()

    async def _record(self, frame: AudioStartFrame) -> None:
        sample_rate = _get_sample_rate(frame)
        session_id = await self._resolve_session(frame)
        key = await self._get_key(frame, session_id)
        start_request = {
            "type": "start",
            "key": key,
            "session_id": session_id,
            "format": frame.format,
            "sample_rate": sample_rate,
            "reports_silence": True,
        }
        try:
            await self._relay_until_stored(start_request)
        except LiveServiceStopped:
            upload = await self._confirm_when_stored(key, session_id)
        except LiveRejected as error:
            if error.code != AlreadyStored.code:
                raise
            upload = await self._confirm(key, session_id)
        else:
            await self._confirm(key, session_id)
            return
        # ai has stored what it had, which may be less than the client sent.
        if not self._is_complete(upload):
            raise AlreadyStored(upload)

    async def _get_key(self, frame: AudioStartFrame, session_id: str) -> str:
        """Return a new key, or the client's key after media has checked it."""
        content_type, extension = _FORMATS[frame.format]
        if not frame.key:
            presigned = await self._call_service(
                "media", "POST", "/upload/s3-presign",
                content_type=content_type, extension=extension, session_id=session_id,
            )  # fmt: skip
            return str(presigned["key"])
        upload = await self._call_service(
            "media", "POST", "/internal/uploads/check",
            key=frame.key, content_type=content_type, session_id=session_id,
        )  # fmt: skip
        if upload["status"] != "pending":
            raise AlreadyStored(StoredUpload.model_validate(upload))
        return frame.key

    async def _confirm(self, key: str, session_id: str) -> StoredUpload:
        """Confirm the upload and return what was stored."""
        confirmed = await self._call_service(
            "media", "POST", "/upload/confirm", key=key,
            uploaded_at=int(self._clock().timestamp() * 1000), session_id=session_id,
        )  # fmt: skip
        return StoredUpload.model_validate(confirmed)

    def _is_complete(self, upload: StoredUpload) -> bool:
        """Return whether the end was received and an upload has all audio of this relay."""
        if self._state is not RelayState.ENDING or self._replay is None:
            return False
        return upload.size >= self._replay.total_bytes + self._pending.size_bytes

    async def _confirm_when_stored(self, key: str, session_id: str) -> StoredUpload:
        """Confirm an upload that ai stores while it shuts down."""
        for _ in range(_MAX_CONFIRM_ATTEMPTS):
            try:
                return await self._confirm(key, session_id)
            except CoachError as error:
                log.info("live_audio.confirm_failed", code=error.code)
            await asyncio.sleep(self._reconnect_delay_seconds)
        raise LiveUnavailable

    async def _relay_until_stored(self, start_request: dict[str, Any]) -> None:
        """Relay over one connection after the other until ai has stored the recording."""
        replay: ReplayBuffer | None = None
        self._replay = None
        failures = 0
        while True:
            try:
                async with self._client.connect(start_request["key"]) as connection:
                    received = await self._start(connection, start_request)
                    if replay is None:
                        self._replay = replay = ReplayBuffer(received)
                        self._send_frame(
                            AudioStartedFrame(
                                session_id=start_request["session_id"],
                                key=start_request["key"],
                                received=received,
                            )
                        )
                    elif missing := replay.read_from(received):
                        await connection.send_audio(missing)
                    failures = 0
                    await self._relay(connection, replay, start_request["session_id"])
                    return
            except (LiveConnectionLost, LiveUnavailable) as error:
                failures += 1
                # A client that still records gets the error of a failed start at once.
                is_retried = replay is not None or self._state is RelayState.ENDING
                if not is_retried or failures > _MAX_RECONNECTS:
                    raise LiveUnavailable from error
                RECONNECTS.inc()
                log.warning("live_audio.upstream_lost", reason=str(error))
            await asyncio.sleep(self._reconnect_delay_seconds)

    async def _start(self, connection: LiveConnection, start_request: dict[str, Any]) -> int:
        """Send the start of the recording. Return how many bytes of it ai has."""
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                await connection.send_json(**start_request, token=self._get_token())
                message = await connection.receive()
        except TimeoutError:
            raise LiveConnectionLost("no response to start") from None
        if message["type"] != "started":
            raise _to_error(message)
        return int(message["received"])

    async def _relay(
        self, connection: LiveConnection, replay: ReplayBuffer, session_id: str
    ) -> None:
        """Relay over one connection. Return when the recording is stored."""
        sending = asyncio.create_task(self._send_audio(connection, replay))
        receiving = asyncio.create_task(self._receive(connection, session_id))
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_EXCEPTION)
            # `receiving` ends last unless sending failed, because ai responds to `end`.
            (receiving if receiving.done() else sending).result()
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.wait({sending, receiving})

    async def _send_audio(self, connection: LiveConnection, replay: ReplayBuffer) -> None:
        try:
            while (content := await self._pending.get()) is not None:
                replay.add(content)
                await connection.send_audio(content)
            await connection.send_json(type="end")
        except AudioDiscarded:
            return
        except LiveConnectionLost:
            # `_receive` reads what ai sent before it closed the connection, then it fails too.
            return

    async def _receive(self, connection: LiveConnection, session_id: str) -> None:
        while (message := await connection.receive())["type"] != "stored":
            match message["type"]:
                case "partial":
                    is_reply = message.get("is_reply") is True
                    self._send_frame(PartialFrame(text=message["text"], is_reply=is_reply))
                    if is_reply:
                        self._on_reply(session_id)
                case "silence":
                    self._on_silence(session_id, float(message["seconds"]))
                case _:
                    raise _to_error(message)


def _to_error(message: dict[str, Any]) -> LiveRejected | LiveConnectionLost:
    """Return the error of an `error` message of ai."""
    if message.get("code") == "unavailable":
        return LiveConnectionLost(str(message.get("message")))
    return LiveRejected(
        str(message.get("message", "The recording was rejected.")),
        code=str(message.get("code", "live_rejected")),
    )


def _get_sample_rate(frame: AudioStartFrame) -> int | None:
    """Return the sample rate of PCM, None for containers. Raises InvalidInput."""
    if frame.format != "pcm16":
        return None
    if frame.sample_rate is None or not MIN_SAMPLE_RATE <= frame.sample_rate <= MAX_SAMPLE_RATE:
        raise invalid_sample_rate()
    return frame.sample_rate
