"""The short way: a request that waits for nothing but its upstream is answered without a task.

No body, a token that passed before, a connection that lies ready: it is sent from the parser's
callback, and answered from the callback of the upstream's connection. It takes the same steps
(Gateway.begin); all others, and whatever goes wrong, take the long way, through ASGI. And as a
client sends the same headers with every request, what they came to is kept beside its connection:
when the same bytes come again, they are not read again. See docs/decisions/0008.
"""

import re
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from coach_gateway.connection import Lost
from coach_gateway.gateway import REFUSED, Begun, Plain
from coach_gateway.head import unwire, wire
from coach_gateway.proxy import RETRIES, answered, relay
from coach_gateway.upstreams import Replica

_ANSWER_BYTES = 64 * 1024
_BODILESS = (204, 304)
_LINE = re.compile(rb"GET (/[!-~]*) HTTP/1\.1")
_END = b"\r\n\r\n"


class Said(NamedTuple):
    """The headers of a request, byte for byte, and what they came to."""

    block: bytes
    """From the end of the request line to the end of the blank line."""
    plain: Plain
    scope: Any

    @classmethod
    def once(cls, data: bytes, plain: Plain, scope: Any) -> "Said | None":
        """Keep what was read from `data`; None where that is not exactly one request's head."""
        end_of_line = data.find(b"\r\n")
        if data.find(_END) != len(data) - len(_END) or not _LINE.fullmatch(data, 0, end_of_line):
            return None
        return cls(data[end_of_line:], plain, scope)

    def url_of(self, data: bytes) -> bytes | None:
        """Return what is asked for, where `data` is one request with the same headers."""
        if not data.endswith(self.block):
            return None
        line = _LINE.fullmatch(data, 0, len(data) - len(self.block))
        return None if line is None else line[1]


class Client(Protocol):
    """The connection that a request came by."""

    app: ASGIApp
    transport: Any
    server_state: Any

    def on_response_complete(self) -> None:
        """Go on with what waits."""

    def take_long_way(self, short: "ShortWay", app: ASGIApp) -> None:
        """Answer it as a task, by `app`."""


class ShortWay:
    """One request that was sent at once, until its answer came.

    It stands where uvicorn keeps the cycle of a request, so that a second request that comes
    before the first is answered waits its turn.
    """

    def __init__(self, client: Client, scope: Any, path: bytes, query: bytes, begun: Begun) -> None:
        self.disconnected = False
        self.response_complete = False
        self._client = client
        self._scope = scope
        self._path = path
        self._query = query
        self._begun = begun
        self._refused: Replica | None = None
        self._connection = begun.asked.connection
        begun.asked.send(begun.request, self._changed)

    @property
    def message_event(self) -> "ShortWay":
        """Where uvicorn wakes a task."""
        return self

    def set(self) -> None:
        """Wake nobody: there is no task."""

    def scope(self) -> Any:
        """Return what ASGI knows of it."""
        return self._scope | {
            "method": "GET", "path": self._path.decode(), "raw_path": self._path,
            "query_string": self._query, REFUSED: self._refused,
        }  # fmt: skip

    def _changed(self) -> None:
        connection = self._connection
        if connection.is_complete:
            self._finish()
        elif connection.has_answer and not connection.has_failed:
            if connection.length is None or connection.length > _ANSWER_BYTES:
                connection.unwatch()
                self._client.take_long_way(self, self._relay)
        elif connection.has_failed:
            connection.unwatch()
            self._begun.asked.end()
            RETRIES.labels(self._begun.request.upstream).inc()
            self._refused = self._begun.asked.replica
            self._client.take_long_way(self, self._client.app)

    def _finish(self) -> None:
        begun, connection, client = self._begun, self._connection, self._client
        connection.unwatch()
        seen, body = begun.seen, connection.taken()
        seen.status = connection.status
        theirs = wire(client.server_state.default_headers + answered(connection.headers))
        lines = [STATUS_LINE[seen.status], begun.lines, theirs]
        if connection.length is None and seen.status not in _BODILESS:
            lines.append(b"content-length: %d\r\n" % len(body))
        lines += (b"\r\n", body)
        begun.asked.end()
        self.response_complete = True
        if not client.transport.is_closing():
            client.transport.write(b"".join(lines))
        seen.count()
        client.on_response_complete()

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on an answer that is long or has no end yet."""
        begun = self._begun
        begun.seen.status = self._connection.status
        try:
            with suppress(Lost):
                await relay(self._connection, receive, send, unwire(begun.lines))
        finally:
            begun.asked.end()
            begun.seen.count()
