"""A user's open sockets, and what is pushed to them."""

import json
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from prometheus_client import Counter, Gauge

from coach_common.db.transaction import Delivery
from coach_common.events.catalog import (
    SessionJudged,
    SessionMeasured,
    SessionTranscribed,
    TranscriptionCompleted,
)
from coach_common.messaging.subscriptions import Handlers

OPEN_SOCKETS = Gauge("coach_gateway_sockets", "Open, authenticated sockets.")
PUSHES = Counter("coach_gateway_pushes", "Frames pushed to sockets.", ["type"])

_KEPT_SECONDS = 300.0
_KEPT_A_USER = 100
_KEPT_USERS = 10_000
_OVERLAP_SECONDS = 30.0


class Pushed(Protocol):
    """An open socket, as the hub sees it."""

    login_id: UUID

    def push(self, text: str) -> None:
        """Queue a frame; never waits."""

    def end(self, reason: str) -> None:
        """Close with 1008."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A frame that was pushed, for those who come back."""

    event_id: str
    at: float
    text: str


class Hub:
    """Who is here, and the last pushes of each user (bounded in time and number)."""

    def __init__(self) -> None:
        self._sockets: dict[UUID, set[Pushed]] = {}
        self._kept: OrderedDict[UUID, deque[Kept]] = OrderedDict()

    def join(self, user_id: UUID, socket: Pushed) -> None:
        """Push to this socket from now on."""
        self._sockets.setdefault(user_id, set()).add(socket)
        OPEN_SOCKETS.inc()

    def leave(self, user_id: UUID, socket: Pushed) -> None:
        """Stop pushing to it."""
        sockets = self._sockets.get(user_id, set())
        if socket in sockets:
            sockets.remove(socket)
            OPEN_SOCKETS.dec()
        if not sockets:
            self._sockets.pop(user_id, None)

    def count(self, user_id: UUID) -> int:
        """Return how many sockets a user has open."""
        return len(self._sockets.get(user_id, ()))

    def push(self, user_id: UUID, frame: dict[str, Any]) -> None:
        """Send a frame to every socket of a user, and keep it for a while."""
        text = json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
        self._keep(user_id, Kept(frame["event_id"], time.monotonic(), text))
        for socket in list(self._sockets.get(user_id, ())):
            socket.push(text)
            PUSHES.labels(frame["type"]).inc()

    def has_pushed(self, user_id: UUID, kind: str, session_id: str) -> bool:
        """Tell whether a frame of this type about a session is among the last pushes."""
        frames = (json.loads(one.text) for one in self._kept.get(user_id, ()))
        return any(
            frame["type"] == kind and frame.get("session_id") == session_id for frame in frames
        )

    def since(self, user_id: UUID, last_event_id: str) -> list[str] | None:
        """Return the pushes from 30 s before that one on; None where it is not known here."""
        kept = self._kept.get(user_id, ())
        for one in kept:
            if one.event_id == last_event_id:
                return [other.text for other in kept if other.at >= one.at - _OVERLAP_SECONDS]
        return None

    def end_logins(self, login_ids: set[UUID]) -> None:
        """Close the sockets of logins that ended."""
        for sockets in list(self._sockets.values()):
            for socket in list(sockets):
                if socket.login_id in login_ids:
                    socket.end("Your sign-in has ended.")

    def _keep(self, user_id: UUID, pushed: Kept) -> None:
        kept = self._kept.setdefault(user_id, deque(maxlen=_KEPT_A_USER))
        kept.append(pushed)
        self._kept.move_to_end(user_id)
        while kept and kept[0].at < pushed.at - _KEPT_SECONDS:
            kept.popleft()
        while len(self._kept) > _KEPT_USERS:
            self._kept.popitem(last=False)


async def on_session_transcribed(hub: Hub, event: SessionTranscribed, delivery: Delivery) -> None:
    """Push the transcript of a session."""
    _push_transcript(hub, event.user_id, delivery, str(event.session_id), event.key, event.text)


async def on_transcription_completed(
    hub: Hub, event: TranscriptionCompleted, delivery: Delivery
) -> None:
    """Push the transcript of a recording without a session; sessions tells of the others."""
    if event.session_id is None:
        _push_transcript(hub, event.user_id, delivery, None, event.key, event.text)


async def on_session_measured(hub: Hub, event: SessionMeasured, delivery: Delivery) -> None:
    """Push what is known ahead of the judgement; nothing where that was faster."""
    if not hub.has_pushed(event.user_id, "feedback", str(event.session_id)):
        await on_session_judged(hub, event, delivery)


async def on_session_judged(
    hub: Hub, event: SessionJudged | SessionMeasured, delivery: Delivery
) -> None:
    """Push the feedback."""
    frame = {"type": "feedback", "event_id": str(delivery.event_id)} | event.feedback
    hub.push(event.user_id, frame)


def _push_transcript(
    hub: Hub, user_id: UUID, delivery: Delivery, session_id: str | None, key: str, text: str
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
    SessionMeasured: on_session_measured,
    SessionJudged: on_session_judged,
}
