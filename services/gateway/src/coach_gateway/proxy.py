"""Forwarding: headers are rebuilt, bodies stream both ways and are never held."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter
from starlette.types import Message, Receive, Send

from coach_common import logs
from coach_common.errors import BadRequest, Unavailable
from coach_gateway.config import GatewaySettings
from coach_gateway.connection import Connection, Lost
from coach_gateway.head import HOP_BY_HOP, Headers, named_in, too_large, wire
from coach_gateway.nesting import Nesting
from coach_gateway.upstreams import Replica, Upstream

log = logs.get_logger(__name__)

UPSTREAM_ERRORS = Counter("coach_gateway_upstream_errors", "Failed calls.", ["upstream", "why"])
RETRIES = Counter("coach_gateway_upstream_retries", "Calls that were made again.", ["upstream"])

_NEVER_ANSWERED = HOP_BY_HOP | {b"server", b"date", b"x-request-id", b"cache-control",
                                 b"x-content-type-options"}  # fmt: skip
SAFE = "GET"
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(slots=True)
class Forwarded:
    """What to ask an upstream for. `has_body` without `length`: it comes in chunks."""

    upstream: str
    method: str
    path: str
    query: bytes
    lines: bytes
    """Its headers, as they are sent."""
    has_body: bool = False
    length: int | None = None
    is_json: bool = False


@dataclass(slots=True)
class Asked:
    """A request that needs no waiting: its connection to an upstream lay ready."""

    upstream: Upstream
    replica: Replica
    connection: Connection

    def send(self, request: Forwarded, on_change: Callable[[], None]) -> None:
        """Send a request without a body and have what comes back told."""
        self.connection.watch(on_change)
        self.connection.start(_head_of(request, self.upstream) + b"\r\n")

    def end(self) -> None:
        """Give the connection back."""
        if self.connection.has_failed and not self.connection.has_answer:
            self.upstream.failed(self.replica)
        else:
            self.replica.succeeded()
        self.upstream.give_back(self.replica, self.connection)


class Proxy:
    """Asks the services behind the gateway."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._upstreams = {
            name: Upstream(
                name,
                urls,
                in_flight=settings.upstream_requests,
                connect_seconds=settings.upstream_connect_seconds,
                read_seconds=settings.upstream_read_seconds,
            )
            for name, urls in (
                ("auth", settings.auth_url),
                ("sessions", settings.sessions_url),
                ("media", settings.media_url),
                ("ai", settings.ai_url),
            )
        }

    async def ready(self) -> None:
        """Raise Unavailable naming the upstreams that do not answer."""
        names = list(self._upstreams)
        alive = await asyncio.gather(*(self._is_alive(name) for name in names))
        away = [name for name, is_alive in zip(names, alive, strict=True) if not is_alive]
        if away:
            raise Unavailable(f"away: {', '.join(away)}")

    async def forward(
        self,
        request: Forwarded,
        receive: Receive,
        send: Send,
        extra: Headers,
        *,
        refused: Replica | None = None,
    ) -> None:
        """Ask the upstream and stream its answer; Unavailable where it gives none.

        What is safe is asked once more where no answer began; anything else only where it
        could not be sent at all. `refused` was asked once already, in vain.
        """
        upstream = self._upstreams[request.upstream]
        again = request.method == SAFE and not request.has_body and refused is None
        while True:
            try:
                replica, connection = await upstream.take(refused)
            except Lost as error:
                raise _away(request.upstream, error) from None
            try:
                await self._ask(upstream, connection, request, receive)
                replica.succeeded()
                await relay(connection, receive, send, extra)
                return
            except Lost as error:
                if connection.has_answer:
                    raise _away(request.upstream, error) from None
                upstream.failed(replica)
                if not again:
                    raise _away(request.upstream, error) from None
                RETRIES.labels(request.upstream).inc()
                again, refused = False, replica
            finally:
                upstream.give_back(replica, connection)

    def take_now(self, name: str) -> Asked | None:
        """Take a connection to an upstream, where one lies ready."""
        upstream = self._upstreams[name]
        taken = upstream.take_now()
        return None if taken is None else Asked(upstream, *taken)

    async def call(
        self,
        upstream: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
    ) -> tuple[int, bytes]:
        """Make a small call of the gateway's own; return status and body."""
        target, _, query = path.partition("?")
        request = Forwarded(
            upstream=upstream,
            method=method,
            path=target,
            query=query.encode(),
            lines=wire([(name.encode(), value.encode()) for name, value in headers.items()]),
            has_body=bool(body),
            length=len(body),
        )
        said: list[bytes] = []
        status = 0

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                said.append(message["body"])

        await self.forward(request, receive, send, [])
        return status, b"".join(said)

    async def ask_auth(self, path: str) -> Any:
        """Return the JSON that auth answers the gateway itself; Unavailable without a 200."""
        headers = {"authorization": f"Bearer {self._settings.service_token}"}
        status, body = await self.call("auth", "GET", path, headers=headers)
        if status != 200:
            raise Unavailable("Sign-in is temporarily unavailable. Please try again.")
        return json.loads(body)

    async def close(self) -> None:
        """Close every connection."""
        for upstream in self._upstreams.values():
            upstream.close()

    async def _is_alive(self, upstream: str) -> bool:
        try:
            status, _ = await self.call(upstream, "GET", "/health/live", headers={})
        except Unavailable:
            return False
        return status == 200

    async def _ask(
        self, upstream: Upstream, connection: Connection, request: Forwarded, receive: Receive
    ) -> None:
        """Send the request and wait for the head of its answer."""
        head = _head_of(request, upstream)
        if not request.has_body:
            connection.start(head + b"\r\n")
        elif request.length is None:
            head += b"transfer-encoding: chunked\r\n\r\n"
            await self._send(connection, [head], request, receive)
        else:
            head += b"content-length: %d\r\n\r\n" % request.length
            await self._send(connection, [head], request, receive)
        await connection.head()

    async def _send(
        self, connection: Connection, lines: list[bytes], request: Forwarded, receive: Receive
    ) -> None:
        """Pass the body on as it comes, as long as the upstream has not answered already."""
        deadline = asyncio.get_running_loop().time() + self._settings.request_seconds
        limit = self._settings.max_body_bytes
        nesting = Nesting(self._settings.max_json_depth) if request.is_json else None
        total, is_last = 0, False
        while not is_last:
            chunk, is_last = await self._next(receive, deadline)
            total += len(chunk)
            if total > limit:
                raise too_large(limit)
            if nesting is not None:
                nesting.feed(chunk)
            if request.length is None:
                if chunk:
                    lines += (b"%x\r\n" % len(chunk), chunk, b"\r\n")
                if is_last:
                    lines.append(_LAST_CHUNK)
            else:
                lines.append(chunk)
            data = b"".join(lines)
            if total == len(chunk):
                connection.start(data)
            elif connection.has_answer:
                connection.spoil()
                return
            else:
                await connection.send(data)
            lines = []

    async def _next(self, receive: Receive, deadline: float) -> tuple[bytes, bool]:
        soon = asyncio.get_running_loop().time() + self._settings.body_seconds
        try:
            async with asyncio.timeout_at(min(soon, deadline)):
                message = await receive()
        except TimeoutError:
            raise BadRequest("The rest of the request did not come.", code="slow_body") from None
        if message["type"] == "http.disconnect":
            raise BadRequest("The request ended early.", code="cut_off")
        return message.get("body", b""), not message.get("more_body")


def _head_of(request: Forwarded, upstream: Upstream) -> bytes:
    return b"%b %b%b%b HTTP/1.1\r\nhost: %b\r\n%b" % (
        request.method.encode(), request.path.encode(), b"?" if request.query else b"",
        request.query, upstream.host_header, request.lines,
    )  # fmt: skip


def answered(headers: Headers) -> Headers:
    """Return what of an upstream's headers a client may see."""
    hop = b",".join([value for name, value in headers if name == b"connection"])
    never = _NEVER_ANSWERED | named_in(hop) if hop else _NEVER_ANSWERED
    return [pair for pair in headers if pair[0] not in never]


async def relay(connection: Connection, receive: Receive, send: Send, extra: Headers) -> None:
    """Pass an answer on as it comes; where the client goes, the upstream may stop."""
    headers = answered(connection.headers) + extra
    await send({"type": "http.response.start", "status": connection.status, "headers": headers})
    chunk = await connection.chunk()
    if connection.is_read():
        await send({"type": "http.response.body", "body": chunk})
        return
    gone = asyncio.ensure_future(_until_gone(receive))
    gone.add_done_callback(lambda one: None if one.cancelled() else connection.drop())
    try:
        while chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await connection.chunk()
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _away(upstream: str, error: Lost) -> Unavailable:
    UPSTREAM_ERRORS.labels(upstream, type(error).__name__).inc()
    log.warning("upstream.failed", upstream=upstream, why=str(error))
    return Unavailable("The service is temporarily unavailable. Please try again.")
