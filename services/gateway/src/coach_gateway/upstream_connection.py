"""One HTTP/1.1 connection to an upstream: a request at a time, its answer as it comes.

Measured against aiohttp's client in the same place: half the processor time a request. It speaks
to our own services alone, so it knows what they speak: no redirects, no cookies, no decompression.
"""

import asyncio
from collections import deque
from typing import Any

import httptools

from coach_gateway.rearmable_timer import RearmableTimer
from coach_gateway.request_head import Headers

_READ_HIGH_WATER_BYTES = 256 * 1024
"""How much of an answer waits for the client before the upstream is told to wait."""


class UpstreamDisconnected(Exception):
    """The connection failed before the answer was whole."""


class UpstreamTimeout(UpstreamDisconnected):
    """The upstream said nothing for too long."""


class UpstreamConnection(asyncio.Protocol):
    """Kept alive by its pool between requests; dropped when anything about it is in doubt."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read_seconds: float) -> None:
        self._loop = loop
        self._read_seconds = read_seconds
        self._deadline = RearmableTimer(loop, self._too_slow)
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None
        self._waiting: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.has_response_head = False
        self.is_complete = False
        self.content_length: int | None = None
        """Of the answer's body, in bytes, where it was announced."""
        self.reads_until_close = True
        self._error: UpstreamDisconnected | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._is_reading = True
        self._keeps_alive = False
        self._request_incomplete = False

    # --- asking

    def begin_request(self, data: bytes) -> None:
        """Send the first bytes of a request."""
        self._reset()
        self._transport.write(data)

    async def send(self, data: bytes) -> None:
        """Send more of its body, no faster than the upstream takes it."""
        if self._error is not None:
            raise self._error
        self._transport.write(data)
        if self._writable is not None:
            await self._within(self._writable)

    async def read_head(self) -> None:
        """Wait for status and headers; Lost or SlowAnswer where they do not come."""
        while not self.has_response_head:
            await self._wait()

    async def read_chunk(self) -> bytes:
        """Return the next piece of the body, b"" after the last; Lost where it breaks off."""
        while not self._chunks:
            if self.is_complete:
                return b""
            await self._wait()
        chunk = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered_bytes = 0
        if not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()
        return chunk

    def is_reusable(self) -> bool:
        """Tell whether another request may follow on this connection."""
        return (
            self._keeps_alive
            and not self._request_incomplete
            and self.is_drained()
            and not self._transport.is_closing()
        )

    def is_alive(self) -> bool:
        """Tell whether the other side still holds it open, as far as is known."""
        return not self._transport.is_closing()

    def is_drained(self) -> bool:
        """Tell whether all of the answer was taken."""
        return self.is_complete and not self._chunks

    def mark_unreusable(self) -> None:
        """Say that the request was not sent whole: nothing may follow it."""
        self._request_incomplete = True

    def abort(self) -> None:
        """Close it at once."""
        self._transport.abort()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiting = self._loop.create_future()
        await self._within(self._waiting)

    async def _within(self, future: asyncio.Future[None]) -> None:
        self._deadline.arm(self._read_seconds)
        try:
            await future
        finally:
            self._deadline.disarm()
        if self._error is not None and not self.is_complete:
            raise self._error

    def _too_slow(self) -> None:
        self._fail(UpstreamTimeout("no answer in time"))
        self._transport.abort()

    def _fail(self, error: UpstreamDisconnected) -> None:
        if self._error is None:
            self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        if self._error is not None:
            self.resume_writing()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(UpstreamDisconnected("the answer is not HTTP"))
            self._transport.abort()
            return
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.has_response_head and self.reads_until_close and exc is None:
            self.is_complete = True  # a body without a length ends with its connection
        if not self.is_complete:
            self._fail(UpstreamDisconnected("the connection was closed"))
        self._deadline.close()
        self._wake()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # --- httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-length":
            self.reads_until_close = False
            self.content_length = int(value)
        elif name == b"transfer-encoding":
            self.reads_until_close = False
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []
            return
        self.status = status
        self.has_response_head = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered_bytes += len(body)
        if self._buffered_bytes > _READ_HIGH_WATER_BYTES and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.has_response_head:
            self.is_complete = True
            self._keeps_alive = self._parser.should_keep_alive()
