"""One open socket: authentication, incoming frames, pushes, closing."""

import asyncio
from uuid import UUID

import prometheus_client
from starlette.types import Message, Receive

from coach_common import logs
from coach_common.clock import rfc3339
from coach_common.errors import CoachError, TooManyRequests, Unauthenticated
from coach_common.identity import Identity
from coach_gateway.live_audio import LiveAudioRelay, RelayState
from coach_gateway.sockets.commands import CommandQueue
from coach_gateway.sockets.connection import (
    CLOSE_POLICY_VIOLATION,
    CLOSE_SERVICE_RESTART,
    SocketConnection,
)
from coach_gateway.sockets.context import SocketContext
from coach_gateway.sockets.frame_base import ServerFrame
from coach_gateway.sockets.frames import (
    AudioEndFrame,
    AudioStartFrame,
    AuthFrame,
    AuthSuccessFrame,
    BinaryFrame,
    ClientTextFrame,
    ErrorFrame,
    PingFrame,
    PongFrame,
    TextFrame,
    parse,
    validate,
)

log = logs.get_logger(__name__)

CLOSES = prometheus_client.Counter("coach_gateway_socket_closes", "Closed sockets.", ["reason"])

_MAX_PENDING_PER_ADDRESS = 100


class Socket:
    """One open socket. While idle it uses one task and one timer."""

    __slots__ = (
        "_address",
        "_close_timer",
        "_commands",
        "_connection",
        "_context",
        "_identity",
        "_live_audio",
        "login_id",
    )

    login_id: UUID

    def __init__(self, context: SocketContext, connection: SocketConnection, address: str) -> None:
        self._context = context
        self._connection = connection
        self._address = address
        self._identity: Identity | None = None
        self._live_audio: LiveAudioRelay | None = None
        self._commands = CommandQueue(context, self._send, self._is_recording)
        self._close_timer = asyncio.get_running_loop().call_later(
            context.settings.socket_auth_timeout_seconds,
            self._fail,
            Unauthenticated("Authentication timed out.", code="auth_timeout"),
        )

    async def run(self, receive: Receive, token: str | None) -> None:
        """Serve until the client disconnects or the socket is closed."""
        self._context.pending_by_address[self._address] += 1
        try:
            if self._context.pending_by_address[self._address] > _MAX_PENDING_PER_ADDRESS:
                self._fail(
                    TooManyRequests(
                        "Too many unauthenticated connections from your address.",
                        code="too_many_sockets",
                    )
                )
            elif token is not None:
                await self._authenticate(AuthFrame(type="auth", token=token))
            while (message := await receive())["type"] != "websocket.disconnect":
                if self._connection.close_reason is None:
                    await self._handle_message(message)
        finally:
            self._unregister()
            await self._close_live_audio()
        await self._commands.close()

    def push(self, frame: bytes) -> None:
        """Send a frame without waiting. A client that does not read is closed."""
        self._connection.send_frame(frame)

    def close_revoked(self, reason: str) -> None:
        """Close with 1008 because the login was revoked."""
        self._fail(Unauthenticated(reason, code="login_ended"))

    def close_for_reconnect(self) -> None:
        """Close with 1012, so that the client reconnects and learns what it missed."""
        self._connection.close(CLOSE_SERVICE_RESTART, "pushes_missed")

    def _unregister(self) -> None:
        self._close_timer.cancel()
        if self._identity is None:
            self._release_pending_slot()
        else:
            self._context.push_hub.unregister(self._identity.user_id, self)
        self._commands.stop_turn()
        if self._connection.close_reason is not None:
            self._commands.discard_pending()
        CLOSES.labels(self._connection.close_reason or "client_disconnected").inc()

    # --- authentication

    async def _authenticate(self, frame: AuthFrame) -> None:
        try:
            identity = await self._context.authenticator.authenticate(frame.token)
            if self._connection.close_reason is None:
                self._register(identity, frame.token)
        except CoachError as error:
            self._fail(error)
            return
        # Nothing is awaited between registration and replay, so no push is lost in between.
        missed_frames = (
            None
            if frame.last_event_id is None
            else self._context.push_hub.replay_from(identity.user_id, frame.last_event_id)
        )
        self._send(
            AuthSuccessFrame(
                user_id=str(identity.user_id),
                expires_at=rfc3339(identity.expires_at),
                resumed=missed_frames is not None,
            )
        )
        for pushed in missed_frames or ():
            self.push(pushed)

    def _register(self, identity: Identity, token: str) -> None:
        """Register the user, or extend the session with a new token."""
        if self._identity is None:
            if (
                self._context.push_hub.count(identity.user_id)
                >= self._context.settings.max_sockets_per_user
            ):
                raise TooManyRequests("Too many devices are connected.", code="too_many_sockets")
            self._release_pending_slot()
            self._context.push_hub.register(identity.user_id, self)
        elif identity.user_id != self._identity.user_id:
            raise Unauthenticated("This connection belongs to another user.", code="wrong_user")
        self._identity, self.login_id, self._commands.token = identity, identity.login_id, token
        self._close_timer.cancel()
        self._close_timer = asyncio.get_running_loop().call_later(
            (identity.expires_at - self._context.clock()).total_seconds(),
            self._fail,
            Unauthenticated("Your sign-in has expired.", code="token_expired"),
        )

    def _release_pending_slot(self) -> None:
        self._context.pending_by_address[self._address] -= 1
        if self._context.pending_by_address[self._address] <= 0:
            del self._context.pending_by_address[self._address]

    # --- incoming frames

    async def _handle_message(self, message: Message) -> None:
        try:
            received = parse(message)
            is_auth = isinstance(received, TextFrame) and received.type == "auth"
            if self._identity is None and not is_auth:
                raise Unauthenticated("Please sign in first.", code="auth_required")
            frame = self._validate(received) if isinstance(received, TextFrame) else received
            if isinstance(frame, AuthFrame):
                await self._authenticate(frame)
            elif isinstance(frame, PingFrame):
                self._send(PongFrame())
            elif isinstance(frame, BinaryFrame):
                await self._get_live_audio().add_audio(frame.content)
            elif isinstance(frame, AudioStartFrame):
                self._get_live_audio().start(frame)
                self._commands.on_recording()
            elif isinstance(frame, AudioEndFrame):
                self._get_live_audio().end()
            else:
                self._commands.enqueue(frame)
        except Unauthenticated as error:
            self._fail(error)
        except CoachError as error:
            self._send(ErrorFrame(message=str(error), code=error.code))

    def _validate(self, received: TextFrame) -> ClientTextFrame:
        try:
            return validate(received)
        except CoachError:
            if received.type == "audio_start":
                self._get_live_audio().expect_no_audio()
            raise

    def _is_recording(self) -> bool:
        live = self._live_audio
        return live is not None and live.state is RelayState.RECORDING

    def _get_live_audio(self) -> LiveAudioRelay:
        if self._live_audio is None:
            self._live_audio = LiveAudioRelay(
                self._context.live_audio_client,
                self._context.clock,
                self._commands.call_service,
                self._send,
                self._commands.resolve_session,
                lambda: self._commands.token,
                on_reply=self._commands.on_live_reply,
                on_silence=self._commands.on_live_silence,
            )
        return self._live_audio

    async def _close_live_audio(self) -> None:
        """Stop the recording, after it is stored if its end was received."""
        live, identity = self._live_audio, self._identity
        if live is None or identity is None:
            return
        try:
            if live.state is RelayState.ENDING:
                with self._context.ending_recordings.reserved(identity.user_key):
                    await live.wait_until_ended()
        except CoachError as error:
            log.info("live_audio.end_interrupted", code=error.code)
        finally:
            await live.close()

    # --- outgoing frames

    def _send(self, frame: ServerFrame) -> None:
        self._connection.send_frame(frame.encode())

    def _fail(self, error: CoachError) -> None:
        """Send an error and close with 1008."""
        self._send(ErrorFrame(message=str(error), code=error.code))
        self._connection.close(CLOSE_POLICY_VIOLATION, error.code)
