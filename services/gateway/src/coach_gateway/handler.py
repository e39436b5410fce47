"""The ASGI app: match, authenticate, limit, read the body, forward, stream the response."""

import json
import time
from dataclasses import dataclass, field

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coach_common import logs, telemetry, tracing
from coach_common.client_address import TrustedProxies, group_address
from coach_common.errors import CoachError
from coach_common.http import problems
from coach_common.http.exchange import BODY_FOLLOWS, Exchange, encode_headers
from coach_gateway.access import Authenticator, parse_bearer
from coach_gateway.config import GatewaySettings
from coach_gateway.json_depth import JsonDepthCounter
from coach_gateway.limits import RateLimitExceeded, RateLimits, Shares
from coach_gateway.request_head import Headers, RequestHead, payload_too_large
from coach_gateway.routing import (
    SOCKET_PATH,
    Match,
    MethodNotAllowed,
    Route,
    Router,
    canonical_path,
)
from coach_gateway.sockets import handshake
from coach_gateway.sockets.context import SocketContext
from coach_gateway.upstream_client import (
    UpstreamClient,
    UpstreamRequest,
    filter_response_headers,
    report_failure,
)
from coach_gateway.upstream_connection import ClientDisconnected, UpstreamError

log = logs.get_logger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""Status in logs and metrics for a request whose client disconnected, as in nginx."""
BODY_BYTES_SHARE = 16
"""One client may use a sixteenth of the memory for request bodies."""
_LOCAL_PATHS = frozenset(
    ("/", "/health", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json")
)
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_NO_STORE = (b"cache-control", b"no-store")


def default_headers(settings: GatewaySettings) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every response."""
    is_production = settings.environment == "production"
    return (*_SECURITY_HEADERS, _HSTS) if is_production else _SECURITY_HEADERS


@dataclass(slots=True)
class RequestRecord:
    """What is logged and counted about a request."""

    method: str
    request_id: bytes
    route: str = "unmatched"
    status: int = CLIENT_CLOSED_REQUEST
    has_started: bool = False
    started_at: float = field(default_factory=time.perf_counter)
    span: tracing.Span | None = None
    """The span of the request, if spans are exported."""

    def record(self) -> None:
        """Log and count the request."""
        seconds = time.perf_counter() - self.started_at
        telemetry.record_request("gateway", self.method, self.route, self.status, seconds)
        if self.span is not None:
            tracing.end_request(self.span, self.method, self.route, self.status)
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
    """The gateway as an ASGI app. It needs the exchange of coach_common.http.protocol."""

    def __init__(
        self,
        settings: GatewaySettings,
        authenticator: Authenticator,
        upstream_client: UpstreamClient,
        limits: RateLimits,
        socket_context: SocketContext,
        local_app: ASGIApp,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._upstream_client = upstream_client
        self._limits = limits
        self._requests = Shares(settings.max_in_flight, settings.max_in_flight_per_client)
        self._body_bytes = Shares(
            settings.max_buffered_body_bytes,
            max(settings.max_body_bytes, settings.max_buffered_body_bytes // BODY_BYTES_SHARE),
        )
        self._socket_context = socket_context
        self._local_app = local_app
        self._router = Router()
        self._trusted_proxies = TrustedProxies(settings.trusted_proxies)
        self._default_headers = default_headers(settings)
        self._cors = CORSMiddleware(
            self._serve,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=[
                "authorization", "content-type", "idempotency-key", "traceparent", "x-request-id",
            ],
            expose_headers=[
                "x-request-id", "retry-after", "location",
                "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset",
            ],
            max_age=600,
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = scope["coach.head"] = RequestHead.from_headers(scope["headers"])
        if head.get(b"origin") is not None and scope["type"] == "http":
            await self._cors(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or handshake, with errors as problems, and record it."""
        head: RequestHead = scope["coach.head"]
        is_socket = scope["type"] == "websocket"
        record = RequestRecord(scope.get("method", "GET"), head.request_id())
        telemetry.current_request_id.set(record.request_id.decode())
        if tracing.is_exporting():
            record.span = tracing.start_span(
                "gateway", record.method, tracing.Kind.SERVER, parent=head.traceparent()
            )
        response_headers = [(b"x-request-id", record.request_id)]
        if is_socket:  # The HTTP protocol adds them to other responses.
            response_headers += self._default_headers

        async def send_with_defaults(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status, record.has_started = message["status"], True
                message["headers"] = [*message["headers"], *response_headers]
            if is_socket and message["type"].startswith("http."):
                message["type"] = f"websocket.{message['type']}"
            await send(message)

        try:
            head.ensure_unambiguous(scope["http_version"])
            if is_socket:
                record.route = SOCKET_PATH
                address = self._client_address(scope, head)
                await handshake.serve(
                    self._socket_context, scope, receive, send_with_defaults, address
                )
            elif scope["path"] in _LOCAL_PATHS:
                record.route = scope["path"]
                await self._local_app(scope, receive, send_with_defaults)
            else:
                await self._handle(scope, receive, send_with_defaults, head, record)
        except ClientDisconnected:
            pass
        except CoachError as error:
            await _send_problem(send_with_defaults, error, record)
        except Exception:
            log.exception("request.unhandled_exception", request_id=record.request_id.decode())
            failure = CoachError("Something went wrong on our side.")
            await _send_problem(send_with_defaults, failure, record)
        finally:
            if record.has_started or not is_socket:
                record.record()

    async def _handle(
        self, scope: Scope, receive: Receive, send: Send, head: RequestHead, record: RequestRecord
    ) -> None:
        """Match, authenticate, limit, read and forward one public request."""
        match = self._router.match(scope["raw_path"], scope["method"])
        route = match.route
        record.route = route.path
        max_body_bytes = route.max_body_bytes or self._settings.max_body_bytes
        has_body, content_length = head.body_length(max_body_bytes)
        address = self._client_address(scope, head)
        if route.is_open:
            client = group_address(address)
        else:
            token = parse_bearer(head.get(b"authorization"))
            client = (await self._authenticator.authenticate(token)).user_key
        allowance = self._limits.hit(route.limit, client)
        request = self._build_upstream_request(match, scope["query_string"], head, address, record)
        exchange: Exchange = scope["coach.exchange"]
        headers = allowance.headers()
        self._requests.take(client)
        try:
            if has_body:
                size_bytes = content_length or max_body_bytes
                self._body_bytes.take(client, size_bytes)
                try:
                    request.body = await self._read_body(receive, route)
                    await self._forward(request, exchange, send, headers)
                finally:
                    self._body_bytes.free(client, size_bytes)
            else:
                await self._forward(request, exchange, send, headers)
        finally:
            self._requests.free(client)

    async def _read_body(self, receive: Receive, route: Route) -> bytes:
        """Read the whole body, so that a slow client holds no slot of an upstream."""
        chunks: list[bytes] = []
        size_bytes = 0
        max_body_bytes = route.max_body_bytes or self._settings.max_body_bytes
        is_json = route.max_body_bytes is None
        depth = JsonDepthCounter(self._settings.max_json_depth)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message["body"]
            size_bytes += len(chunk)
            if size_bytes > max_body_bytes:
                raise payload_too_large(max_body_bytes)
            if is_json:
                depth.feed(chunk)
            chunks.append(chunk)
            if not message["more_body"]:
                return b"".join(chunks)

    async def _forward(
        self, request: UpstreamRequest, exchange: Exchange, send: Send, extra_headers: Headers
    ) -> None:
        """Send a request to its upstream and stream the response as it arrives."""
        try:
            async with self._upstream_client.stream(request, exchange) as call:
                headers = [*filter_response_headers(call.headers), *extra_headers, _NO_STORE]
                await send(
                    {
                        "type": "http.response.start",
                        "status": call.status,
                        "headers": headers,
                        BODY_FOLLOWS: call.has_chunk(),
                    }
                )
                is_last = False
                while not is_last:
                    chunk = await call.read_chunk()
                    is_last = not chunk or call.is_drained()
                    await exchange.send_body(chunk, more_body=not is_last)
        except UpstreamError as error:
            raise report_failure(request.upstream, error) from None

    def _build_upstream_request(
        self, match: Match, query: bytes, head: RequestHead, address: str, record: RequestRecord
    ) -> UpstreamRequest:
        route = match.route
        traceparent = (
            telemetry.continue_trace(head.traceparent())
            if record.span is None
            else record.span.traceparent
        )
        encoded = b"%bx-request-id: %b\r\ntraceparent: %b\r\nx-forwarded-for: %b\r\n%b" % (
            encode_headers(head.forwarded), record.request_id, traceparent.encode(),
            address.encode(), self._upstream_specific_headers(route, head),
        )  # fmt: skip
        return UpstreamRequest(route.upstream, route.method, match.path, query, encoded)

    def _upstream_specific_headers(self, route: Route, head: RequestHead) -> bytes:
        """Return the headers that only one upstream gets."""
        if route.upstream == "auth":
            return b"x-gateway-token: %b\r\n" % self._settings.service_token.encode()
        if route.upstream == "media":
            return b"x-coach-public-host: %b\r\n" % (head.get(b"host") or b"")
        return b""

    def _client_address(self, scope: Scope, head: RequestHead) -> str:
        peer: str = scope["client"][0] if scope.get("client") else ""
        forwarded = head.get(b"x-forwarded-for")
        return self._trusted_proxies.client_address(
            peer, None if forwarded is None else forwarded.decode("latin-1")
        )


def accepts_websocket(path: bytes) -> bool:
    """Return whether a path is the WebSocket's."""
    try:
        return canonical_path(path) == SOCKET_PATH
    except CoachError:
        return False


async def _send_problem(send: Send, error: CoachError, record: RequestRecord) -> None:
    if record.has_started:
        return
    status = 405 if isinstance(error, MethodNotAllowed) else problems.http_status(error)
    extra = [
        (name.encode(), value.encode()) for name, value in problems.http_headers(error).items()
    ]
    if isinstance(error, MethodNotAllowed):
        extra.append((b"allow", ", ".join(error.allowed).encode()))
    if isinstance(error, RateLimitExceeded):
        extra += error.allowance.headers()
    # After a request of doubtful length or identity nothing else is read.
    if status == 413 or error.code in ("ambiguous_framing", "ambiguous_request"):
        extra.append((b"connection", b"close"))
    code = "internal" if status == 500 else error.code
    body = json.dumps(
        problems.problem_body(status, str(error), code=code), ensure_ascii=False
    ).encode()
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        _NO_STORE,
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
