"""HTTP as the gateway speaks it to clients: uvicorn's, with limits."""

import asyncio
import json
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from coach_common import telemetry
from coach_common.http import problems
from coach_gateway.config import GatewaySettings
from coach_gateway.handler import GatewayApp, RequestRecord
from coach_gateway.rearmable_timer import RearmableTimer
from coach_gateway.request_head import encode_headers

_PROTOCOL_ERRORS = {
    400: ("bad_http", "The request is not valid HTTP/1.1."),
    408: ("slow_request", "The request took too long to arrive."),
    414: ("uri_too_long", "The URL is too long."),
    431: ("headers_too_large", "The headers are too large."),
    503: ("too_many_connections", "Too many connections. Please try again."),
}


class GatewayProtocol(HttpToolsProtocol):
    """A connection of a client."""

    def __init__(
        self, *given: Any, gateway: GatewayApp, settings: GatewaySettings, **named: Any
    ) -> None:
        super().__init__(*given, **named)
        self._gateway = gateway
        self._settings = settings
        self._parsing_head = False
        self._head_bytes = 0
        self._reject_status = 400
        self._upgraded = False
        self._head_timer = RearmableTimer(self.loop, lambda: self._reject(408))
        self._idle_timer = RearmableTimer(self.loop, self.timeout_keep_alive_handler)
        self._write_stall_timer: asyncio.TimerHandle | None = None

    # --- limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            self._reject(503)
        else:
            self._arm_head_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._head_timer.close()
        self._idle_timer.close()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        self._idle_timer.disarm()
        was_in_head = self._parsing_head
        super().data_received(data)
        if self._parsing_head:
            self._arm_head_timeout()
            # A head that began in this piece began after the end of the one before it.
            ended = -1 if was_in_head else data.rfind(b"\r\n\r\n")
            self._head_bytes += len(data) - (ended + 4 if ended >= 0 else 0)
            if self._head_bytes > self._settings.max_header_bytes:
                self._reject(431 if self.headers else 414)
        elif not self._upgraded and self._is_idle():
            self._arm_head_timeout()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._parsing_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._parsing_head = False
        self._head_timer.disarm()
        limits = self._settings
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if len(self.url) > limits.max_url_bytes:
            self._reject_status = 414
            raise httptools.HttpParserError
        if size > limits.max_header_bytes or len(self.headers) > limits.max_headers:
            self._reject_status = 431
            raise httptools.HttpParserError
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_stall_timer = self.loop.call_later(
            self._settings.write_stall_timeout_seconds, self.transport.abort
        )

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_stall_timer is not None:
            self._write_stall_timer.cancel()
            self._write_stall_timer = None

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong in the words of all other problems, and close."""
        self._reject(self._reject_status)

    def _is_idle(self) -> bool:
        """Tell whether what came (blank lines, say) began nothing and nothing ends the wait."""
        return not self._idle_timer.is_armed and (
            self.cycle is None or self.cycle.response_complete
        )

    def _arm_head_timeout(self) -> None:
        if not self._head_timer.is_armed:
            self._head_timer.arm(self._settings.header_timeout_seconds)

    def _reject(self, status: int) -> None:
        self._head_timer.disarm()
        if self.transport.is_closing():
            return
        record = RequestRecord("any", telemetry.random_hex(8).encode(), status=status)
        telemetry.current_request_id.set(record.request_id.decode())
        code, sentence = _PROTOCOL_ERRORS[status]
        body = json.dumps(problems.problem_body(status, sentence, code=code)).encode()
        head = encode_headers(
            [
                (b"content-type", problems.MEDIA_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
                *([(b"retry-after", b"2")] if status == 503 else []),
                *self._gateway.default_headers,
                (b"x-request-id", record.request_id),
            ]
        )
        self.transport.write(b"".join((STATUS_LINE[status], head, b"\r\n", body)))
        self.transport.close()
        record.record()

    def on_response_complete(self) -> None:
        """Go on with what waits, or wait for more: as uvicorn does, with one timer for them all."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_timer.arm(self.timeout_keep_alive)


def create_protocol_factory(gateway: GatewayApp, settings: GatewaySettings) -> Any:
    """Return what uvicorn makes a connection's protocol with."""
    return partial(GatewayProtocol, gateway=gateway, settings=settings)
