"""Live audio: kept as it comes, heard again and again, stored when it ends. `/internal/live`.

One WebSocket a recording, from the gateway alone (SERVICE_TOKEN) and in a person's name (their own
token in the first frame): `start {token, key, format, sample_rate?}` is answered by `started
{received}`, the bytes that are here already: whoever resumes goes on from there. Binary frames are
audio; `partial {text}` comes while somebody speaks; after `end` comes `stored {size}`, and then the
confirmed recording is transcribed like any other. What a broken connection left is stored, too.
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

from coach_ai.agreement import Agreement, Hypothesis
from coach_ai.deps import Deps
from coach_ai.domain import CannotTranscribe
from coach_ai.spool import CONTENT_TYPES, Recorded, Spool
from coach_common import logs
from coach_common.credentials import is_service_token
from coach_common.errors import CoachError, NotFound, TooManyRequests, Unavailable
from coach_common.tokens import AccessTokenVerifier

log = logs.get_logger(__name__)

LIVE = Gauge("coach_ai_live_recordings", "Recordings that are being spoken.")
PARTIALS = Counter("coach_ai_live_partials", "Partial texts that were sent.")
STORED = Counter("coach_ai_live_stored", "Live recordings that were stored, by why.", ["after"])

ABANDONED_SECONDS = 60.0
_MOST = 64
_START_SECONDS = 10.0
_STEP_SECONDS = 0.1
_AWAY_SECONDS = 5.0
_POLICY = 1008

router = APIRouter()


class LiveSpeech(Protocol):
    """Speech that is still being spoken."""

    async def hear(
        self, spool: Path, *, rate: int | None, begin: float, language: str | None
    ) -> tuple[Hypothesis, str | None] | None:
        """Return what is said from `begin` on, and the language where it is sure; None where
        that is nothing new."""


@dataclass(slots=True)
class Live:
    """What the live recordings of a process share."""

    deps: Deps
    speech: LiveSpeech
    tokens: AccessTokenVerifier
    service_token: str
    folder: Path
    abandoned_seconds: float = ABANDONED_SECONDS
    _open: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection until it ends; a later one for the same key takes its place."""
        given = socket.headers.get("authorization", "").removeprefix("Bearer ")
        if not is_service_token(given, self.service_token):
            await socket.close(_POLICY)
            return
        await socket.accept()
        with suppress(WebSocketDisconnect, RuntimeError):
            try:
                recorded = await self._announced(socket)
                await self._take_over(recorded.key)
                work = asyncio.create_task(self._record(socket, recorded))
                self._open[recorded.key] = work
                try:
                    await asyncio.wait({work})
                finally:
                    work.cancel()
                    if self._open.get(recorded.key) is work:
                        del self._open[recorded.key]
                if not work.cancelled():
                    work.result()
            except CoachError as error:
                await socket.send_json({"type": "error", "message": str(error), "code": error.code})
            await socket.close()

    async def sweep(self) -> None:
        """Store what was left behind; runs until cancelled."""
        while True:
            await asyncio.sleep(min(5.0, self.abandoned_seconds))
            for spool in await asyncio.to_thread(
                Spool.abandoned, self.folder, self.abandoned_seconds
            ):
                try:
                    await self._store(spool, "a break")
                except CoachError as error:
                    log.warning("live.not_stored", reason=str(error))
                finally:
                    spool.release()

    async def _announced(self, socket: WebSocket) -> Recorded:
        try:
            async with asyncio.timeout(_START_SECONDS):
                frame = await socket.receive_json()
        except (TimeoutError, ValueError, KeyError):
            frame = None
        if not isinstance(frame, dict) or frame.get("type") != "start":
            raise CannotTranscribe("Live audio begins with a start.")
        identity = await self.tokens.verify(str(frame.get("token")))
        recorded = Recorded.of(frame.get("key"), frame.get("format"), frame.get("sample_rate"))
        if not recorded.key.startswith(f"uploads/{identity.user_id}/"):
            raise NotFound("Recording not found")
        if len(self._open) >= _MOST:
            raise TooManyRequests("Too many people speak at once.")
        return recorded

    async def _take_over(self, key: str) -> None:
        """End the connection that this one replaces: it may be broken without knowing it yet."""
        if (before := self._open.get(key)) is not None:
            before.cancel()
            await asyncio.wait({before})

    async def _record(self, socket: WebSocket, recorded: Recorded) -> None:
        spool = await asyncio.to_thread(Spool.hold, self.folder, recorded)
        if spool is None:
            raise Unavailable("This recording is still being written.")
        hearing = asyncio.create_task(self._hear(socket, spool))
        LIVE.inc()
        try:
            await socket.send_json({"type": "started", "received": spool.received})
            await _receive(socket, spool)
            hearing.cancel()
            size = await self._store(spool, "its end")
            await socket.send_json({"type": "stored", "size": size})
        finally:
            LIVE.dec()
            hearing.cancel()
            spool.release()

    async def _hear(self, socket: WebSocket, spool: Spool) -> None:
        agreement = Agreement()
        heard_bytes, language = 0, None
        took = 0.0
        while True:
            # A long recording takes its time to be read anew: half of it is left for others.
            await asyncio.sleep(max(_STEP_SECONDS, took))
            if spool.received == heard_bytes:
                continue
            heard_bytes = spool.received
            began = time.monotonic()
            try:
                heard = await self.speech.hear(
                    spool.path,
                    rate=spool.recorded.rate,
                    begin=agreement.begin,
                    language=language,
                )
            except CoachError as error:
                # No partials then; the recording itself is what counts.
                log.warning("live.deaf", reason=str(error))
                await asyncio.sleep(_AWAY_SECONDS)
                continue
            if heard is None:
                took = time.monotonic() - began
                continue
            hypothesis, found = heard
            language = language or found
            if agreement.hear(hypothesis):
                PARTIALS.inc()
                await socket.send_json({"type": "partial", "text": agreement.text})

    async def _store(self, spool: Spool, after: str) -> int:
        content = await asyncio.to_thread(spool.content)
        if spool.received:
            await self.deps.objects.put(
                spool.recorded.key, content, content_type=CONTENT_TYPES[spool.recorded.format]
            )
            STORED.labels(after).inc()
        spool.remove()
        if not spool.received:
            raise CannotTranscribe("This recording is empty.")
        return len(content)


async def _receive(socket: WebSocket, spool: Spool) -> None:
    """Keep what comes until its end."""
    while True:
        message: dict[str, Any] = dict(await socket.receive())
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        content = message.get("bytes")
        if content:
            spool.append(content)
        elif message.get("text"):
            with suppress(ValueError, AttributeError):
                if json.loads(message["text"]).get("type") == "end":
                    return


@router.websocket("/internal/live")
async def live(socket: WebSocket) -> None:
    """Take live audio."""
    serving: Live = socket.app.state.live
    await serving.serve(socket)
