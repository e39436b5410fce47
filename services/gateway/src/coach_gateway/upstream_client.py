"""Requests to the services: retries, slots, streaming of responses, the gateway's own calls."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from prometheus_client import Counter

from coach_common import logs
from coach_common.errors import Unavailable
from coach_common.http.exchange import Exchange, encode_headers
from coach_gateway.config import GatewaySettings
from coach_gateway.request_head import HOP_BY_HOP, Headers, connection_options
from coach_gateway.upstream_connection import (
    ClientDisconnected,
    ConnectionClosed,
    State,
    UpstreamConnection,
    UpstreamError,
    UpstreamTimeout,
)
from coach_gateway.upstreams import Replica, Upstream

log = logs.get_logger(__name__)

UPSTREAM_ERRORS = Counter("coach_gateway_upstream_errors", "Failed calls.", ["upstream", "why"])
RETRIES = Counter("coach_gateway_upstream_retries", "Retried calls.", ["upstream"])

OWN_TIMEOUT_SECONDS = 0.5
"""For the start of a response to the gateway itself, so that another replica can be asked."""
SINGLE_REPLICA_TIMEOUT_SECONDS = 2.0
"""The same if there is no other replica. Below the 3 s after which revocations are stale."""
MAX_OWN_RESPONSE_BYTES = 4 * 1024 * 1024
_STRIPPED_RESPONSE_HEADERS = HOP_BY_HOP | {b"server", b"date", b"x-request-id", b"cache-control",
                                           b"x-content-type-options"}  # fmt: skip


@dataclass(slots=True)
class UpstreamRequest:
    """A request to an upstream, with its whole body."""

    upstream: str
    method: str
    path: str
    query: bytes
    encoded_headers: bytes
    body: bytes | None = None

    @property
    def is_safe(self) -> bool:
        """Whether the request may be sent again."""
        return self.method == "GET" and not self.body

    def encode(self, host: bytes) -> bytes:
        """Return the request as it is sent."""
        separator = b"?" if self.query else b""
        length = b"" if self.body is None else b"content-length: %d\r\n" % len(self.body)
        return b"%b %b%b%b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n%b" % (
            self.method.encode(), self.path.encode(), separator, self.query, host,
            self.encoded_headers, length, self.body or b"",
        )  # fmt: skip


class Call:
    """One request while `async with` lasts. It holds a slot and a connection of the upstream.

    Entering waits for the status and headers. It tries another replica if nothing was sent, or if
    a safe request got no response because the connection closed. A client's request is never
    sent again after a timeout.
    """

    __slots__ = ("_client", "_connection", "_is_own", "_replica", "_request", "_timeout_seconds",
                 "_upstream", "headers", "status")  # fmt: skip

    def __init__(
        self,
        upstream: Upstream,
        request: UpstreamRequest,
        *,
        timeout_seconds: float,
        client: Exchange | None = None,
        is_own: bool = False,
    ) -> None:
        self.status = 0
        self.headers: Headers = []
        self._upstream = upstream
        self._request = request
        self._timeout_seconds = timeout_seconds
        self._client = client
        self._is_own = is_own
        self._replica: Replica | None = None
        self._connection: UpstreamConnection | None = None

    async def __aenter__(self) -> Self:
        self._upstream.take_slot(is_own=self._is_own)
        try:
            if self._client is not None:
                self._client.on_disconnect = self._abandon
            await self._exchange()
        except BaseException as error:
            self._end(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._end(error)

    async def read_chunk(self) -> bytes:
        """Return the next bytes of the body, b"" after the last. Raises UpstreamError."""
        if self._connection is None:
            raise RuntimeError("the call is not open")
        return await self._connection.read_chunk(self._timeout_seconds)

    def has_chunk(self) -> bool:
        """Return whether `read_chunk` returns without waiting."""
        return self._connection is not None and self._connection.has_chunk()

    def is_drained(self) -> bool:
        """Return whether the whole body has been read."""
        return self._connection is not None and self._connection.is_drained()

    async def _exchange(self) -> None:
        upstream, request = self._upstream, self._request
        data = request.encode(upstream.host_header)
        excluded: set[Replica] = set()
        may_retry = request.is_safe
        while True:
            self._raise_if_disconnected()
            self._replica, connection = await upstream.connect(excluded)
            self._connection = connection
            try:
                self._raise_if_disconnected()
                await connection.send(data, is_safe=request.is_safe)
                await connection.read_head(self._timeout_seconds)
            except (ConnectionClosed, UpstreamTimeout) as error:
                is_retryable = isinstance(error, ConnectionClosed) or (
                    self._is_own and upstream.has_other(excluded | {self._replica})
                )
                if not (may_retry and is_retryable):
                    raise
                excluded.add(self._replica)
                self._release(error)
                RETRIES.labels(upstream.name).inc()
                may_retry = False
                continue
            self.status, self.headers = connection.status, connection.headers
            upstream.record_success(self._replica)
            return

    def _raise_if_disconnected(self) -> None:
        if self._client is not None and self._client.is_disconnected:
            raise ClientDisconnected

    def _abandon(self) -> None:
        if self._connection is not None and self._connection.state is not State.IDLE:
            self._connection.abort(ClientDisconnected())

    def _end(self, error: BaseException | None) -> None:
        if self._client is not None:
            self._client.on_disconnect = None
        self._release(error)
        self._upstream.free_slot(is_own=self._is_own)

    def _release(self, error: BaseException | None) -> None:
        if self._replica is None or self._connection is None:
            return
        if isinstance(error, UpstreamError):
            self._upstream.record_failure(self._replica)
        self._upstream.release(self._replica, self._connection)
        self._replica = self._connection = None


class UpstreamClient:
    """The upstreams, by name."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._upstreams = {
            name: Upstream(
                name,
                urls,
                max_in_flight=settings.upstream_max_in_flight,
                connect_timeout_seconds=settings.upstream_connect_timeout_seconds,
            )
            for name, urls in (
                ("auth", settings.auth_url),
                ("sessions", settings.sessions_url),
                ("media", settings.media_url),
                ("ai", settings.ai_url),
            )
        }

    def stream(self, request: UpstreamRequest, client: Exchange) -> Call:
        """Return a request of a client, which is aborted when the client disconnects."""
        return Call(
            self._upstreams[request.upstream],
            request,
            timeout_seconds=self._settings.upstream_read_timeout_seconds,
            client=client,
        )

    async def request(
        self,
        upstream: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        is_own: bool = False,
    ) -> tuple[int, bytes]:
        """Send a small request and return the status and body. Raises Unavailable.

        `is_own`: the gateway itself asks, not a user. Such requests have separate slots, a
        short timeout, and move to another replica after it.
        """
        target, _, query = path.partition("?")
        encoded = encode_headers(
            [(name.encode(), value.encode()) for name, value in headers.items()]
        )
        request = UpstreamRequest(
            upstream, method, target, query.encode(), encoded, body if method != "GET" else None
        )
        timeout = self._settings.upstream_read_timeout_seconds
        if is_own:
            has_other = len(self._upstreams[upstream].replicas) > 1
            timeout = OWN_TIMEOUT_SECONDS if has_other else SINGLE_REPLICA_TIMEOUT_SECONDS
        chunks: list[bytes] = []
        size_bytes = 0
        try:
            async with Call(
                self._upstreams[upstream], request, timeout_seconds=timeout, is_own=is_own
            ) as call:
                while chunk := await call.read_chunk():
                    chunks.append(chunk)
                    size_bytes += len(chunk)
                    if size_bytes > MAX_OWN_RESPONSE_BYTES:
                        raise Unavailable(f"the response of {upstream} is too large")
                return call.status, b"".join(chunks)
        except UpstreamError as error:
            raise report_failure(upstream, error) from None

    def get_upstream(self, name: str) -> Upstream:
        """Return an upstream by its name."""
        return self._upstreams[name]

    async def get_auth_json(self, path: str) -> Any:
        """Return JSON that auth serves to the gateway. Raises Unavailable without a 200."""
        headers = {"authorization": f"Bearer {self._settings.service_token}"}
        status, body = await self.request("auth", "GET", path, headers=headers, is_own=True)
        if status != 200:
            raise Unavailable("Sign-in is temporarily unavailable. Please try again.")
        return json.loads(body)

    async def check_health(self) -> None:
        """Raise Unavailable with the names of the upstreams that do not respond."""
        failed = [name for name in self._upstreams if not await self._is_live(name)]
        if failed:
            raise Unavailable(f"unavailable: {', '.join(failed)}")

    async def maintain(self) -> None:
        """Resolve names and probe replicas until cancelled."""
        await asyncio.gather(*(upstream.maintain() for upstream in self._upstreams.values()))

    async def close(self) -> None:
        """Close every connection."""
        for upstream in self._upstreams.values():
            upstream.close()

    async def _is_live(self, upstream: str) -> bool:
        try:
            status, _ = await self.request(upstream, "GET", "/health/live", headers={}, is_own=True)
        except Unavailable:
            return False
        return status == 200


def filter_response_headers(headers: Headers) -> Headers:
    """Return the headers of an upstream that a client may see."""
    stripped = _STRIPPED_RESPONSE_HEADERS
    for name, value in headers:
        if name == b"connection":
            stripped = stripped | connection_options(value)
    return [pair for pair in headers if pair[0] not in stripped]


def report_failure(upstream: str, error: UpstreamError) -> Unavailable:
    """Count and log a failed request. Returns the error for the client."""
    UPSTREAM_ERRORS.labels(upstream, type(error).__name__).inc()
    log.warning("upstream.failed", upstream=upstream, reason=str(error))
    return Unavailable("The service is temporarily unavailable. Please try again.")
