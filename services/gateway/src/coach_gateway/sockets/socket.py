"""One open socket: who it belongs to, what comes in, what goes out, and when it ends."""

import asyncio
import json
from typing import Any
from uuid import UUID

import prometheus_client
from starlette.types import Message, Receive

from coach_common.clock import rfc3339
from coach_common.errors import CoachError, TooManyRequests, Unauthenticated
from coach_common.identity import Identity
from coach_gateway.live import LiveAudio
from coach_gateway.sockets.calls import KINDS, Calls
from coach_gateway.sockets.door import Door
from coach_gateway.sockets.frames import LIVE, Refused, parse
from coach_gateway.sockets.wire import POLICY, RESTART, Wire

CLOSES = prometheus_client.Counter("coach_gateway_socket_closes", "Closed sockets.", ["reason"])

_UNAUTHENTICATED_AN_ADDRESS = 100


class Socket:
    """One open socket. Idle it is one waiting task and one timer."""

    __slots__ = (
        "_address",
        "_calls",
        "_deadline",
        "_door",
        "_identity",
        "_live",
        "_wire",
        "login_id",
    )

    login_id: UUID

    def __init__(self, door: Door, wire: Wire, address: str) -> None:
        self._door = door
        self._wire = wire
        self._address = address
        self._identity: Identity | None = None
        self._live: LiveAudio | None = None
        self._calls = Calls(door, self._say)
        self._deadline = asyncio.get_running_loop().call_later(
            door.settings.socket_auth_seconds,
            self._refuse,
            Unauthenticated("You did not sign in.", code="auth_timeout"),
        )

    async def run(self, receive: Receive, token: str | None) -> None:
        """Serve until the client goes, or the socket is closed."""
        self._door.waiting[self._address] += 1
        try:
            if self._door.waiting[self._address] > _UNAUTHENTICATED_AN_ADDRESS:
                self._refuse(
                    TooManyRequests("Too many sockets wait to sign in.", code="too_many_sockets")
                )
            elif token is not None:
                await self._authenticate({"token": token})
            while (message := await receive())["type"] != "websocket.disconnect":
                if self._wire.ended is None:
                    await self._take(message)
        finally:
            self._leave()
            if self._live is not None:
                await self._live.close()
        await self._calls.finish()

    def push(self, frame: bytes) -> None:
        """Send a frame; a client that does not read is closed, never waited for."""
        self._wire.write(frame)

    def end(self, reason: str) -> None:
        """Close with 1008, for the login has ended."""
        self._refuse(Unauthenticated(reason, code="login_ended"))

    def send_away(self) -> None:
        """Close with 1012: the client is to come back, and is told then what it may have missed."""
        self._wire.end(RESTART, "pushes_missed")

    def _leave(self) -> None:
        self._deadline.cancel()
        if self._identity is None:
            self._forget_waiting()
        else:
            self._door.hub.leave(self._identity.user_id, self)
        if self._wire.ended is not None:
            self._calls.drop()
        CLOSES.labels(self._wire.ended or "gone").inc()

    # --- who it belongs to

    async def _authenticate(self, frame: dict[str, Any]) -> None:
        token = frame.get("token")
        try:
            if not isinstance(token, str):
                raise Unauthenticated("A token is missing.", code="token_missing")
            identity = await self._door.access.authenticate(token)
            if self._wire.ended is None:
                self._admit(identity, token)
        except CoachError as error:
            self._refuse(error)
            return
        # From being in the hub to what was missed nothing is awaited, so no push falls between.
        last = frame.get("last_event_id")
        missed = self._door.hub.since(identity.user_id, last) if isinstance(last, str) else None
        self._say(
            "auth_success",
            user_id=str(identity.user_id),
            expires_at=rfc3339(identity.expires_at),
            resumed=missed is not None,
        )
        for pushed in missed or ():
            self.push(pushed)

    def _admit(self, identity: Identity, token: str) -> None:
        """Let a user in, or on for longer."""
        if self._identity is None:
            if self._door.hub.count(identity.user_id) >= self._door.settings.max_sockets_a_user:
                raise TooManyRequests("Too many devices are connected.", code="too_many_sockets")
            self._forget_waiting()
            self._door.hub.join(identity.user_id, self)
        elif identity.user_id != self._identity.user_id:
            raise Unauthenticated("This socket belongs to somebody else.", code="wrong_user")
        self._identity, self.login_id, self._calls.token = identity, identity.login_id, token
        self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(
            (identity.expires_at - self._door.clock()).total_seconds(),
            self._refuse,
            Unauthenticated("Your sign-in has expired.", code="token_expired"),
        )

    def _forget_waiting(self) -> None:
        self._door.waiting[self._address] -= 1
        if self._door.waiting[self._address] <= 0:
            del self._door.waiting[self._address]

    # --- what comes in

    async def _take(self, message: Message) -> None:
        try:
            frame = parse(message)
            kind = frame["type"]
            if kind == "auth":
                await self._authenticate(frame)
            elif self._identity is None:
                raise Unauthenticated("Please sign in first.", code="auth_required")
            elif kind == "ping":
                self._say("pong")
            elif kind in KINDS:
                self._calls.add(frame)
            elif kind in LIVE:
                self._hear(frame)
            else:
                raise Refused("There is no such frame.", "unknown_type")
        except Unauthenticated as error:
            self._refuse(error)
        except CoachError as error:
            self._say("error", message=str(error), code=error.code)

    def _hear(self, frame: dict[str, Any]) -> None:
        """Hand live audio on."""
        if self._live is None:
            self._live = LiveAudio(
                self._door.settings,
                self._door.clock,
                self._calls.ask,
                self._say,
                self._calls.meant,
            )
        self._live.take(frame, token=self._calls.token)

    # --- what goes out

    def _say(self, kind: str, **fields: Any) -> None:
        self._wire.write(json.dumps({"type": kind, **fields}).encode())

    def _refuse(self, error: CoachError) -> None:
        """Say why, then close: every failed authentication ends so."""
        self._say("error", message=str(error), code=error.code)
        self._wire.end(POLICY, error.code)
