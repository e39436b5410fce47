"""One request and its response: the ASGI side of a connection."""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol

from starlette.types import Message

Headers = Sequence[tuple[bytes, bytes]]

STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}
BODY_FOLLOWS = "coach.body_follows"
"""In a message that starts a response: the first chunk of the body is sent without waiting."""
_BODILESS_STATUSES = (204, 304)
_STRIPPED_HEADERS = frozenset((b"transfer-encoding", b"connection", b"keep-alive"))
"""Headers of an application that the connection decides itself."""


def encode_headers(headers: Headers) -> bytes:
    """Return headers as HTTP/1.1 header lines."""
    lines: list[bytes] = []
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
    return b"".join(lines)


class Connection(Protocol):
    """The connection of an exchange."""

    loop: asyncio.AbstractEventLoop
    is_write_paused: bool
    closes_early_responses: bool
    keep_alive_line: bytes

    @property
    def default_lines(self) -> bytes:
        """The header lines of every response."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    async def drain(self) -> None:
        """Wait until the client has read enough."""

    def resume_reading(self) -> None:
        """Read from the client again."""

    def finish_exchange(self, exchange: "Exchange") -> None:
        """Continue after the response."""


class Exchange:
    """One request and its response, as the application sees them."""

    __slots__ = (
        "_body", "_content_length", "_expects_continue", "_is_chunked", "_is_delivered", "_is_head",
        "_protocol",
        "_unsent_head",
        "_waiter", "has_started", "is_complete", "is_disconnected", "keeps_alive", "more_body",
        "on_disconnect",
    )  # fmt: skip

    def __init__(
        self,
        protocol: Connection,
        *,
        is_head: bool,
        keeps_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.keeps_alive = keeps_alive
        self.more_body = True
        self.has_started = False
        self.is_complete = False
        self.is_disconnected = False
        self.on_disconnect: Callable[[], None] | None = None
        """Called when the client disconnects before the response is complete."""
        self._protocol = protocol
        self._body = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._expects_continue = expects_continue
        self._is_head = is_head
        self._is_chunked = False
        self._unsent_head = b""
        self._is_delivered = False
        self._content_length: int | None = None

    def feed(self, body: bytes) -> int:
        """Add a chunk of the request body. Returns how many bytes wait for the application."""
        self._body += body
        self.wake()
        return len(self._body)

    def wake(self) -> None:
        """Wake `receive`."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def disconnect(self) -> None:
        """Send the application the message that the client disconnected."""
        self.is_disconnected = True
        self.wake()
        if self.on_disconnect is not None and not self.is_complete:
            self.on_disconnect()

    async def receive(self) -> Message:
        """ASGI receive."""
        if self._expects_continue and not self.has_started:
            self._protocol.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects_continue = False
        while not (self.is_disconnected or self.is_complete or self._has_message()):
            self._protocol.resume_reading()
            self._waiter = self._protocol.loop.create_future()
            await self._waiter
        if self.is_disconnected or self.is_complete:
            return {"type": "http.disconnect"}
        body = bytes(self._body)
        self._body.clear()
        self._is_delivered = not self.more_body
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def _has_message(self) -> bool:
        return bool(self._body) or not (self.more_body or self._is_delivered)

    async def send(self, message: Message) -> None:
        """ASGI send."""
        if message["type"] == "http.response.body":
            await self.send_body(
                message.get("body", b""), more_body=message.get("more_body", False)
            )
        elif message["type"] == "http.response.start" and not self.is_disconnected:
            self._start(message["status"], message.get("headers", ()))
            if not message.get(BODY_FOLLOWS):
                self._protocol.loop.call_soon(self._flush_head)

    def _start(self, status: int, headers: Headers) -> None:
        if self.has_started:
            raise RuntimeError("the response has already started")
        self.has_started = True
        protocol = self._protocol
        if self.more_body and protocol.closes_early_responses:
            self.keeps_alive = False
        lines: list[bytes] = []
        line_count = 1
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-length":
                self._content_length = int(value)
            elif lower in _STRIPPED_HEADERS:
                if lower == b"connection" and b"close" in value.lower():
                    self.keeps_alive = False
                continue
            lines += (name, b": ", value, b"\r\n")
            line_count += 1
        if status in _BODILESS_STATUSES or self._is_head:
            self._content_length = 0
        elif self._content_length is None:
            self._is_chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
            line_count += 1
        lines.append(protocol.keep_alive_line if self.keeps_alive else b"connection: close\r\n")
        block = b"".join(lines)
        # A line break inside a value would start another header.
        if not block.count(b"\n") == block.count(b"\r") == line_count:
            raise RuntimeError("a response header contains a line break")
        # A body that follows at once is sent in the same packet.
        self._unsent_head = b"%b%b%b\r\n" % (
            STATUS_LINES[status], protocol.default_lines, block
        )  # fmt: skip

    def _flush_head(self) -> None:
        head, self._unsent_head = self._unsent_head, b""
        if head and not self.is_disconnected:
            self._protocol.write(head)

    async def send_body(self, body: bytes, *, more_body: bool) -> None:
        """Send a chunk of the response body, once the client has read enough of the last one."""
        if self._protocol.is_write_paused and not self.is_disconnected:
            await self._protocol.drain()
        if self.is_disconnected:
            return
        if self.is_complete:
            raise RuntimeError("the response is already complete")
        if self._is_head:
            body = b""
        if self._is_chunked:
            parts = [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
            if not more_body:
                parts.append(b"0\r\n\r\n")
            body = b"".join(parts)
        elif self._content_length is not None:
            self._content_length -= len(body)
            if self._content_length < 0 or (self._content_length and not more_body):
                raise RuntimeError("the response body does not match Content-Length")
        if self._unsent_head:
            body = self._unsent_head + body
            self._unsent_head = b""
        if body:
            self._protocol.write(body)
        if not more_body:
            self.is_complete = True
            self._protocol.finish_exchange(self)
