"""A user's open sockets, and what is pushed to them."""

import asyncio
import json
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from prometheus_client import Counter, Gauge

from coach_common import logs
from coach_common.db.transaction import MessageContext
from coach_common.errors import Unavailable
from coach_common.events.catalog import (
    SessionJudged,
    SessionMeasured,
    SessionTranscribed,
    TranscriptionCompleted,
    TranscriptionProgressed,
)
from coach_common.messaging.subscriptions import Handlers

log = logs.get_logger(__name__)

OPEN_SOCKETS = Gauge("coach_gateway_sockets", "Open, authenticated sockets.")
PUSHES = Counter("coach_gateway_pushes", "Frames pushed to sockets.", ["type"])
KEPT_BYTES = Gauge("coach_gateway_kept_bytes", "Pushes kept for those who come back.")

_OVERLAP_SECONDS = 30.0
_KEPT_SECONDS = 300.0 + _OVERLAP_SECONDS
_KEPT_A_USER = 100
_KEPT_BYTES_A_USER = 512 * 1024
_KEPT_BYTES = 64 * 1024 * 1024
_LOOK_SECONDS = 1.0


class Pushed(Protocol):
    """An open socket, as the hub sees it."""

    login_id: UUID

    def push(self, frame: bytes) -> None:
        """Send a frame; never waits."""

    def end(self, reason: str) -> None:
        """Close with 1008."""

    def send_away(self) -> None:
        """Close with 1012."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A frame that was pushed, for those who come back."""

    event_id: str
    at: float
    frame: bytes


@dataclass(slots=True)
class Past:
    """The last pushes of a user, and since when none of them is missing here."""

    whole_since: float
    kept: deque[Kept] = field(default_factory=deque)
    size: int = 0

    def add(self, pushed: Kept) -> None:
        """Keep one more, and let go of what is too old or too much."""
        self.kept.append(pushed)
        self.size += len(pushed.frame)
        while (
            self.kept[0].at < pushed.at - _KEPT_SECONDS
            or len(self.kept) > _KEPT_A_USER
            or (self.size > _KEPT_BYTES_A_USER and len(self.kept) > 1)
        ):
            gone = self.kept.popleft()
            self.size -= len(gone.frame)
            self.whole_since = gone.at

    def since(self, event_id: str) -> list[bytes] | None:
        """Return the pushes from 30 s before that one on; None where one may be missing."""
        known = next((one for one in self.kept if one.event_id == event_id), None)
        if known is None or known.at - _OVERLAP_SECONDS <= self.whole_since:
            return None
        return [one.frame for one in self.kept if one.at >= known.at - _OVERLAP_SECONDS]


class Hub:
    """Who is here, and the last pushes of each user (bounded in time, number and size)."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._sockets: dict[UUID, set[Pushed]] = {}
        self._past: OrderedDict[UUID, Past] = OrderedDict()
        self._size = 0
        self._whole_since = float("-inf")

    def join(self, user_id: UUID, socket: Pushed) -> None:
        """Push to this socket from now on."""
        self._sockets.setdefault(user_id, set()).add(socket)
        OPEN_SOCKETS.inc()

    def leave(self, user_id: UUID, socket: Pushed) -> None:
        """Stop pushing to it."""
        sockets = self._sockets[user_id]
        sockets.remove(socket)
        if not sockets:
            del self._sockets[user_id]
        OPEN_SOCKETS.dec()

    def count(self, user_id: UUID) -> int:
        """Return how many sockets a user has open."""
        return len(self._sockets.get(user_id, ()))

    def push(self, user_id: UUID, frame: dict[str, Any]) -> None:
        """Send a frame to every socket of a user, and keep it for a while."""
        said = json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()
        self._keep(user_id, Kept(frame["event_id"], self._now(), said))
        sockets = self._sockets.get(user_id, ())
        for socket in sockets:
            socket.push(said)
        PUSHES.labels(frame["type"]).inc(len(sockets))

    def pushed(self, user_id: UUID, kind: str, about: str, value: str) -> list[dict[str, Any]]:
        """Return the frames of this type among the last pushes whose field `about` has a value."""
        past = self._past.get(user_id)
        frames = (json.loads(one.frame) for one in (past.kept if past is not None else ()))
        return [frame for frame in frames if frame["type"] == kind and frame.get(about) == value]

    def since(self, user_id: UUID, last_event_id: str) -> list[bytes] | None:
        """Return the pushes from 30 s before that one on; None where one may be missing."""
        past = self._past.get(user_id)
        return None if past is None else past.since(last_event_id)

    def end_logins(self, login_ids: set[UUID]) -> None:
        """Close the sockets of logins that ended."""
        for sockets in self._sockets.values():
            for socket in sockets:
                if socket.login_id in login_ids:
                    socket.end("Your sign-in has ended.")

    async def watch(self, check: Callable[[], Awaitable[None]]) -> None:
        """Follow the broker: what it had while it was away from us never reaches this replica."""
        await self._until_back(check)
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await check()
            except Unavailable:
                await self._until_back(check)
                self.start_over()

    async def _until_back(self, check: Callable[[], Awaitable[None]]) -> None:
        """Return once it answered twice in a row: queues are bound a moment after a connection."""
        answers = 0
        while answers < 2:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await check()
                answers += 1
            except Unavailable:
                answers = 0

    def start_over(self) -> None:
        """Send everybody away, for pushes were missed: who comes back is told to ask."""
        self._past.clear()
        self._size = 0
        self._whole_since = self._now()
        KEPT_BYTES.set(0)
        log.warning("hub.pushes_missed", users=len(self._sockets))
        for sockets in self._sockets.values():
            for socket in sockets:
                socket.send_away()

    def _keep(self, user_id: UUID, pushed: Kept) -> None:
        past = self._past.setdefault(user_id, Past(self._whole_since))
        self._past.move_to_end(user_id)
        self._size -= past.size
        past.add(pushed)
        self._size += past.size
        # Whoever was pushed to longest ago goes first, and at most 5.5 minutes after that.
        while len(self._past) > 1:
            oldest = next(iter(self._past.values()))
            if self._size <= _KEPT_BYTES and oldest.kept[-1].at >= pushed.at - _KEPT_SECONDS:
                break
            self._past.popitem(last=False)
            self._size -= oldest.size
            self._whole_since = max(self._whole_since, oldest.kept[-1].at)
        KEPT_BYTES.set(self._size)


async def on_session_transcribed(
    hub: Hub, event: SessionTranscribed, delivery: MessageContext
) -> None:
    """Push the transcript of a session."""
    _push_transcript(hub, event.user_id, delivery, str(event.session_id), event.key, event.text)


async def on_transcription_completed(
    hub: Hub, event: TranscriptionCompleted, delivery: MessageContext
) -> None:
    """Push the transcript of a recording without a session; sessions tells of the others."""
    if event.session_id is None:
        _push_transcript(hub, event.user_id, delivery, None, event.key, event.text)


async def on_transcription_progressed(
    hub: Hub, event: TranscriptionProgressed, delivery: MessageContext
) -> None:
    """Push how far a long recording has come; nothing where its transcript was faster."""
    if not hub.pushed(event.user_id, "transcript", "key", event.key):
        frame = event.model_dump(mode="json", exclude={"user_id", "upload_id"})
        hub.push(event.user_id, {"type": "progress", "event_id": str(delivery.event_id)} | frame)


async def on_session_measured(hub: Hub, event: SessionMeasured, delivery: MessageContext) -> None:
    """Push what is known ahead of the judgement; nothing where what comes later was faster."""
    told = hub.pushed(event.user_id, "feedback", "session_id", str(event.session_id))
    if all(_stage(frame["status"]) <= _stage(event.feedback.status) for frame in told):
        await on_session_judged(hub, event, delivery)


async def on_session_judged(
    hub: Hub, event: SessionJudged | SessionMeasured, delivery: MessageContext
) -> None:
    """Push the feedback."""
    feedback = event.feedback.model_dump(mode="json")
    hub.push(event.user_id, {"type": "feedback", "event_id": str(delivery.event_id)} | feedback)


def _stage(status: str) -> int:
    """Return where a feedback stands on its way: waiting for words, for a judgement, final."""
    return {"transcribing": 0, "scoring": 1}.get(status, 2)


def _push_transcript(
    hub: Hub, user_id: UUID, delivery: MessageContext, session_id: str | None, key: str, text: str
) -> None:
    hub.push(
        user_id,
        {
            "type": "transcript",
            "event_id": str(delivery.event_id),
            "session_id": session_id,
            "key": key,
            "text": text,
            "final": True,
        },
    )


SUBSCRIPTIONS: Handlers[Hub] = {
    SessionTranscribed: on_session_transcribed,
    TranscriptionCompleted: on_transcription_completed,
    TranscriptionProgressed: on_transcription_progressed,
    SessionMeasured: on_session_measured,
    SessionJudged: on_session_judged,
}
