"""One request at the door: matched, let in, counted, forwarded. Pure ASGI."""

import asyncio
import json
import time
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coach_common import logs, telemetry
from coach_common.errors import CoachError, PayloadTooLarge
from coach_common.http import problems
from coach_gateway import sockets
from coach_gateway.access import Authenticator, TrustedProxies, parse_bearer
from coach_gateway.config import GatewaySettings
from coach_gateway.limits import RateLimitExceeded, RateLimits
from coach_gateway.request_head import Headers, RequestHead
from coach_gateway.routing import (
    SOCKET_PATH,
    Match,
    MethodNotAllowed,
    Route,
    Router,
    canonical_path,
)
from coach_gateway.upstream_client import UpstreamClient, UpstreamRequest

log = logs.get_logger(__name__)

_LOCAL_PATHS = frozenset(
    ("/", "/health", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json")
)
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_DRAIN_LIMIT_FACTOR = 4
_DRAIN_TIMEOUT_SECONDS = 2.0
_NO_STORE = (b"cache-control", b"no-store")


@dataclass(slots=True)
class RequestRecord:
    """What became of a request, for its log line and its metrics."""

    method: str
    request_id: bytes
    route: str = "unmatched"
    status: int = 500
    has_started: bool = False
    started_at: float = field(default_factory=time.perf_counter)

    def record(self) -> None:
        """Count and log it, now that it is answered."""
        seconds = time.perf_counter() - self.started_at
        telemetry.record_request("gateway", self.method, self.route, self.status, seconds)
        if not self.route.startswith(("/health", "/metrics")):
            logs.log_request(
                service="gateway",
                method=self.method,
                route=self.route,
                status=self.status,
                ms=seconds * 1000,
                request_id=self.request_id.decode(),
            )


class GatewayApp:
    """The ASGI app at the door."""

    def __init__(
        self,
        settings: GatewaySettings,
        authenticator: Authenticator,
        upstream_client: UpstreamClient,
        limits: RateLimits,
        socket_context: sockets.SocketContext,
        local_app: ASGIApp,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._upstream_client = upstream_client
        self._limits = limits
        self._socket_context = socket_context
        self._local_app = local_app
        self._router = Router()
        self._trusted_proxies = TrustedProxies(settings.trusted_proxies)
        self.default_headers: Headers = list(_SECURITY_HEADERS)
        if settings.environment == "production":
            self.default_headers.append(_HSTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._handle_websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._handle_http(scope, receive, send)

    async def _handle_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = RequestHead.from_headers(scope["headers"])
        record = RequestRecord(scope["method"], head.request_id())
        telemetry.current_request_id.set(record.request_id.decode())
        default_headers = [*self.default_headers, (b"x-request-id", record.request_id)]

        async def send_with_defaults(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status, record.has_started = message["status"], True
                message["headers"] = [*message["headers"], *default_headers]
            await send(message)

        try:
            if scope["path"] in _LOCAL_PATHS:
                record.route = scope["path"]
                await self._local_app(scope, receive, send_with_defaults)
            else:
                await self._handle(scope, receive, send_with_defaults, head, record)
        except PayloadTooLarge as error:
            # A client that is still sending would not read the answer before a closed connection.
            await _drain_body(receive, self._settings.max_body_bytes * _DRAIN_LIMIT_FACTOR)
            await _send_problem(send_with_defaults, error, record)
        except CoachError as error:
            await _send_problem(send_with_defaults, error, record)
        except Exception:
            log.exception("request.unhandled_exception", request_id=record.request_id.decode())
            await _send_problem(
                send_with_defaults, CoachError("Something went wrong on our side."), record
            )
        finally:
            record.record()

    async def _handle(
        self, scope: Scope, receive: Receive, send: Send, head: RequestHead, record: RequestRecord
    ) -> None:
        """Match, authenticate, count, forward: the walk of every public call."""
        match = self._router.match(scope["raw_path"], scope["method"])
        record.route = match.route.path
        has_body, length = head.body_length(self._settings.max_body_bytes)
        address = self._client_address(_peer_address(scope), head)
        limit_key: Hashable = address
        if not match.route.is_open:
            limit_key = (
                await self._authenticator.authenticate(parse_bearer(head.get(b"authorization")))
            ).user_id
        allowance = self._limits.hit(match.route.limit, limit_key)
        request = self._build_upstream_request(
            match, scope["query_string"], head, address, record.request_id
        )
        request.has_body, request.length = has_body, length
        request.is_json = b"json" in (head.get(b"content-type") or b"")
        response_headers = [*allowance.headers(), _NO_STORE]
        await self._upstream_client.forward(request, receive, send, response_headers)

    def _build_upstream_request(
        self, match: Match, query: bytes, head: RequestHead, address: str, request_id: bytes
    ) -> UpstreamRequest:
        route = match.route
        lines = b"%bx-request-id: %b\r\ntraceparent: %b\r\nx-forwarded-for: %b\r\n%b" % (
            head.encoded, request_id, head.traceparent().encode(), address.encode(),
            self._upstream_specific_headers(route, head),
        )  # fmt: skip
        return UpstreamRequest(route.upstream, route.method, match.path, query, lines)

    def _upstream_specific_headers(self, route: Route, head: RequestHead) -> bytes:
        """Return the headers that one upstream alone is told."""
        if route.upstream == "auth":
            return b"x-gateway-token: %b\r\n" % self._settings.service_token.encode()
        if route.upstream == "media":
            return b"x-coach-public-host: %b\r\n" % (head.get(b"host") or b"")
        return b""

    async def _handle_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            path = canonical_path(scope["raw_path"])
        except CoachError:
            path = ""
        if path != SOCKET_PATH:
            await receive()
            await send({"type": "websocket.close"})
            return
        address = self._client_address(
            _peer_address(scope), RequestHead.from_headers(scope["headers"])
        )
        await sockets.serve(self._socket_context, scope, receive, send, address)

    def _client_address(self, peer: str, head: RequestHead) -> str:
        forwarded = head.get(b"x-forwarded-for")
        return self._trusted_proxies.client_address(
            peer, None if forwarded is None else forwarded.decode("latin-1")
        )


def _peer_address(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


async def _drain_body(receive: Receive, limit: int) -> None:
    """Read what is left of a body, to a bound in bytes and time."""
    total = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_TIMEOUT_SECONDS):
            while total < limit:
                message = await receive()
                total += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


async def _send_problem(send: Send, error: CoachError, record: RequestRecord) -> None:
    if record.has_started:
        return
    status = 405 if isinstance(error, MethodNotAllowed) else problems.http_status(error)
    extra_headers = [
        (name.encode(), value.encode()) for name, value in problems.http_headers(error).items()
    ]
    if isinstance(error, MethodNotAllowed):
        extra_headers.append((b"allow", ", ".join(error.allowed).encode()))
    if isinstance(error, RateLimitExceeded):
        extra_headers += error.allowance.headers()
    code = "internal" if status == 500 else error.code
    body = json.dumps(
        problems.problem_body(status, str(error), code=code), ensure_ascii=False
    ).encode()
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        _NO_STORE,
        *extra_headers,
    ]
    if status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
