"""Open sockets per user and the frames pushed to them."""

import asyncio
import json
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from prometheus_client import Counter, Gauge

from coach_common import logs, telemetry, tracing
from coach_common.errors import Unavailable
from coach_common.events.catalog import (
    SessionDeleted,
    SessionJudged,
    SessionMeasured,
    SessionTranscribed,
    TranscriptionCompleted,
    TranscriptionProgressed,
    UserDeleted,
)
from coach_common.events.exports import ExportCompleted
from coach_common.events.interviews import InterviewDeleted
from coach_common.messaging.message import MessageContext
from coach_common.messaging.subscriptions import Handlers
from coach_gateway.sockets.frames import ExportFrame, FeedbackFrame, ProgressFrame, TranscriptFrame

log = logs.get_logger(__name__)

OPEN_SOCKETS = Gauge("coach_gateway_sockets", "Open, authenticated sockets.")
PUSHES = Counter("coach_gateway_pushes", "Frames pushed to sockets.", ["type"])
SOCKET_FAILURES = Counter("coach_gateway_socket_failures", "Failed writes to single sockets.")
PUSH_BUFFER_BYTES = Gauge(
    "coach_gateway_push_buffer_bytes", "Pushes buffered for reconnecting clients."
)

_REPLAY_OVERLAP_SECONDS = 30.0
_RETENTION_SECONDS = 300.0 + _REPLAY_OVERLAP_SECONDS
_MAX_PUSHES_PER_USER = 100
_MAX_PUSH_BYTES_PER_USER = 512 * 1024
_MAX_PUSH_BYTES = 64 * 1024 * 1024
_BROKER_POLL_SECONDS = 1.0


class PushTarget(Protocol):
    """An open socket."""

    login_id: UUID

    def push(self, frame: bytes) -> None:
        """Send a frame without waiting."""

    def close_revoked(self, reason: str) -> None:
        """Close with 1008."""

    def close_for_reconnect(self) -> None:
        """Close with 1012."""


@dataclass(frozen=True, slots=True)
class BufferedPush:
    """A pushed frame, kept for reconnecting clients."""

    event_id: str
    pushed_at: float
    frame: bytes


@dataclass(slots=True)
class PushHistory:
    """Recent pushes of one user. No push after `complete_since` was evicted."""

    complete_since: float
    pushes: deque[BufferedPush] = field(default_factory=deque)
    size_bytes: int = 0

    def add(self, pushed: BufferedPush) -> None:
        """Append a push and evict those beyond the bounds in age, number and size."""
        self.pushes.append(pushed)
        self.size_bytes += len(pushed.frame)
        while (
            self.pushes[0].pushed_at < pushed.pushed_at - _RETENTION_SECONDS
            or len(self.pushes) > _MAX_PUSHES_PER_USER
            or (self.size_bytes > _MAX_PUSH_BYTES_PER_USER and len(self.pushes) > 1)
        ):
            evicted = self.pushes.popleft()
            self.size_bytes -= len(evicted.frame)
            self.complete_since = evicted.pushed_at

    def replay_from(self, event_id: str) -> list[bytes] | None:
        """Return the pushes from 30 s before an event on, or None if one may be missing."""
        last_seen = next((one for one in self.pushes if one.event_id == event_id), None)
        if (
            last_seen is None
            or last_seen.pushed_at - _REPLAY_OVERLAP_SECONDS <= self.complete_since
        ):
            return None
        return [
            one.frame
            for one in self.pushes
            if one.pushed_at >= last_seen.pushed_at - _REPLAY_OVERLAP_SECONDS
        ]


class PushHub:
    """Registry of open sockets and recent pushes, bounded in age, number and size."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._sockets: dict[UUID, set[PushTarget]] = {}
        self._open_sockets = 0
        self._history: OrderedDict[UUID, PushHistory] = OrderedDict()
        self._size_bytes = 0
        self._complete_since = float("-inf")

    def register(self, user_id: UUID, socket: PushTarget) -> None:
        """Start pushing to a socket."""
        self._sockets.setdefault(user_id, set()).add(socket)
        self._open_sockets += 1
        OPEN_SOCKETS.set(self._open_sockets)

    def unregister(self, user_id: UUID, socket: PushTarget) -> None:
        """Stop pushing to a socket."""
        sockets = self._sockets[user_id]
        sockets.remove(socket)
        if not sockets:
            del self._sockets[user_id]
        self._open_sockets -= 1
        OPEN_SOCKETS.set(self._open_sockets)

    def count(self, user_id: UUID) -> int:
        """Return how many sockets a user has open."""
        return len(self._sockets.get(user_id, ()))

    def push(self, user_id: UUID, frame: dict[str, Any]) -> None:
        """Send a frame to every socket of a user and buffer it for reconnecting clients."""
        span = tracing.start_span(
            "gateway",
            f"push {frame['type']}",
            tracing.Kind.INTERNAL,
            parent=telemetry.current_traceparent.get(),
        )
        encoded = json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()
        self._buffer(user_id, BufferedPush(frame["event_id"], self._now(), encoded))
        sockets = list(self._sockets.get(user_id, ()))
        for socket in sockets:
            _call(socket.push, encoded)
        PUSHES.labels(frame["type"]).inc(len(sockets))
        span.end({"coach.sockets": len(sockets)})

    def find_pushes(
        self, user_id: UUID, frame_type: str, field_name: str, value: str
    ) -> list[dict[str, Any]]:
        """Return the buffered frames of a type in which a field has a value."""
        history = self._history.get(user_id)
        frames = (json.loads(one.frame) for one in (history.pushes if history is not None else ()))
        return [
            frame
            for frame in frames
            if frame["type"] == frame_type and frame.get(field_name) == value
        ]

    def replay_from(self, user_id: UUID, last_event_id: str) -> list[bytes] | None:
        """Return the pushes from 30 s before an event on, or None if one may be missing."""
        history = self._history.get(user_id)
        return None if history is None else history.replay_from(last_event_id)

    def discard_pushes(self, user_id: UUID, *, session_id: UUID | None = None) -> None:
        """Delete the buffered pushes of a deleted user, or of one deleted session of a user."""
        history = self._history.get(user_id)
        if history is None:
            return
        self._size_bytes -= history.size_bytes
        kept = () if session_id is None else history.pushes
        history.pushes = deque(
            one for one in kept if json.loads(one.frame).get("session_id") != str(session_id)
        )
        history.size_bytes = sum(len(one.frame) for one in history.pushes)
        self._size_bytes += history.size_bytes
        if not history.pushes:
            del self._history[user_id]
        PUSH_BUFFER_BYTES.set(self._size_bytes)

    def close_revoked(self, login_ids: set[UUID]) -> None:
        """Close the sockets of revoked logins."""
        for socket in self._list_all():
            if socket.login_id in login_ids:
                _call(socket.close_revoked, "Your sign-in has ended.")

    async def watch_broker(self, check: Callable[[], Awaitable[None]]) -> None:
        """Watch the broker connection until cancelled.

        Messages published while it was down never reach this replica's volatile queue. Clients
        are therefore closed with 1012 and fetch their state with GET.
        """
        await self._wait_until_connected(check)
        while True:
            await asyncio.sleep(_BROKER_POLL_SECONDS)
            try:
                await check()
            except Unavailable:
                await self._wait_until_connected(check)
                self.reset_after_gap()

    async def _wait_until_connected(self, check: Callable[[], Awaitable[None]]) -> None:
        """Return after two successful checks, because queues are bound after connecting."""
        successes = 0
        while successes < 2:
            await asyncio.sleep(_BROKER_POLL_SECONDS)
            try:
                await check()
                successes += 1
            except Unavailable:
                successes = 0

    def reset_after_gap(self) -> None:
        """Clear the history and close all sockets with 1012 after pushes were missed."""
        self._history.clear()
        self._size_bytes = 0
        self._complete_since = self._now()
        PUSH_BUFFER_BYTES.set(0)
        log.warning("push_hub.gap_detected", users=len(self._sockets))
        for socket in self._list_all():
            _call(socket.close_for_reconnect)

    def _list_all(self) -> list[PushTarget]:
        return [socket for sockets in self._sockets.values() for socket in sockets]

    def _buffer(self, user_id: UUID, pushed: BufferedPush) -> None:
        history = self._history.setdefault(user_id, PushHistory(self._complete_since))
        self._history.move_to_end(user_id)
        self._size_bytes -= history.size_bytes
        history.add(pushed)
        self._size_bytes += history.size_bytes
        # Evict the user whose last push is oldest, at most 5.5 minutes after it.
        while len(self._history) > 1:
            oldest = next(iter(self._history.values()))
            if (
                self._size_bytes <= _MAX_PUSH_BYTES
                and oldest.pushes[-1].pushed_at >= pushed.pushed_at - _RETENTION_SECONDS
            ):
                break
            self._history.popitem(last=False)
            self._size_bytes -= oldest.size_bytes
            self._complete_since = max(self._complete_since, oldest.pushes[-1].pushed_at)
        PUSH_BUFFER_BYTES.set(self._size_bytes)


def _call(action: Callable[..., None], *arguments: Any) -> None:
    """Call a method of one socket. A failure does not stop the calls for the other sockets."""
    try:
        action(*arguments)
    except Exception:
        SOCKET_FAILURES.inc()
        log.exception("push_hub.socket_failed")


async def on_session_transcribed(
    hub: PushHub, event: SessionTranscribed, delivery: MessageContext
) -> None:
    """Push the transcript of a session."""
    _push_transcript(hub, event.user_id, delivery, str(event.session_id), event.key, event.text)


async def on_transcription_completed(
    hub: PushHub, event: TranscriptionCompleted, delivery: MessageContext
) -> None:
    """Push the transcript of a recording without a session. Sessions emits the others."""
    if event.session_id is None:
        _push_transcript(hub, event.user_id, delivery, None, event.key, event.text)


async def on_transcription_progressed(
    hub: PushHub, event: TranscriptionProgressed, delivery: MessageContext
) -> None:
    """Push the progress of a long recording, unless its transcript was pushed.

    The event of the start has no duration yet, and is not pushed.
    """
    if event.duration_seconds and not hub.find_pushes(
        event.user_id, "transcript", "key", event.key
    ):
        frame = ProgressFrame(
            event_id=str(delivery.event_id),
            session_id=None if event.session_id is None else str(event.session_id),
            key=event.key,
            done_seconds=event.done_seconds,
            duration_seconds=event.duration_seconds,
        )
        hub.push(event.user_id, frame.model_dump(mode="json"))


async def on_session_measured(
    hub: PushHub, event: SessionMeasured, delivery: MessageContext
) -> None:
    """Push preliminary feedback, unless later feedback was pushed."""
    already_pushed = hub.find_pushes(event.user_id, "feedback", "session_id", str(event.session_id))
    rank = _progress_rank(event.feedback.status)
    if all(_progress_rank(frame["status"]) <= rank for frame in already_pushed):
        await on_session_judged(hub, event, delivery)


async def on_session_judged(
    hub: PushHub, event: SessionJudged | SessionMeasured, delivery: MessageContext
) -> None:
    """Push the feedback."""
    frame = FeedbackFrame.from_view(event.feedback, event_id=str(delivery.event_id))
    hub.push(event.user_id, frame.model_dump(mode="json"))


async def on_export_completed(
    hub: PushHub, event: ExportCompleted, delivery: MessageContext
) -> None:
    """Push that an export is ready."""
    frame = ExportFrame(
        event_id=str(delivery.event_id),
        export_id=str(event.export_id),
        expires_at=event.expires_at,
    )
    hub.push(event.user_id, frame.model_dump(mode="json"))


async def on_user_deleted(hub: PushHub, event: UserDeleted, delivery: MessageContext) -> None:
    """Delete the buffered pushes of the user."""
    hub.discard_pushes(event.user_id)


async def on_session_deleted(hub: PushHub, event: SessionDeleted, delivery: MessageContext) -> None:
    """Delete the buffered pushes of the session."""
    hub.discard_pushes(event.user_id, session_id=event.session_id)


async def on_interview_deleted(
    hub: PushHub, event: InterviewDeleted, delivery: MessageContext
) -> None:
    """Delete the buffered pushes of the interview."""
    hub.discard_pushes(event.user_id, session_id=event.interview_id)


def _progress_rank(status: str) -> int:
    """Return 0 while transcribing, 1 while scoring, 2 when final."""
    return {"transcribing": 0, "scoring": 1}.get(status, 2)


def _push_transcript(
    hub: PushHub,
    user_id: UUID,
    delivery: MessageContext,
    session_id: str | None,
    key: str,
    text: str,
) -> None:
    frame = TranscriptFrame(
        event_id=str(delivery.event_id), session_id=session_id, key=key, text=text
    )
    hub.push(user_id, frame.model_dump(mode="json"))


SUBSCRIPTIONS: Handlers[PushHub] = {
    SessionTranscribed: on_session_transcribed,
    TranscriptionCompleted: on_transcription_completed,
    TranscriptionProgressed: on_transcription_progressed,
    SessionMeasured: on_session_measured,
    SessionJudged: on_session_judged,
    ExportCompleted: on_export_completed,
    SessionDeleted: on_session_deleted,
    InterviewDeleted: on_interview_deleted,
    UserDeleted: on_user_deleted,
}
