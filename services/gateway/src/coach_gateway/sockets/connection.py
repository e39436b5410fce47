"""The WebSocket connection: uvicorn's, with bounds on memory, rate and closing time.

Text frames, pings and pongs are bounded in number and bytes. A client that exceeds the bounds is
closed with 1008. Audio is bounded in bytes only. Audio over the rate is read later, so that TCP
slows the client down and no audio is lost.

Frames are written without waiting. What the client has not read is in the transport's write
buffer, which is bounded. A client that does not read its close frame within two seconds is
aborted, because `transport.close()` would wait for the write buffer indefinitely.
"""

import asyncio
import logging
import socket
import struct
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from coach_gateway.sockets.frames import MAX_FRAME_BYTES, MAX_TEXT_BYTES
from coach_gateway.sockets.token_bucket import TokenBucket

CLOSE_POLICY_VIOLATION = 1008
CLOSE_SERVICE_RESTART = 1012

_CLOSE_TIMEOUT_SECONDS = 2.0
_SLICE_BYTES = 4096
_CONTINUATION_COST = 1 / 16
"""Cost of a continuation frame. 1 MiB may arrive in fragments as small as a packet."""
_MAX_FRAGMENTS = 65_536
_AUDIO_FRAME_OVERHEAD_BYTES = 1024
"""Added to the length of each audio frame, because a frame costs time however short it is.

375 frames of 128 samples per second (an AudioWorklet at 48 kHz) stay below the default rate."""
_MAX_AUDIO_BURST_BYTES = MAX_FRAME_BYTES
"""43 s of 16-bit audio at 48 kHz, so that a client may send what it recorded while offline."""
_MAX_TEXT_BURST_BYTES = 2 * MAX_TEXT_BYTES
_LINGER_ZERO = struct.pack("ii", 1, 0)

# uvicorn's logger would write a traceback for each invalid frame of a client.
_silent_logger = logging.getLogger("coach_gateway.socket_connection")
_silent_logger.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Limits of one connection."""

    frames_per_second: int
    """Text messages, pings and pongs. A burst may have twice as many."""
    text_bytes_per_second: int
    """Of text messages. A burst may have 2 MiB. A message counts as 1 MiB at most."""
    audio_bytes_per_second: int
    """Of binary messages, each with 1 KiB added. A burst may have 4 MiB."""
    write_buffer_bytes: int


class SocketConnection(WebSocketsSansIOProtocol):
    """One connection. Pass the class to uvicorn as `ws`, with `limits`."""

    def __init__(self, *args: Any, limits: SocketLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = _silent_logger
        self.close_reason: str | None = None
        """Why the gateway closed the connection, or None."""
        self._limits = limits
        rate = limits.frames_per_second
        self._control_frames = TokenBucket(rate, rate * 2.0)
        self._text_bytes = TokenBucket(limits.text_bytes_per_second, _MAX_TEXT_BURST_BYTES)
        self._audio_bytes = TokenBucket(limits.audio_bytes_per_second, _MAX_AUDIO_BURST_BYTES)
        self._message_bytes = 0
        """Length of the message so far, if it is text."""
        self._ignore_input = False
        self._audio_delay_seconds = 0.0
        self._delayed_input = b""
        """Input that is parsed when `_delay_timer` fires."""
        self._delay_timer: asyncio.TimerHandle | None = None

    @staticmethod
    def from_scope(scope: Any) -> "SocketConnection":
        """Return the connection of an ASGI scope."""
        connection: SocketConnection = scope["extensions"]["coach.socket_connection"]
        return connection

    def send_frame(self, frame: bytes) -> None:
        """Send a text frame. Closes the connection if the write buffer is over its limit."""
        if self.close_sent or self.disconnected or self.conn.state is not State.OPEN:
            return
        self.conn.send_text(frame)
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.get_write_buffer_size() > self._limits.write_buffer_bytes:
            self.close(CLOSE_POLICY_VIOLATION, "not_reading")

    def close(self, code: int, reason: str) -> None:
        """Close after the frames written before. Later calls do nothing."""
        if self.close_sent:
            return
        if self.conn.state is State.OPEN:
            self.conn.send_close(code, reason)
        self._start_close(code, reason)

    def _start_close(self, code: int, reason: str) -> None:
        self.close_reason = reason
        self.close_sent = True
        self.stop_keepalive()
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self._delay_timer is not None:
            self._delay_timer.cancel()
            self._delay_timer = self.loop.call_later(0.0, self._parse_delayed_input)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_CLOSE_TIMEOUT_SECONDS, self._abort)

    def _abort(self) -> None:
        """Abort the connection and discard the kernel's send buffer."""
        if not self.disconnected:
            if self.transport.get_write_buffer_size():
                raw = self.transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self.transport.abort()

    # --- called by uvicorn

    def data_received(self, data: bytes) -> None:
        """Parse in slices, so that a flood is not parsed after the connection is closed."""
        if self._delay_timer is not None:
            self._delayed_input += data
            self._pause_reading()
            return
        for start in range(0, len(data), _SLICE_BYTES):
            if self._ignore_input:
                return
            if self._audio_delay_seconds and not self.close_sent:
                self._delay_input(data[start:])
                return
            super().data_received(data[start : start + _SLICE_BYTES])

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        if self._delay_timer is not None:
            self._delay_timer.cancel()
            self._delay_timer = None
        super().connection_lost(exc)

    def _delay_input(self, data: bytes) -> None:
        """Parse `data` later and read nothing until then."""
        self._delayed_input = data
        self._delay_timer = self.loop.call_later(
            self._audio_delay_seconds, self._parse_delayed_input
        )
        self._pause_reading()

    def _parse_delayed_input(self) -> None:
        data, self._delayed_input = self._delayed_input, b""
        self._delay_timer = None
        self._audio_delay_seconds = 0.0
        if self.transport.is_closing():
            return
        if not self.read_paused:
            self.transport.resume_reading()
        self.data_received(data)

    def _pause_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def handle_connect(self, event: Request) -> None:
        """Put the connection into the ASGI scope."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"]["coach.socket_connection"] = self  # type: ignore[assignment]

    def handle_text(self, event: Frame) -> None:
        self._message_bytes = 0
        if self._allow_control_frame() and self._allow_text(event):
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        if not self.close_sent:
            self._count_audio(event)
            super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        if self.curr_msg_data_type == "bytes":
            if self.close_sent:
                return
            self._count_audio(event)
        elif not (self._allow_control_frame(_CONTINUATION_COST) and self._allow_text(event)):
            return
        super().handle_cont(event)
        if len(self.frames) > _MAX_FRAGMENTS:  # the size limit does not bound empty fragments
            self._ignore_input = True
            self.close(1009, "too_many_pieces")

    def handle_ping(self) -> None:
        if self._allow_control_frame():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._allow_control_frame():
            super().handle_pong(event)

    def handle_parser_exception(self) -> None:
        """Close with the parser's code (1002, 1007, 1009) and ignore further input."""
        self._ignore_input = True
        if not self.close_sent:
            sent = self.conn.close_sent
            self._start_close(
                sent.code if sent else 1002, f"protocol_{sent.code if sent else 1002}"
            )

    def keepalive_timeout(self) -> None:
        """Close a connection that sent no pong."""
        self.pong_timer = None
        self.close(1011, "ping_timeout")

    def shutdown(self) -> None:
        """Close with 1012 at shutdown."""
        if self.handshake_complete:
            self.close(CLOSE_SERVICE_RESTART, "shutdown")
        else:
            super().shutdown()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Abort the connection if the client does not read the rest."""
        super().on_task_complete(task)
        if not self.disconnected:
            self.loop.call_later(_CLOSE_TIMEOUT_SECONDS, self._abort)

    def _allow_control_frame(self, cost: float = 1.0) -> bool:
        """Return whether a frame may be processed. Closes the connection on a flood."""
        return not self.close_sent and self._close_on_flood(self._control_frames.consume(cost))

    def _allow_text(self, event: Frame) -> bool:
        """Count the bytes of a text frame. A longer message is rejected without parsing."""
        before = min(self._message_bytes, MAX_TEXT_BYTES)
        self._message_bytes += len(event.data)
        counted = min(self._message_bytes, MAX_TEXT_BYTES) - before
        return self._close_on_flood(self._text_bytes.consume(counted))

    def _count_audio(self, event: Frame) -> None:
        cost = len(event.data) + _AUDIO_FRAME_OVERHEAD_BYTES
        self._audio_delay_seconds = self._audio_bytes.consume(cost)

    def _close_on_flood(self, overdrawn_seconds: float) -> bool:
        if overdrawn_seconds > 0:
            self._ignore_input = True
            self.close(CLOSE_POLICY_VIOLATION, "flood")
        return overdrawn_seconds == 0
