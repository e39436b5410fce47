"""One HTTP/1.1 connection to an upstream: one request at a time, with a deadline per phase.

It talks to this project's services only, so there are no redirects, cookies or decompression.
Measured against aiohttp's client it uses half the processor time per request.
"""

import asyncio
import select
from collections.abc import Callable
from enum import IntEnum, auto
from typing import Any

import httptools

from coach_common.rearmable_timer import RearmableTimer
from coach_gateway.request_head import Headers

READ_HIGH_WATER_BYTES = 256 * 1024
"""Response bytes that wait for the client before reading from the upstream is paused."""
MAX_RESPONSE_HEAD_BYTES = 64 * 1024
WRITE_TIMEOUT_SECONDS = 10.0


class UpstreamError(Exception):
    """The upstream did not return a complete response."""


class NotResolved(UpstreamError):
    """The name of the upstream has no address."""


class ConnectFailed(UpstreamError):
    """No connection could be opened, so nothing was sent."""


class ConnectionClosed(UpstreamError):
    """The connection was closed before the response was complete."""


class InvalidResponse(UpstreamError):
    """The response is not valid HTTP/1.1."""


class UpstreamTimeout(UpstreamError):
    """A phase of the request took too long. Never retried for a client."""


class WriteTimeout(UpstreamTimeout):
    """The upstream did not read the request in time."""


class ResponseTimeout(UpstreamTimeout):
    """The response did not start in time."""


class ReadTimeout(UpstreamTimeout):
    """The response stopped."""


class ClientDisconnected(Exception):
    """The client disconnected, so the request was aborted. Not a failure of the upstream."""


class State(IntEnum):
    """What a connection is doing."""

    IDLE = auto()
    SENDING = auto()
    AWAITING_RESPONSE = auto()
    STREAMING = auto()
    CLOSED = auto()


_TRANSITIONS = {
    State.IDLE: {State.SENDING, State.CLOSED},
    State.SENDING: {State.AWAITING_RESPONSE, State.STREAMING, State.CLOSED},
    State.AWAITING_RESPONSE: {State.STREAMING, State.CLOSED},
    State.STREAMING: {State.IDLE, State.CLOSED},
    State.CLOSED: {State.CLOSED},
}
_TIMEOUTS: dict[State, Callable[[], UpstreamTimeout]] = {
    State.SENDING: lambda: WriteTimeout("the request was not read in time"),
    State.AWAITING_RESPONSE: lambda: ResponseTimeout("the response did not start in time"),
    State.STREAMING: lambda: ReadTimeout("the response stopped"),
}


class UpstreamConnection(asyncio.Protocol):
    """Kept in a pool between requests. Closed if anything about it is in doubt."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.state = State.IDLE
        self.idle_since = loop.time()
        self._loop = loop
        self._timer = RearmableTimer(loop, self._on_timeout)
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: Any = None
        self._poll = select.poll()
        self._waiter: asyncio.Future[None] | None = None
        self._is_write_paused = False
        self._error: Exception | None = None
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
        self._head_bytes = 0
        self._is_complete = False
        self._is_reusable = False
        self._reads_until_close = True
        self._is_safe = False
        self._is_reading_paused = False

    def _enter(self, state: State) -> None:
        if state not in _TRANSITIONS[self.state]:
            raise RuntimeError(f"connection cannot change from {self.state.name} to {state.name}")
        self.state = state

    # --- requests

    def is_usable(self) -> bool:
        """Return whether a request may be sent: idle, open, and with nothing to read."""
        return (
            self.state is State.IDLE
            and not self._transport.is_closing()
            and not self._poll.poll(0)  # data or a close that the loop has not delivered yet
        )

    async def send(self, data: bytes, *, is_safe: bool = False) -> None:
        """Send a whole request. `is_safe`: it may be sent again. Raises UpstreamError."""
        self._reset()
        self._is_safe = is_safe
        self._enter(State.SENDING)
        self._transport.write(data)
        while self._is_write_paused and self.state is State.SENDING:
            await self._wait(WRITE_TIMEOUT_SECONDS)
        if self.state is State.SENDING:
            self._enter(State.AWAITING_RESPONSE)

    async def read_head(self, timeout_seconds: float) -> None:
        """Wait for the status and headers. Raises UpstreamError."""
        while self.state is State.AWAITING_RESPONSE:
            await self._wait(timeout_seconds)
        if self.state is State.CLOSED and not self.status:
            raise self._error or ConnectionClosed("the connection was closed")

    async def read_chunk(self, timeout_seconds: float) -> bytes:
        """Return the next bytes of the body, b"" after the last. Raises UpstreamError."""
        while not self._chunks:
            if self._is_complete:
                return b""
            if self.state is State.CLOSED:
                raise self._error or ConnectionClosed("the connection was closed")
            await self._wait(timeout_seconds)
        chunk = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered_bytes = 0
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._transport.resume_reading()
        return chunk

    def has_chunk(self) -> bool:
        """Return whether `read_chunk` returns without waiting."""
        return bool(self._chunks) or self._is_complete

    def is_drained(self) -> bool:
        """Return whether the whole body has been read."""
        return self._is_complete and not self._chunks

    def release(self) -> bool:
        """End the request. Returns whether the connection is idle again; else it is closed."""
        if self.state is State.STREAMING and self._is_reusable and self.is_drained():
            self._enter(State.IDLE)
            self.idle_since = self._loop.time()
            return True
        self.abort(ConnectionClosed("the request was abandoned"))
        return False

    def abort(self, error: Exception) -> None:
        """Close at once. Waiting calls raise `error`."""
        if self.state is not State.CLOSED:
            self._close()
            self._error = error
            if self._transport is not None:
                self._transport.abort()
            self._wake()

    def _close(self) -> None:
        """Enter the last state, and break the reference cycles of the connection."""
        self._enter(State.CLOSED)
        self._timer.close()
        self._parser = None

    def eject(self, error: ConnectionClosed) -> None:
        """Abort a safe request whose response has not started, so that it can move."""
        if self.state is State.AWAITING_RESPONSE and self._is_safe:
            self.abort(error)

    async def _wait(self, timeout_seconds: float) -> None:
        self._waiter = self._loop.create_future()
        self._timer.arm(timeout_seconds)
        try:
            await self._waiter
        finally:
            self._timer.disarm()
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_timeout(self) -> None:
        if self.state in _TIMEOUTS:
            self.abort(_TIMEOUTS[self.state]())

    # --- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self.state is State.CLOSED:
            return
        if self.state is State.IDLE:
            self.abort(InvalidResponse("data arrived on an idle connection"))
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort(InvalidResponse("the response is not valid HTTP/1.1"))
            return
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_RESPONSE_HEAD_BYTES:
                self.abort(InvalidResponse("the response headers are too large"))
        elif self._buffered_bytes > READ_HIGH_WATER_BYTES and not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.state is State.CLOSED:
            return
        if self.state is State.STREAMING and self._reads_until_close and exc is None:
            self._is_complete = True
        self._close()
        if not self._is_complete:
            self._error = ConnectionClosed("the connection was closed")
        self._wake()

    def pause_writing(self) -> None:
        self._is_write_paused = True

    def resume_writing(self) -> None:
        self._is_write_paused = False
        self._wake()

    # --- called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # a trailer
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._reads_until_close = False
        self.headers.append((name, value))

    def on_message_begin(self) -> None:
        if self._is_complete:
            self._is_reusable = False  # bytes after the response

    def on_headers_complete(self) -> None:
        if self._is_complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []
            return
        self.status = status
        # A response before the whole request was sent leaves the connection in doubt.
        self._is_reusable = self.state is State.AWAITING_RESPONSE
        self._enter(State.STREAMING)

    def on_body(self, body: bytes) -> None:
        if self._is_complete:
            return
        self._chunks.append(body)
        self._buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        if self.status and not self._is_complete:
            self._is_complete = True
            self._is_reusable = self._is_reusable and self._parser.should_keep_alive()
