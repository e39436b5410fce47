"""The WebSocket connection: uvicorn's, with bounds on memory, rate and closing time.

Frames are written without waiting. What the client has not read is in the transport's write
buffer, which is bounded. A client that does not read its close frame within two seconds is
aborted, because `transport.close()` would wait for the write buffer indefinitely.
"""

import asyncio
import logging
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

CLOSE_POLICY_VIOLATION = 1008
CLOSE_SERVICE_RESTART = 1012

_CLOSE_TIMEOUT_SECONDS = 2.0
_SLICE_BYTES = 4096
_CONTINUATION_COST = 1 / 16
"""Cost of a continuation frame. 1 MiB may arrive in fragments as small as a packet."""
_MAX_FRAGMENTS = 65_536
_LINGER_ZERO = struct.pack("ii", 1, 0)

# uvicorn's logger would write a traceback for each invalid frame of a client.
_silent_logger = logging.getLogger("coach_gateway.socket_connection")
_silent_logger.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Limits of one connection."""

    frames_per_second: int
    """Messages, pings and pongs. A burst may have twice as many."""
    write_buffer_bytes: int


class SocketConnection(WebSocketsSansIOProtocol):
    """One connection. Pass the class to uvicorn as `ws`, with `limits`."""

    def __init__(self, *args: Any, limits: SocketLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = _silent_logger
        self.close_reason: str | None = None
        """Why the gateway closed the connection, or None."""
        self._limits = limits
        self._frame_budget = limits.frames_per_second * 2.0
        self._budget_updated_at = 0.0
        self._ignore_input = False

    @staticmethod
    def from_scope(scope: Any) -> "SocketConnection":
        """Return the connection of an ASGI scope."""
        connection: SocketConnection = scope["extensions"]["coach.socket_connection"]
        return connection

    def send_frame(self, frame: bytes) -> None:
        """Send a text frame. Closes the connection if the write buffer is over its limit."""
        if self.close_sent or self.conn.state is not State.OPEN:
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
        for start in range(0, len(data), _SLICE_BYTES):
            if self._ignore_input:
                return
            super().data_received(data[start : start + _SLICE_BYTES])

    def handle_connect(self, event: Request) -> None:
        """Put the connection into the ASGI scope."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"]["coach.socket_connection"] = self  # type: ignore[assignment]

    def handle_text(self, event: Frame) -> None:
        if self._consume_budget(1.0):
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        if self._consume_budget(1.0):
            super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        if self._consume_budget(_CONTINUATION_COST):
            super().handle_cont(event)
            if len(self.frames) > _MAX_FRAGMENTS:  # the size limit does not bound empty fragments
                self._ignore_input = True
                self.close(1009, "too_many_pieces")

    def handle_ping(self) -> None:
        if self._consume_budget(1.0):
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._consume_budget(1.0):
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

    def _consume_budget(self, cost: float) -> bool:
        """Return whether a frame may be processed. Closes the connection on a flood."""
        if self.close_sent:
            return False
        now, rate = time.monotonic(), self._limits.frames_per_second
        earned = (now - self._budget_updated_at) * rate
        self._frame_budget = min(rate * 2.0, self._frame_budget + earned) - cost
        self._budget_updated_at = now
        if self._frame_budget < 0:
            self._ignore_input = True
            self.close(CLOSE_POLICY_VIOLATION, "flood")
            return False
        return True
