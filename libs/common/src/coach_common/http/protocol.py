"""HTTP/1.1 towards clients: a uvicorn protocol with a bound in bytes and time for every state.

uvicorn's own protocol bounds neither heads, trailers nor slow clients, and drops the body of a
request that offers an upgrade. docs/bounds.md lists the bounds.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools
from starlette.types import ASGIApp

from coach_common import logs
from coach_common.client_address import group_address
from coach_common.http import limits as bounds
from coach_common.http.connection_state import PARSING_STATES, TRANSITIONS, State
from coach_common.http.exchange import Exchange
from coach_common.http.limits import HttpOptions
from coach_common.http.protocol_errors import encode_error
from coach_common.http.request import build_scope, encode_request_head, split_url
from coach_common.rearmable_timer import RearmableTimer

log = logs.get_logger(__name__)

_END_OF_HEAD = b"\r\n\r\n"
_FRAMING_HEADERS = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade"))


def create_protocol_factory(options: HttpOptions) -> Callable[..., asyncio.Protocol]:
    """Return the factory that uvicorn accepts as `http`. All connections share the options."""
    return partial(HttpProtocol, options=options)


class HttpProtocol(asyncio.Protocol):
    """One connection of a client.

    The parser gets no more bytes than one request has, so at most one request is in progress.
    Pipelined requests wait in a bounded buffer.
    """

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        options: HttpOptions,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        self.limits = options.limits
        self.keep_alive_line = b"keep-alive: timeout=%d\r\n" % self.limits.keep_alive_seconds
        self.closes_early_responses = self.limits.closes_early_responses
        self.is_write_paused = False
        self._options = options
        self._config = config
        self._app: ASGIApp = config.loaded_app
        self._server_state = server_state
        self._app_state = app_state
        self._transport: Any = None
        self._state = State.IDLE
        self._timer = RearmableTimer(self.loop, self._on_timeout)
        self._body_deadline = 0.0
        self._stall_timer: asyncio.TimerHandle | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._is_reading_paused = False
        self._is_stopping = False
        self._served = 0
        self._address = ""
        self._client: tuple[str, int] | None = None
        self._server: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._is_replaying = False
        self._pending = b""
        """Received bytes that the parser has not seen."""
        self._tail = b""
        """The last bytes that the parser has seen, in which the end of a head may begin."""
        self._exchange: Exchange | None = None
        self._start_request()

    def _start_request(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._framing: dict[bytes, bytes] = {}
        self._upgrade: str | None = None
        self._error = "bad_http"
        self._head_bytes = 0
        self._header_bytes = 0
        self._body_bytes = 0
        self._framing_bytes = 0
        self._body_left: int | None = None
        """Bytes to the end of a body with Content-Length, None if it is chunked."""

    def _enter(self, state: State) -> None:
        if state not in TRANSITIONS[self._state]:
            raise RuntimeError(f"connection cannot change from {self._state.name} to {state.name}")
        self._state = state

    # --- called by the transport

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._server_state.connections.add(self)
        self._server = transport.get_extra_info("sockname")
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._client = (str(peer[0]), int(peer[1]))
            self._address = group_address(peer[0])
        is_within_share = self._options.add_connection(
            self._address, host=self._client[0] if self._client else ""
        )
        count = len(self._server_state.connections)
        if not is_within_share or count > self.limits.max_connections:
            self._reject("too_many_connections")
        else:
            self._timer.arm(self.limits.header_timeout_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state is not State.CLOSED:
            self._leave()
        if self._exchange is not None:
            self._exchange.disconnect()
        self.resume_writing()

    def _leave(self) -> None:
        """Release what the connection holds in the server."""
        self._enter(State.CLOSED)
        self._timer.close()
        self._server_state.connections.discard(self)
        self._options.remove_connection(self._address)

    def data_received(self, data: bytes) -> None:
        if self._state in (State.CLOSING, State.CLOSED):
            return
        self._pending = self._pending + data if self._pending else data
        self._parse()

    def pause_writing(self) -> None:
        self.is_write_paused = True
        self._stall_timer = self.loop.call_later(
            self.limits.write_stall_timeout_seconds, self._transport.abort
        )

    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    # --- called by the server

    def shutdown(self) -> None:
        """Close after the next response, which has `connection: close`, or now if none is due.

        An idle connection waits a moment, because its client may have sent a request already.
        """
        self._is_stopping = True
        if self._exchange is not None:
            self._exchange.keeps_alive = False
        elif self._state is State.IDLE:
            self._served += 1  # so that no error is sent if no request follows
            self._timer.arm(bounds.SHUTDOWN_GRACE_SECONDS)

    # --- called by the exchange

    @property
    def default_lines(self) -> bytes:
        """The header lines of every response."""
        return self._options.encode_default_headers(self._server_state.default_headers)

    def write(self, data: bytes) -> None:
        """Send bytes, unless the connection is closing."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read enough."""
        self._drain_waiter = self.loop.create_future()
        await self._drain_waiter

    def resume_reading(self) -> None:
        """Read from the client again, after the application has read the buffered bytes."""
        if self._is_reading_paused and not self._transport.is_closing():
            self._is_reading_paused = False
            self._transport.resume_reading()

    def finish_exchange(self, exchange: Exchange) -> None:
        """Continue with the next request, or close."""
        self._server_state.total_requests += 1
        self._exchange = None
        if self._state in (State.CLOSING, State.CLOSED) or self._transport.is_closing():
            return
        if not exchange.keeps_alive:
            self._close_after_response(is_input_complete=self._state is State.RESPONDING)
        elif self._state is State.READING_BODY:
            self._enter(State.DRAINING)
            self._body_bytes = 0
            self.resume_reading()
            self._timer.arm(self.limits.body_chunk_timeout_seconds)
        else:
            self._become_idle()
            if self._pending:
                self.loop.call_soon(self._parse)

    def _become_idle(self) -> None:
        self._enter(State.IDLE)
        self._served += 1
        self._start_request()
        self.resume_reading()
        self._timer.arm(self.limits.keep_alive_seconds)

    def _close_after_response(self, *, is_input_complete: bool) -> None:
        """Close. If input may follow, discard it for a moment, or a reset destroys the response."""
        self._enter(State.CLOSING)
        if is_input_complete and not self._pending:
            self._timer.disarm()
            self._transport.close()
            return
        self._pending = b""
        self.resume_reading()
        self._timer.arm(bounds.LINGER_SECONDS)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # --- parsing

    def _parse(self) -> None:
        """Feed the parser up to the end of the current request."""
        state_before, body_before = self._state, self._body_bytes
        while self._pending and self._state in PARSING_STATES:
            state, body_bytes = self._state, self._body_bytes
            piece = self._take_piece()
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                self._pending = piece[upgrade.args[0] :] + self._pending
                self._handle_upgrade()
            except httptools.HttpParserError:
                self._reject(self._error)
            else:
                self._check_bounds(state, len(piece), self._body_bytes - body_bytes)
        if self._state is State.READING_HEAD and state_before is not State.READING_HEAD:
            self._timer.arm(self.limits.header_timeout_seconds)
        elif self._state is State.READING_BODY and (
            state_before is not State.READING_BODY or self._body_bytes > body_before
        ):
            self._arm_body_timer(is_new=state_before is not State.READING_BODY)
        if len(self._pending) > bounds.MAX_BUFFERED_BYTES:
            self._pause_reading()

    def _take_piece(self) -> bytes:
        """Take the bytes that cannot reach beyond the end of the current request.

        A head and a chunked body end with an empty line, other bodies after Content-Length bytes.
        """
        data, size = self._pending, self._body_left
        if size is None:
            tail = self._tail
            end = (tail + data).find(_END_OF_HEAD) if tail else data.find(_END_OF_HEAD)
            size = len(data) if end < 0 else end + len(_END_OF_HEAD) - len(tail)
            self._tail = (tail + data)[-3:] if end < 0 else b""
        if size >= len(data):
            self._pending = b""
            return data
        self._pending = data[size:]
        return data[:size]

    def _check_bounds(self, state: State, fed_bytes: int, body_bytes: int) -> None:
        if self._state is State.READING_HEAD:
            self._head_bytes += fed_bytes
            if self._head_bytes > self.limits.max_header_bytes:
                is_url = not self._headers and len(self._url) > self.limits.max_url_bytes
                self._reject("uri_too_long" if is_url else "headers_too_large")
        elif state is State.READING_BODY is self._state:
            self._framing_bytes += fed_bytes - body_bytes
            allowed = self._body_bytes * bounds.FRAMING_BYTES_PER_BODY_BYTE
            if self._framing_bytes > self.limits.max_header_bytes + allowed:
                self._reject("headers_too_large")
        elif self._state is State.DRAINING and self._body_bytes > bounds.MAX_DRAINED_BYTES:
            self._transport.close()

    def _arm_body_timer(self, *, is_new: bool) -> None:
        now = self.loop.time()
        if is_new:
            self._body_deadline = now + self.limits.body_timeout_seconds
        self._timer.arm(min(self.limits.body_chunk_timeout_seconds, self._body_deadline - now))

    def _pause_reading(self) -> None:
        if not self._is_reading_paused and not self._transport.is_closing():
            self._is_reading_paused = True
            self._transport.pause_reading()

    # --- called by the parser

    def on_message_begin(self) -> None:
        if not self._is_replaying:
            self._enter(State.READING_HEAD)

    def on_url(self, url: bytes) -> None:
        if not self._is_replaying:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state is not State.READING_HEAD:
            return  # a trailer, which RFC 9110 §6.5.1 lets a recipient drop
        name = name.lower()
        if name in _FRAMING_HEADERS:
            known = self._framing.get(name)
            self._framing[name] = value if known is None else known + b", " + value
        self._headers.append((name, value))
        self._header_bytes += len(name) + len(value)
        if len(self._headers) > self.limits.max_headers:
            self._fail("headers_too_large")

    def on_headers_complete(self) -> None:
        if self._is_replaying:
            return
        limits, parser, framing = self.limits, self._parser, self._framing
        if len(self._url) > limits.max_url_bytes:
            self._fail("uri_too_long")
        if len(self._url) + self._header_bytes > limits.max_header_bytes:
            self._fail("headers_too_large")
        version, method = parser.get_http_version(), parser.get_method()
        is_chunked = b"transfer-encoding" in framing
        if version != "1.1" and (version != "1.0" or is_chunked):
            self._fail("bad_http")
        if method == b"CONNECT" or b"#" in self._url:
            self._fail("bad_http")
        path, query = split_url(self._url)
        content_length = int(framing.get(b"content-length", b"0"))
        if parser.should_upgrade():
            is_websocket = (
                method == b"GET"
                and version == "1.1"
                and framing.get(b"upgrade", b"").lower() == b"websocket"
                and not (is_chunked or content_length)
                and self._config.ws_protocol_class is not None
                and self._options.accepts_websocket(path)
            )
            self._upgrade = "accepted" if is_websocket else "ignored"
            if is_websocket:
                return
        self._body_left = None if is_chunked else content_length
        self._begin_exchange(method.decode(), version, path, query)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_left is not None:
            self._body_left -= len(body)
        exchange = self._exchange
        if exchange is not None and exchange.feed(body) > bounds.MAX_BUFFERED_BYTES:
            self._pause_reading()

    def on_message_complete(self) -> None:
        if self._upgrade is None:
            self._complete_request()

    # --- requests

    def _fail(self, error: str) -> None:
        """Raise an exception that stops the parser, so that this error is sent."""
        self._error = error
        raise ValueError(error)

    def _begin_exchange(self, method: str, version: str, path: bytes, query: bytes) -> None:
        self._enter(State.READING_BODY)
        scope = build_scope(method, version, path, query, self._headers)
        scope |= {"client": self._client, "server": self._server, "state": self._app_state.copy()}
        exchange = self._exchange = Exchange(
            self,
            is_head=method == "HEAD",
            keeps_alive=version == "1.1"
            and self._parser.should_keep_alive()
            and not self._is_stopping,
            expects_continue=self._framing.get(b"expect", b"").lower() == b"100-continue",
        )
        scope["coach.exchange"] = exchange
        self._server_state.tasks.add(self.loop.create_task(self._run(exchange, scope)))

    async def _run(self, exchange: Exchange, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("request.unhandled_exception")
        finally:
            # A callback of the task would cost one more round of the event loop.
            self._server_state.tasks.discard(asyncio.current_task())
        if exchange.is_complete or exchange.is_disconnected:
            return
        if exchange.has_started:
            self._transport.close()
        else:
            self._reject("internal")

    def _complete_request(self) -> None:
        self._body_left = None
        if self._state is State.DRAINING:
            self._become_idle()
        elif self._state is State.READING_BODY and self._exchange is not None:
            self._enter(State.RESPONDING)
            self._timer.disarm()
            self._exchange.more_body = False
            self._exchange.wake()

    # --- upgrades

    def _handle_upgrade(self) -> None:
        upgrade, self._upgrade = self._upgrade, None
        if upgrade == "accepted":
            self._hand_over()
        elif upgrade == "ignored":
            self._ignore_upgrade()

    def _ignore_upgrade(self) -> None:
        """Continue to parse as if the request offered no upgrade.

        The parser stops after the head of such a request. A new parser gets a head with the same
        framing and no upgrade, and then the body.
        """
        framing = [
            (name, value)
            for name, value in self._framing.items()
            if name in (b"content-length", b"transfer-encoding")
        ]
        self._parser = httptools.HttpRequestParser(self)
        self._is_replaying = True
        try:
            self._parser.feed_data(encode_request_head(b"POST", b"/", framing))
        except httptools.HttpParserError:
            self._reject("bad_http")
        finally:
            self._is_replaying = False

    def _hand_over(self) -> None:
        """Give the connection to the WebSocket protocol."""
        head = encode_request_head(b"GET", self._url, self._headers)
        rest, self._pending = self._pending, b""
        self._leave()
        self.resume_reading()
        protocol = self._config.ws_protocol_class(
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        protocol.connection_made(self._transport)
        protocol.data_received(head)
        self._transport.set_protocol(protocol)
        if rest:
            protocol.data_received(rest)

    # --- errors

    def _on_timeout(self) -> None:
        if self._state is State.IDLE and self._served:
            self._transport.close()
        elif self._state in (State.IDLE, State.READING_HEAD):
            self._reject("slow_request")
        elif self._state is State.READING_BODY and self._is_reading_paused:
            self._timer.arm(self.limits.body_chunk_timeout_seconds)
        elif self._state is State.READING_BODY:
            self._reject("slow_body")
        else:
            self._transport.abort()

    def _reject(self, error: str) -> None:
        """Send an error and close. If a response has started, only close."""
        if self._state in (State.CLOSING, State.CLOSED) or self._transport.is_closing():
            return
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.has_started:
            self._transport.abort()
        else:
            self._transport.write(encode_error(error, self._options))
            self._close_after_response(is_input_complete=error == "too_many_connections")
        if exchange is not None:
            exchange.disconnect()
