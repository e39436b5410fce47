"""The connection under a socket: uvicorn's own, with the bounds that it does not have.

A frame is written at once and never waited for; what the client has not read yet lies in the
transport, and there it is bounded. Every end is an end: a client that does not take its close frame
within two seconds is cut off, for a transport that is merely closed waits for it for ever.
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

POLICY = 1008
RESTART = 1012

_CLOSE_SECONDS = 2.0
_SLICE_BYTES = 4096
_FRAGMENT = 1 / 16
"""What a continuation counts: a mebibyte may come in pieces as small as a packet."""
_FRAGMENTS = 65_536
_NO_LINGER = struct.pack("ii", 1, 0)

# uvicorn's own logger would print a traceback for each invalid byte that somebody sends.
_quiet = logging.getLogger("coach_gateway.wire")
_quiet.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may do."""

    frames_a_second: int
    """Messages, pings and pongs; twice as many in a burst."""
    unread_bytes: int


class Wire(WebSocketsSansIOProtocol):
    """One connection. Pass it to uvicorn as its protocol for WebSockets, with `bounds`."""

    def __init__(self, *args: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = _quiet
        self.ended: str | None = None
        """Why we closed it."""
        self._bounds = bounds
        self._allowance = bounds.frames_a_second * 2.0
        self._counted_at = 0.0
        self._is_deaf = False

    @staticmethod
    def of(scope: Any) -> "Wire":
        """Return the connection of an ASGI scope."""
        wire: Wire = scope["extensions"]["coach.wire"]
        return wire

    def write(self, frame: bytes) -> None:
        """Send a text frame; a client that leaves too much unread is closed."""
        if self.close_sent or self.conn.state is not State.OPEN:
            return
        self.conn.send_text(frame)
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.get_write_buffer_size() > self._bounds.unread_bytes:
            self.end(POLICY, "not_reading")

    def end(self, code: int, reason: str) -> None:
        """Close, after what was written before. The first reason counts."""
        if self.close_sent:
            return
        if self.conn.state is State.OPEN:
            self.conn.send_close(code, reason)
        self._leave(code, reason)

    def _leave(self, code: int, reason: str) -> None:
        self.ended = reason
        self.close_sent = True
        self.stop_keepalive()
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_CLOSE_SECONDS, self._cut_off)

    def _cut_off(self) -> None:
        """Drop the connection; what was not taken by now is not kept by the kernel either."""
        if not self.disconnected:
            if self.transport.get_write_buffer_size():
                raw = self.transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.transport.abort()

    # --- what uvicorn calls

    def data_received(self, data: bytes) -> None:
        """Read piece by piece, so that one read of a flood is not parsed to its end."""
        for start in range(0, len(data), _SLICE_BYTES):
            if self._is_deaf:
                return
            super().data_received(data[start : start + _SLICE_BYTES])

    def handle_connect(self, event: Request) -> None:
        """Let the app find us."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"]["coach.wire"] = self  # type: ignore[assignment]

    def handle_text(self, event: Frame) -> None:
        if self._may(1.0):
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        if self._may(1.0):
            super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        if self._may(_FRAGMENT):
            super().handle_cont(event)
            if len(self.frames) > _FRAGMENTS:  # empty ones have no size to be limited by
                self._is_deaf = True
                self.end(1009, "too_many_pieces")

    def handle_ping(self) -> None:
        if self._may(1.0):
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._may(1.0):
            super().handle_pong(event)

    def handle_parser_exception(self) -> None:
        """Say what was wrong with the bytes (1002, 1007, 1009) and hear no more of them."""
        self._is_deaf = True
        if not self.close_sent:
            said = self.conn.close_sent
            self._leave(said.code if said else 1002, f"protocol_{said.code if said else 1002}")

    def keepalive_timeout(self) -> None:
        """End a client that did not answer a ping."""
        self.pong_timer = None
        self.end(1011, "ping_timeout")

    def shutdown(self) -> None:
        """Send everybody elsewhere."""
        if self.handshake_complete:
            self.end(RESTART, "shutdown")
        else:
            super().shutdown()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Cut off whoever does not take the rest."""
        super().on_task_complete(task)
        if not self.disconnected:
            self.loop.call_later(_CLOSE_SECONDS, self._cut_off)

    def _may(self, cost: float) -> bool:
        """Count a frame; False where the client has gone, or is to go for a flood."""
        if self.close_sent:
            return False
        now, rate = time.monotonic(), self._bounds.frames_a_second
        earned = (now - self._counted_at) * rate
        self._allowance = min(rate * 2.0, self._allowance + earned) - cost
        self._counted_at = now
        if self._allowance < 0:
            self._is_deaf = True
            self.end(POLICY, "flood")
            return False
        return True
