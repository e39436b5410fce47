"""The socket: /ws/transcribe. It ends here; what it asks for becomes calls in the user's name."""

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import prometheus_client
from starlette.types import Message, Receive, Scope, Send

from coach_common import logs, telemetry
from coach_common.clock import Clock, rfc3339
from coach_common.errors import CoachError, Invalid, NotFound, TooMany, Unauthenticated
from coach_common.http import problems
from coach_common.identity import Identity
from coach_common.ids import parse_id
from coach_gateway.access import Access, bearer_of
from coach_gateway.config import GatewaySettings
from coach_gateway.hub import Hub
from coach_gateway.proxy import Proxy

log = logs.get(__name__)

CLOSES = prometheus_client.Counter("coach_gateway_socket_closes", "Closed sockets.", ["reason"])

MAX_FRAME_BYTES = 4 * 1024 * 1024
_MAX_TEXT_BYTES = 1024 * 1024
_QUEUED_FRAMES = 256
_WAITING_CALLS = 64
_UNAUTHENTICATED_AN_ADDRESS = 100
_CLOSE_SECONDS = 2.0
_TITLE_CHARACTERS = 80
_POLICY = 1008
_LIVE = {"audio_start", "audio_end"}


class Refused(CoachError):
    """Said to the client in an `error` frame."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code=code)


class Ended(Exception):
    """The socket is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Door:
    """What every socket shares."""

    settings: GatewaySettings
    access: Access
    proxy: Proxy
    hub: Hub
    clock: Clock
    waiting: Counter[str]
    """Sockets that have not authenticated yet, by address."""


async def serve(door: Door, scope: Scope, receive: Receive, send: Send, address: str) -> None:
    """Answer one handshake and serve its socket until it ends."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    await receive()  # websocket.connect
    if any(name in ("token", "access_token") for name, _ in parse_qsl(_query(scope))):
        await _refuse(scope, send, 400, "A token does not belong into an address.")
        return
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") not in door.settings.cors_origins:
        await _refuse(scope, send, 403, "This origin may not connect.")
        return
    offered = scope.get("subprotocols", [])
    await send(
        {"type": "websocket.accept", "subprotocol": "bearer" if "bearer" in offered else None}
    )
    socket = Socket(door, receive, send, address)
    with suppress(OSError):
        await socket.run(_presented(headers, offered))


class Socket:
    """One open socket."""

    login_id: UUID

    def __init__(self, door: Door, receive: Receive, send: Send, address: str) -> None:
        self._door = door
        self._receive = receive
        self._send = send
        self._address = address
        self._outgoing: asyncio.Queue[str] = asyncio.Queue(_QUEUED_FRAMES)
        self._calls: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_WAITING_CALLS)
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._authenticated = asyncio.Event()
        self._identity: Identity | None = None
        self._token = ""  # nosec B105 # not there yet
        self._session_id: str | None = None
        self._frames = float(door.settings.socket_frames_a_second * 2)
        self._counted_at = time.monotonic()

    async def run(self, token: str | None) -> None:
        """Serve until the client goes, or the socket is closed."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._deliver(), self._listen(token), self._call(), self._watch())
        ]
        try:
            waited: list[asyncio.Future[Any]] = [self._ended, *tasks]
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for one in done - {self._ended}:
                one.result()
        finally:
            await self._close(tasks)

    def push(self, text: str) -> None:
        """Queue a frame; a client that does not read is closed, never waited for."""
        try:
            self._outgoing.put_nowait(text)
        except asyncio.QueueFull:
            self._end(Ended(_POLICY, "not reading"))

    def end(self, reason: str) -> None:
        """Close with 1008."""
        self._say("error", message=reason, code="login_ended")
        self._end(Ended(_POLICY, "login ended"))

    async def _close(self, tasks: list[asyncio.Task[None]]) -> None:
        ended = self._ended.result() if self._ended.done() else Ended(1000, "gone")
        if self._identity is not None:
            self._door.hub.leave(self._identity.user_id, self)
        elif not self._authenticated.is_set():
            self._forget_waiting()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while ended.code != 1000 and not self._outgoing.empty():
                    if tasks[0].done():
                        break
                    await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        CLOSES.labels(ended.reason).inc()
        if ended.code != 1000:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._send(
                        {"type": "websocket.close", "code": ended.code, "reason": ended.reason}
                    )

    # --- what comes in

    async def _listen(self, token: str | None) -> None:
        self._door.waiting[self._address] += 1
        if self._door.waiting[self._address] > _UNAUTHENTICATED_AN_ADDRESS:
            self._refuse(TooMany("Too many sockets wait to sign in."))
        elif token is not None:
            await self._authenticate({"token": token})
        while not self._ended.done():
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._end(Ended(1000, "gone"))
                return
            self._count_frame()
            await self._take(message)

    async def _take(self, message: Message) -> None:
        try:
            frame = _parse(message)
            kind = frame["type"]
            if kind == "auth":
                await self._authenticate(frame)
            elif self._identity is None:
                raise Unauthenticated("Please sign in first.", code="auth_required")
            elif kind == "ping":
                self._say("pong")
            elif kind in _HANDLERS:
                self._calls.put_nowait(frame)
            elif kind in _LIVE:
                raise Refused("Live audio is not available yet.", "live_unavailable")
            else:
                raise Refused("There is no such frame.", "unknown_type")
        except asyncio.QueueFull:
            self._say("error", message="Too much at once.", code="busy")
        except Unauthenticated as error:
            self._refuse(error)
        except CoachError as error:
            self._say("error", message=str(error), code=error.code)

    async def _authenticate(self, frame: dict[str, Any]) -> None:
        token = frame.get("token")
        try:
            if not isinstance(token, str):
                raise Unauthenticated("A token is missing.", code="token_missing")
            identity = await self._door.access.authenticate(token)
            if self._identity is not None and identity.user_id != self._identity.user_id:
                raise Unauthenticated("This socket belongs to somebody else.", code="wrong_user")
            if self._identity is None:
                self._admit(identity)
        except CoachError as error:
            self._refuse(error)
            return
        self._identity, self._token, self.login_id = identity, token, identity.login_id
        self._authenticated.set()
        last = frame.get("last_event_id")
        missed = self._door.hub.since(identity.user_id, last) if isinstance(last, str) else None
        self._say(
            "auth_success",
            user_id=str(identity.user_id),
            expires_at=rfc3339(identity.expires_at),
            resumed=missed is not None,
        )
        for text in missed or ():
            self.push(text)

    def _admit(self, identity: Identity) -> None:
        hub = self._door.hub
        if hub.count(identity.user_id) >= self._door.settings.max_sockets_a_user:
            raise TooMany("Too many devices are connected.", code="too_many_sockets")
        self._forget_waiting()
        self.login_id = identity.login_id
        hub.join(identity.user_id, self)

    async def _watch(self) -> None:
        """End the socket that never signs in, or whose token has expired."""
        try:
            async with asyncio.timeout(self._door.settings.socket_auth_seconds):
                await self._authenticated.wait()
        except TimeoutError:
            self._refuse(Unauthenticated("You did not sign in.", code="auth_timeout"))
            return
        while self._identity is not None:
            left = (self._identity.expires_at - self._door.clock()).total_seconds()
            if left <= 0:
                self._refuse(Unauthenticated("Your sign-in has expired.", code="token_expired"))
                return
            await asyncio.sleep(min(left, 0.5))

    # --- what it asks for

    async def _call(self) -> None:
        while True:
            frame = await self._calls.get()
            try:
                await _HANDLERS[frame["type"]](self, frame)
            except CoachError as error:
                self._say("error", message=str(error), code=error.code)

    async def _session_start(self, frame: dict[str, Any]) -> None:
        if frame.get("session_id") is not None:
            session_id = _session_id(frame)
            await self._ask("sessions", "GET", f"/sessions/{session_id}")
        else:
            question = frame.get("question")
            if not isinstance(question, str) or not question.strip():
                raise Invalid("question: a session needs one")
            title = frame.get("title") or question.strip()[:_TITLE_CHARACTERS]
            opened = await self._ask(
                "sessions", "POST", "/sessions", title=title, question=question
            )
            session_id = str(opened["id"])
        self._session_id = session_id
        self._say("session_started", session_id=session_id)

    async def _audio_uri(self, frame: dict[str, Any]) -> None:
        key = frame.get("key")
        if not isinstance(key, str) or not key:
            raise Refused("Upload the recording first and send its `key`.", "key_needed")
        session_id = self._meant(frame)
        now_ms = int(self._door.clock().timestamp() * 1000)
        await self._ask(
            "media", "POST", "/upload/confirm", key=key, uploaded_at=now_ms, session_id=session_id
        )

    async def _complete(self, frame: dict[str, Any]) -> None:
        session_id = self._meant(frame)
        known = {
            name: frame[name]
            for name in ("duration_seconds", "transcript", "audio_s3_key")
            if frame.get(name) is not None
        }
        await self._ask("sessions", "POST", f"/sessions/{session_id}/complete", **known)

    def _meant(self, frame: dict[str, Any]) -> str:
        if frame.get("session_id") is not None:
            return _session_id(frame)
        if self._session_id is None:
            raise Refused("Start a session first.", "no_session")
        return self._session_id

    async def _ask(self, upstream: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        headers = {
            "authorization": f"Bearer {self._token}",
            "content-type": "application/json",
            "traceparent": telemetry.new_traceparent(),
        }
        sent = json.dumps(body).encode() if method == "POST" else b""
        status, answer = await self._door.proxy.call(
            upstream, method, path, headers=headers, body=sent
        )
        said: dict[str, Any] = json.loads(answer) if answer else {}
        if status >= 400:
            raise Refused(str(said.get("detail", "It did not work.")), said.get("code", "error"))
        return said

    # --- what goes out

    async def _deliver(self) -> None:
        while True:
            text = await self._outgoing.get()
            await self._send({"type": "websocket.send", "text": text})

    def _say(self, kind: str, **fields: Any) -> None:
        self.push(json.dumps({"type": kind, **fields}))

    def _refuse(self, error: CoachError) -> None:
        """Say why, then close: every failed authentication ends so."""
        self._say("error", message=str(error), code=error.code)
        self._end(Ended(_POLICY, error.code))

    def _end(self, ended: Ended) -> None:
        if not self._ended.done():
            self._ended.set_result(ended)

    def _count_frame(self) -> None:
        now = time.monotonic()
        rate = self._door.settings.socket_frames_a_second
        self._frames = min(rate * 2.0, self._frames + (now - self._counted_at) * rate) - 1
        self._counted_at = now
        if self._frames < 0:
            self._end(Ended(_POLICY, "flood"))

    def _forget_waiting(self) -> None:
        self._door.waiting[self._address] -= 1
        if self._door.waiting[self._address] <= 0:
            del self._door.waiting[self._address]


_HANDLERS = {
    "session_start": Socket._session_start,
    "audio_uri": Socket._audio_uri,
    "complete": Socket._complete,
}


def _parse(message: Message) -> dict[str, Any]:
    text = message.get("text")
    if text is None:
        return {"type": "audio_start"}
    if len(text) > _MAX_TEXT_BYTES:
        raise Refused("A frame may have up to 1 MiB.", "too_large")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("This is not JSON.", "bad_json") from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise Refused("A frame is an object with a `type`.", "bad_json")
    return frame


def _session_id(frame: dict[str, Any]) -> str:
    if not isinstance(frame["session_id"], str):
        raise NotFound("Session not found", code="session_not_found")
    return str(parse_id(frame["session_id"], what="Session"))


def _presented(headers: dict[bytes, bytes], offered: list[str]) -> str | None:
    """Return a token that came with the handshake."""
    if b"authorization" in headers:
        try:
            return bearer_of(headers[b"authorization"])
        except Unauthenticated:
            return ""
    if len(offered) == 2 and offered[0] == "bearer":
        return offered[1]
    return None


def _query(scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    return query.decode("latin-1")


async def _refuse(scope: Scope, send: Send, status: int, detail: str) -> None:
    """Answer the handshake with an HTTP error, before any upgrade."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    body = json.dumps(problems.body_of(status, detail, code="refused")).encode()
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
