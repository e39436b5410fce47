"""HTTP as the gateway speaks it to clients: uvicorn's, with limits, and with a short way."""

import asyncio
import json
from functools import partial
from typing import Any

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from coach_common import telemetry
from coach_common.http import problems
from coach_gateway.config import GatewaySettings
from coach_gateway.deadline import Deadline
from coach_gateway.gateway import Gateway, Plain, Seen
from coach_gateway.head import wire
from coach_gateway.short_way import Said, ShortWay

_REFUSALS = {
    400: ("bad_http", "This is not HTTP as we speak it."),
    408: ("slow_request", "The request did not come in time."),
    414: ("uri_too_long", "The address is too long."),
    431: ("headers_too_large", "The headers are too large."),
    503: ("too_many_connections", "Too many connections. Please try again."),
}


class GatewayProtocol(HttpToolsProtocol):
    """A connection of a client."""

    def __init__(
        self, *given: Any, gateway: Gateway, settings: GatewaySettings, **named: Any
    ) -> None:
        super().__init__(*given, **named)
        self._gateway = gateway
        self._settings = settings
        self._is_in_head = False
        self._is_between = True
        self._head_bytes = 0
        self._plain: Plain | None = None
        self._said: Said | None = None
        self._refusal = 400
        self._is_handed_over = False
        self._deadline = Deadline(self.loop, lambda: self._refuse(408))
        self._idle = Deadline(self.loop, self.timeout_keep_alive_handler)
        self._unread: asyncio.TimerHandle | None = None

    # --- limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            self._refuse(503)
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._deadline.close()
        self._idle.close()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        self._idle.clear()
        was_in_head, was_between = self._is_in_head, self._is_between
        if was_between and self._said is not None and self._goes_again(data, self._said):
            return
        super().data_received(data)
        if was_between and self._plain is not None:
            # A copy: what is answered by ASGI writes into its own.
            self._said = Said.once(data, self._plain, {**self.scope})
        if self._is_in_head:
            self._expect_head()
            # A head that began in this piece began after the end of the one before it.
            ended = -1 if was_in_head else data.rfind(b"\r\n\r\n")
            self._head_bytes += len(data) - (ended + 4 if ended >= 0 else 0)
            if self._head_bytes > self._settings.max_head_bytes:
                self._refuse(431 if self.headers else 414)
        elif not self._is_handed_over and self._is_idle():
            self._expect_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0
        self._is_between, self._plain = False, None

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._deadline.clear()
        limits = self._settings
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if len(self.url) > limits.max_url_bytes:
            self._refusal = 414
            raise httptools.HttpParserError
        if size > limits.max_head_bytes or len(self.headers) > limits.max_headers:
            self._refusal = 431
            raise httptools.HttpParserError
        if not self._takes_short_way():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_between = True
        if not isinstance(self.cycle, ShortWay):
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._is_handed_over = True
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self._settings.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong in the words of all other problems, and close."""
        self._refuse(self._refusal)

    def _is_idle(self) -> bool:
        """Tell whether what came (blank lines, say) began nothing and nothing ends the wait."""
        return not self._idle.is_set and (self.cycle is None or self.cycle.response_complete)

    def _expect_head(self) -> None:
        if not self._deadline.is_set:
            self._deadline.set(self._settings.head_seconds)

    def _refuse(self, status: int) -> None:
        self._deadline.clear()
        if self.transport.is_closing():
            return
        seen = Seen("any", telemetry.random_hex(8).encode(), status=status)
        telemetry.current_request_id.set(seen.request_id.decode())
        code, sentence = _REFUSALS[status]
        body = json.dumps(problems.problem_body(status, sentence, code=code)).encode()
        head = wire(
            [
                (b"content-type", problems.MEDIA_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
                *([(b"retry-after", b"2")] if status == 503 else []),
                *self._gateway.always,
                (b"x-request-id", seen.request_id),
            ]
        )
        self.transport.write(b"".join((STATUS_LINE[status], head, b"\r\n", body)))
        self.transport.close()
        seen.count()

    def on_response_complete(self) -> None:
        """Go on with what waits, or wait for more: as uvicorn does, with one timer for them all."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle.set(self.timeout_keep_alive)

    # --- the short way

    def _takes_short_way(self) -> bool:
        """Send the request that was just read at once, where that is possible."""
        parser = self.parser
        if parser.get_method() != b"GET" or not self.url.startswith(b"/") or self.client is None:
            return False
        if parser.should_upgrade() or parser.get_http_version() != "1.1":
            return False
        plain = self._gateway.plain(self.headers, self.client[0])
        if plain is None or not parser.should_keep_alive():
            return False
        self._plain = plain
        return self._sends(self.url, plain, self.scope)

    def _goes_again(self, data: bytes, said: Said) -> bool:
        """Send a request at once that says what the one before it said, of another path perhaps."""
        url = said.url_of(data)
        limits = self._settings
        if url is None or len(url) > limits.max_url_bytes or len(data) > limits.max_head_bytes:
            return False
        return self._sends(url, said.plain, said.scope)

    def _sends(self, url: bytes, plain: Plain, scope: Any) -> bool:
        is_next = self.cycle is None or self.cycle.response_complete
        if not is_next or self.flow.write_paused or self.transport.is_closing():
            return False
        path, _, query = url.partition(b"?")
        begun = self._gateway.begin(path, query, plain)
        if begun is None:
            return False
        self._deadline.clear()
        self.cycle = ShortWay(self, scope, path, query, begun)  # type: ignore[assignment]
        return True

    def take_long_way(self, short: ShortWay, app: ASGIApp) -> None:
        """Go on as a task, with what uvicorn has for a request."""
        cycle = RequestResponseCycle(
            scope=short.scope(),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        cycle.disconnected = short.disconnected
        cycle.message_event.set()
        if self.cycle is short:  # type: ignore[comparison-overlap]
            self.cycle = cycle
        self._start_asgi_task(cycle, app)  # type: ignore[arg-type]


def protocol(gateway: Gateway, settings: GatewaySettings) -> Any:
    """Return what uvicorn makes a connection's protocol with."""
    return partial(GatewayProtocol, gateway=gateway, settings=settings)
