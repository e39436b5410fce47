"""Forwarding: headers are rebuilt, bodies stream both ways and are never held."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter
from starlette.types import Message, Receive, Send

from coach_common import logs
from coach_common.errors import BadRequest, Unavailable
from coach_gateway.config import GatewaySettings
from coach_gateway.json_depth import JsonDepthCounter
from coach_gateway.request_head import (
    HOP_BY_HOP,
    Headers,
    connection_options,
    encode_headers,
    payload_too_large,
)
from coach_gateway.upstream_connection import UpstreamConnection, UpstreamDisconnected
from coach_gateway.upstreams import Replica, Upstream

log = logs.get_logger(__name__)

UPSTREAM_ERRORS = Counter("coach_gateway_upstream_errors", "Failed calls.", ["upstream", "why"])
RETRIES = Counter("coach_gateway_upstream_retries", "Calls that were made again.", ["upstream"])

_STRIPPED_RESPONSE_HEADERS = HOP_BY_HOP | {b"server", b"date", b"x-request-id", b"cache-control",
                                 b"x-content-type-options"}  # fmt: skip
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(slots=True)
class UpstreamRequest:
    """What to ask an upstream for. `has_body` without `length`: it comes in chunks."""

    upstream: str
    method: str
    path: str
    query: bytes
    encoded_headers: bytes
    """Its headers, as they are sent."""
    has_body: bool = False
    length: int | None = None
    is_json: bool = False


class UpstreamClient:
    """Asks the services behind the gateway."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._upstreams = {
            name: Upstream(
                name,
                urls,
                max_in_flight=settings.upstream_max_in_flight,
                connect_timeout_seconds=settings.upstream_connect_timeout_seconds,
                read_timeout_seconds=settings.upstream_read_timeout_seconds,
            )
            for name, urls in (
                ("auth", settings.auth_url),
                ("sessions", settings.sessions_url),
                ("media", settings.media_url),
                ("ai", settings.ai_url),
            )
        }

    async def check_health(self) -> None:
        """Raise Unavailable naming the upstreams that do not answer."""
        names = list(self._upstreams)
        are_alive = await asyncio.gather(*(self._is_alive(name) for name in names))
        unavailable = [
            name for name, is_alive in zip(names, are_alive, strict=True) if not is_alive
        ]
        if unavailable:
            raise Unavailable(f"away: {', '.join(unavailable)}")

    async def forward(
        self,
        request: UpstreamRequest,
        receive: Receive,
        send: Send,
        response_headers: Headers,
    ) -> None:
        """Ask the upstream and stream its answer; Unavailable where it gives none.

        What is safe is asked once more where no answer began; anything else only where it
        could not be sent at all.
        """
        upstream = self._upstreams[request.upstream]
        may_retry = request.method == "GET" and not request.has_body
        excluded: Replica | None = None
        while True:
            try:
                replica, connection = await upstream.acquire(excluded)
            except UpstreamDisconnected as error:
                raise _unavailable(request.upstream, error) from None
            try:
                await self._exchange(upstream, connection, request, receive)
                replica.record_success()
                await stream_response(connection, receive, send, response_headers)
                return
            except UpstreamDisconnected as error:
                if connection.has_response_head:
                    raise _unavailable(request.upstream, error) from None
                upstream.record_failure(replica)
                if not may_retry:
                    raise _unavailable(request.upstream, error) from None
                RETRIES.labels(request.upstream).inc()
                may_retry, excluded = False, replica
            finally:
                upstream.release(replica, connection)

    async def request(
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
        request = UpstreamRequest(
            upstream=upstream,
            method=method,
            path=target,
            query=query.encode(),
            encoded_headers=encode_headers(
                [(name.encode(), value.encode()) for name, value in headers.items()]
            ),
            has_body=bool(body),
            length=len(body),
        )
        chunks: list[bytes] = []
        status = 0

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                chunks.append(message["body"])

        await self.forward(request, receive, send, [])
        return status, b"".join(chunks)

    async def get_auth_json(self, path: str) -> Any:
        """Return the JSON that auth answers the gateway itself; Unavailable without a 200."""
        headers = {"authorization": f"Bearer {self._settings.service_token}"}
        status, body = await self.request("auth", "GET", path, headers=headers)
        if status != 200:
            raise Unavailable("Sign-in is temporarily unavailable. Please try again.")
        return json.loads(body)

    async def close(self) -> None:
        """Close every connection."""
        for upstream in self._upstreams.values():
            upstream.close()

    async def _is_alive(self, upstream: str) -> bool:
        try:
            status, _ = await self.request(upstream, "GET", "/health/live", headers={})
        except Unavailable:
            return False
        return status == 200

    async def _exchange(
        self,
        upstream: Upstream,
        connection: UpstreamConnection,
        request: UpstreamRequest,
        receive: Receive,
    ) -> None:
        """Send the request and wait for the head of its answer."""
        head = _encode_head(request, upstream)
        if not request.has_body:
            connection.begin_request(head + b"\r\n")
        elif request.length is None:
            head += b"transfer-encoding: chunked\r\n\r\n"
            await self._stream_body(connection, [head], request, receive)
        else:
            head += b"content-length: %d\r\n\r\n" % request.length
            await self._stream_body(connection, [head], request, receive)
        await connection.read_head()

    async def _stream_body(
        self,
        connection: UpstreamConnection,
        pieces: list[bytes],
        request: UpstreamRequest,
        receive: Receive,
    ) -> None:
        """Pass the body on as it comes, as long as the upstream has not answered already."""
        deadline = asyncio.get_running_loop().time() + self._settings.body_timeout_seconds
        limit = self._settings.max_body_bytes
        nesting = JsonDepthCounter(self._settings.max_json_depth) if request.is_json else None
        total, is_last = 0, False
        while not is_last:
            chunk, is_last = await self._receive_chunk(receive, deadline)
            total += len(chunk)
            if total > limit:
                raise payload_too_large(limit)
            if nesting is not None:
                nesting.feed(chunk)
            if request.length is None:
                if chunk:
                    pieces += (b"%x\r\n" % len(chunk), chunk, b"\r\n")
                if is_last:
                    pieces.append(_LAST_CHUNK)
            else:
                pieces.append(chunk)
            data = b"".join(pieces)
            if total == len(chunk):
                connection.begin_request(data)
            elif connection.has_response_head:
                connection.mark_unreusable()
                return
            else:
                await connection.send(data)
            pieces = []

    async def _receive_chunk(self, receive: Receive, deadline: float) -> tuple[bytes, bool]:
        soon = asyncio.get_running_loop().time() + self._settings.body_chunk_timeout_seconds
        try:
            async with asyncio.timeout_at(min(soon, deadline)):
                message = await receive()
        except TimeoutError:
            raise BadRequest("The request body did not arrive in time.", code="slow_body") from None
        if message["type"] == "http.disconnect":
            raise BadRequest("The connection closed before the whole body arrived.", code="cut_off")
        return message.get("body", b""), not message.get("more_body")


def _encode_head(request: UpstreamRequest, upstream: Upstream) -> bytes:
    return b"%b %b%b%b HTTP/1.1\r\nhost: %b\r\n%b" % (
        request.method.encode(), request.path.encode(), b"?" if request.query else b"",
        request.query, upstream.host_header, request.encoded_headers,
    )  # fmt: skip


def filter_response_headers(headers: Headers) -> Headers:
    """Return what of an upstream's headers a client may see."""
    hop = b",".join([value for name, value in headers if name == b"connection"])
    stripped = (
        _STRIPPED_RESPONSE_HEADERS | connection_options(hop) if hop else _STRIPPED_RESPONSE_HEADERS
    )
    return [pair for pair in headers if pair[0] not in stripped]


async def stream_response(
    connection: UpstreamConnection, receive: Receive, send: Send, response_headers: Headers
) -> None:
    """Pass an answer on as it comes; where the client goes, the upstream may stop."""
    headers = filter_response_headers(connection.headers) + response_headers
    await send({"type": "http.response.start", "status": connection.status, "headers": headers})
    chunk = await connection.read_chunk()
    if connection.is_drained():
        await send({"type": "http.response.body", "body": chunk})
        return
    disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
    disconnected.add_done_callback(lambda one: None if one.cancelled() else connection.abort())
    try:
        while chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await connection.read_chunk()
        await send({"type": "http.response.body", "body": b""})
    finally:
        disconnected.cancel()
        with suppress(asyncio.CancelledError):
            await disconnected


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _unavailable(upstream: str, error: UpstreamDisconnected) -> Unavailable:
    UPSTREAM_ERRORS.labels(upstream, type(error).__name__).inc()
    log.warning("upstream.failed", upstream=upstream, why=str(error))
    return Unavailable("The service is temporarily unavailable. Please try again.")
