"""What a socket asks of the services, in its user's name."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from coach_common import logs, telemetry
from coach_common.errors import CoachError, InvalidInput, NotFound, TooManyRequests
from coach_common.ids import parse_id
from coach_gateway.sockets.door import Door
from coach_gateway.sockets.frames import Refused

log = logs.get_logger(__name__)

_WAITING = 64
_TITLE_CHARACTERS = 80


class Calls:
    """The calls of one socket, one after the other; a task only while there are any."""

    __slots__ = ("_door", "_say", "_session_id", "_waiting", "_working", "token")

    def __init__(self, door: Door, say: Callable[..., None]) -> None:
        self.token = ""  # nosec B105 # not there yet
        self._door = door
        self._say = say
        self._session_id: str | None = None
        self._waiting: list[dict[str, Any]] = []
        self._working: asyncio.Task[None] | None = None

    def add(self, frame: dict[str, Any]) -> None:
        """Have a frame of one of the KINDS done; TooMany where too many wait."""
        if len(self._waiting) >= _WAITING:
            raise TooManyRequests("Too much at once.", code="busy")
        self._waiting.append(frame)
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    def drop(self) -> None:
        """Forget what has not begun."""
        self._waiting.clear()

    async def finish(self) -> None:
        """Return once everything that was added and not dropped is done."""
        if self._working is not None:
            await self._working

    async def _work(self) -> None:
        try:
            while self._waiting:
                frame = self._waiting.pop(0)
                try:
                    await KINDS[frame["type"]](self, frame)
                except CoachError as error:
                    self._say("error", message=str(error), code=error.code)
                except Exception:
                    log.exception("socket.call_crashed", kind=frame["type"])
                    self._say("error", message="Something went wrong.", code="internal")
        finally:
            self._working = None

    async def _session_start(self, frame: dict[str, Any]) -> None:
        if frame.get("session_id") is not None:
            session_id = _session_id(frame)
            await self.ask("sessions", "GET", f"/sessions/{session_id}")
        else:
            question = frame.get("question")
            if not isinstance(question, str) or not question.strip():
                raise InvalidInput("question: a session needs one")
            title = frame.get("title") or question.strip()[:_TITLE_CHARACTERS]
            opened = await self.ask("sessions", "POST", "/sessions", title=title, question=question)
            session_id = str(opened["id"])
        self._session_id = session_id
        self._say("session_started", session_id=session_id)

    async def _audio_uri(self, frame: dict[str, Any]) -> None:
        key = frame.get("key")
        if not isinstance(key, str) or not key:
            raise Refused("Upload the recording first and send its `key`.", "key_needed")
        session_id = self._meant(frame)
        now_ms = int(self._door.clock().timestamp() * 1000)
        await self.ask(
            "media", "POST", "/upload/confirm", key=key, uploaded_at=now_ms, session_id=session_id
        )

    async def _complete(self, frame: dict[str, Any]) -> None:
        session_id = self._meant(frame)
        known = {
            name: frame[name]
            for name in ("duration_seconds", "transcript", "audio_s3_key")
            if frame.get(name) is not None
        }
        await self.ask("sessions", "POST", f"/sessions/{session_id}/complete", **known)

    def _meant(self, frame: dict[str, Any]) -> str:
        if frame.get("session_id") is not None:
            return _session_id(frame)
        if self._session_id is None:
            raise Refused("Start a session first.", "no_session")
        return self._session_id

    async def meant(self, frame: dict[str, Any]) -> str:
        """Return the session a frame is for, once what was asked before it is done."""
        await self.finish()
        return self._meant(frame)

    async def ask(self, upstream: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Make a call as the gateway would forward it: the login not ended, and counted."""
        identity = await self._door.access.authenticate(self.token)
        self._door.limits.take("user", str(identity.user_id))
        headers = {
            "authorization": f"Bearer {self.token}",
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


KINDS = {
    "session_start": Calls._session_start,
    "audio_uri": Calls._audio_uri,
    "complete": Calls._complete,
}
"""The frames that become calls."""


def _session_id(frame: dict[str, Any]) -> str:
    if not isinstance(frame["session_id"], str):
        raise NotFound("Session not found", code="session_not_found")
    return str(parse_id(frame["session_id"], resource="Session"))
