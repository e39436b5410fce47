"""Commands of a socket: service calls with the user's token."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from coach_common import logs, tracing
from coach_common.errors import CoachError, InvalidInput, TooManyRequests
from coach_common.ids import parse_id
from coach_gateway.sockets.context import SocketContext
from coach_gateway.sockets.frame_base import FrameRejected, ServerFrame, SessionFrame
from coach_gateway.sockets.frames import (
    AudioStartFrame,
    AudioUriFrame,
    CommandFrame,
    CompleteFrame,
    ErrorFrame,
    SessionStartedFrame,
    SessionStartFrame,
)
from coach_gateway.sockets.interview_frames import (
    InterviewListeningFrame,
    InterviewMessageFrame,
    InterviewReplyStartFrame,
    InterviewStartFrame,
    InterviewThinkingFrame,
    InterviewTurnFrame,
)
from coach_gateway.sockets.interviewer import InterviewerPresenter

log = logs.get_logger(__name__)

_MAX_PENDING = 64
_MAX_TITLE_CHARACTERS = 80
_INTERVIEWS_PATH = "/ai-interview/sessions"


class CommandQueue:
    """Runs the commands of one socket one at a time. A task exists only while any are queued."""

    __slots__ = (
        "_context",
        "_interrupted",
        "_interview_id",
        "_interviewer",
        "_pending",
        "_send",
        "_session_id",
        "_worker",
        "token",
    )

    def __init__(
        self,
        context: SocketContext,
        send: Callable[[ServerFrame], None],
        is_recording: Callable[[], bool],
    ) -> None:
        self.token = ""
        self._context = context
        self._send = send
        self._session_id: str | None = None
        self._interview_id: str | None = None
        self._interviewer = InterviewerPresenter(send, is_recording)
        self._interrupted: InterviewTurnFrame | None = None
        """A turn whose text was stopped, until that is stored."""
        self._pending: list[CommandFrame] = []
        self._worker: asyncio.Task[None] | None = None

    def enqueue(self, frame: CommandFrame) -> None:
        """Queue a command. Raises TooManyRequests if the queue is full."""
        if len(self._pending) >= _MAX_PENDING:
            raise TooManyRequests("Too many requests are waiting. Please slow down.", code="busy")
        if isinstance(frame, InterviewMessageFrame | InterviewReplyStartFrame):
            self._begin_reply(frame)
        self._pending.append(frame)
        if self._worker is None:
            self._worker = asyncio.create_task(self._run())

    def discard_pending(self) -> None:
        """Discard the commands that have not started."""
        self._pending.clear()

    def on_recording(self) -> None:
        """Measure silence in the live audio, which has started."""
        self._interviewer.on_recording()

    def on_live_reply(self, session_id: str) -> None:
        """Stop the text of the interviewer's turn, because the user speaks in live audio."""
        if self._interviewer.is_streaming(session_id):
            frame = InterviewReplyStartFrame(type="interview_reply_start", session_id=session_id)
            with suppress(TooManyRequests):  # A full queue does not end the recording.
                self.enqueue(frame)

    def on_live_silence(self, session_id: str, seconds: float) -> None:
        """Send the words for a silence if live audio was silent for long enough."""
        self._interviewer.on_silence(session_id, seconds)

    async def close(self) -> None:
        """Wait until every queued command has run, and stop the interviewer's turn."""
        await self.drain()
        self.stop_turn()

    def stop_turn(self) -> None:
        """Stop the interviewer's turn without a frame."""
        self._interviewer.close()

    async def drain(self) -> None:
        """Wait until every queued command has run."""
        if self._worker is not None:
            await self._worker

    async def _run(self) -> None:
        try:
            while self._pending:
                frame = self._pending.pop(0)
                try:
                    await self._execute(frame)
                except CoachError as error:
                    self._send(ErrorFrame(message=str(error), code=error.code))
                except Exception:
                    log.exception("socket.command_failed", kind=frame.type)
                    self._send(ErrorFrame(message="Something went wrong.", code="internal"))
        finally:
            self._worker = None

    async def _execute(self, frame: CommandFrame) -> None:
        if isinstance(frame, SessionStartFrame):
            await self._session_start(frame)
        elif isinstance(frame, AudioUriFrame):
            await self._audio_uri(frame)
        elif isinstance(frame, InterviewStartFrame):
            await self._interview_start(frame)
        elif isinstance(frame, InterviewMessageFrame):
            await self._interview_message(frame)
        elif isinstance(frame, InterviewReplyStartFrame):
            await self._interview_reply_start(frame)
        else:
            await self._complete(frame)

    async def _session_start(self, frame: SessionStartFrame) -> None:
        if frame.session_id is not None:
            session_id = _parse_session_id(frame.session_id)
            await self.call_service("sessions", "GET", f"/sessions/{session_id}")
        else:
            question = frame.question
            if question is None or not question.strip():
                raise InvalidInput("question is required.")
            title = frame.title or question.strip()[:_MAX_TITLE_CHARACTERS]
            created = await self.call_service(
                "sessions", "POST", "/sessions", title=title, question=question
            )
            session_id = str(created["id"])
        self._session_id = session_id
        self._send(SessionStartedFrame(session_id=session_id))

    async def _audio_uri(self, frame: AudioUriFrame) -> None:
        session_id = self._find_session_id(frame)
        now_ms = int(self._context.clock().timestamp() * 1000)
        await self.call_service(
            "media",
            "POST",
            "/upload/confirm",
            key=frame.key,
            uploaded_at=now_ms,
            session_id=session_id,
        )

    async def _complete(self, frame: CompleteFrame) -> None:
        session_id = self._find_session_id(frame)
        fields = frame.model_dump(
            include={"duration_seconds", "transcript", "audio_s3_key"}, exclude_none=True
        )
        await self.call_service("sessions", "POST", f"/sessions/{session_id}/complete", **fields)

    async def _interview_start(self, frame: InterviewStartFrame) -> None:
        self._send(InterviewThinkingFrame(session_id=None))
        fields = frame.model_dump(exclude={"type", "words_per_minute"}, exclude_none=True)
        opening = await self._request("ai", "POST", _INTERVIEWS_PATH, fields)
        self._interview_id = str(opening["session_id"])
        self._present(opening, frame.words_per_minute)

    async def _interview_message(self, frame: InterviewMessageFrame) -> None:
        interview_id = self._find_interview_id(frame)
        identity = await self._context.authenticator.authenticate(self.token)
        self._context.limits.hit("chat", identity.user_key)
        self._send(InterviewThinkingFrame(session_id=interview_id))
        await self._store_interruption()
        fields = frame.model_dump(include={"message", "audio_s3_key"}, exclude_none=True)
        path = f"{_INTERVIEWS_PATH}/{interview_id}/message"
        turn = await self._request(
            "ai", "POST", path, fields, idempotency_key=frame.idempotency_key
        )
        self._interview_id = interview_id
        self._present(turn, frame.words_per_minute)

    async def _interview_reply_start(self, frame: InterviewReplyStartFrame) -> None:
        interview_id = self._find_interview_id(frame)
        # Again, because an earlier command may have presented a turn since the frame arrived.
        self._begin_reply(frame)
        was_interrupted = await self._store_interruption()
        if frame.interrupts and not was_interrupted:
            turn = self._interviewer.turn
            is_known = turn is not None and turn.session_id == interview_id
            await self._interrupt(interview_id, turn.turn_number if turn and is_known else None)
            was_interrupted = True
        self._send(
            InterviewListeningFrame(session_id=interview_id, was_interrupted=was_interrupted)
        )

    def _find_interview_id(self, frame: SessionFrame) -> str:
        if frame.session_id is not None:
            return _parse_session_id(frame.session_id)
        if self._interview_id is None:
            raise FrameRejected("Start an interview first.", "no_session")
        return self._interview_id

    def _present(self, turn: dict[str, Any], words_per_minute: int | None) -> None:
        """Send a turn. It is stored before its first piece is sent."""
        found = InterviewTurnFrame.model_validate(turn | {"type": "interview_turn"})
        self._interviewer.present(found, words_per_minute)

    def _begin_reply(self, frame: InterviewMessageFrame | InterviewReplyStartFrame) -> None:
        """Stop the text of the interviewer's turn at once, before earlier commands have run."""
        stopped = self._interviewer.begin_reply(frame.session_id)
        if stopped is not None:
            self._interrupted = stopped

    async def _store_interruption(self) -> bool:
        """Store that a turn was stopped, if one was. Return whether there was one."""
        turn, self._interrupted = self._interrupted, None
        if turn is None:
            return False
        await self._interrupt(turn.session_id, turn.turn_number)
        return True

    async def _interrupt(self, interview_id: str, turn_number: int | None) -> None:
        body = {} if turn_number is None else {"turn_number": turn_number}
        await self._request("ai", "POST", f"{_INTERVIEWS_PATH}/{interview_id}/interruption", body)

    def _find_session_id(self, frame: SessionFrame) -> str:
        if frame.session_id is not None:
            return _parse_session_id(frame.session_id)
        if self._session_id is None:
            raise FrameRejected("Start a session first.", "no_session")
        return self._session_id

    async def resolve_session(self, frame: AudioStartFrame) -> str:
        """Return the session id of a frame, after all earlier commands have run."""
        await self.drain()
        return self._find_session_id(frame)

    async def call_service(
        self, upstream: str, method: str, path: str, **body: Any
    ) -> dict[str, Any]:
        """Call a service with the user's token. Checks revocation and rate limits as for HTTP."""
        return await self._request(upstream, method, path, body)

    async def _request(
        self,
        upstream: str,
        method: str,
        path: str,
        body: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        identity = await self._context.authenticator.authenticate(self.token)
        self._context.limits.hit("user", identity.user_key)
        request_body = json.dumps(body).encode() if method == "POST" else b""
        # Each command of a socket starts a trace.
        with tracing.span(
            "gateway", f"{method} {upstream}", tracing.Kind.CLIENT, parent=""
        ) as span:
            headers = {
                "authorization": f"Bearer {self.token}",
                "content-type": "application/json",
                "traceparent": span.traceparent,
            }
            if idempotency_key:
                headers["idempotency-key"] = idempotency_key
            status, response_body = await self._context.upstream_client.request(
                upstream, method, path, headers=headers, body=request_body
            )
        response: dict[str, Any] = json.loads(response_body) if response_body else {}
        if status >= 400:
            raise FrameRejected(
                str(response.get("detail", "The request failed.")), response.get("code", "error")
            )
        return response


def _parse_session_id(session_id: str) -> str:
    return str(parse_id(session_id, resource="Session"))
