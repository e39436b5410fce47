"""One request at the door: matched, let in, counted, forwarded. Pure ASGI."""

import asyncio
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coach_common import logs, telemetry
from coach_common.errors import CoachError, TooLarge
from coach_common.http import problems
from coach_gateway import sockets
from coach_gateway.access import Access, TrustedProxies, bearer_of
from coach_gateway.config import GatewaySettings
from coach_gateway.connection import Headers
from coach_gateway.limits import OverLimit, RateLimits
from coach_gateway.proxy import Forwarded, Proxy, check_framing, forwarded_headers
from coach_gateway.routing import SOCKET, Route, Router, WrongMethod, canonical

log = logs.get(__name__)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_OWN_PATHS = frozenset(
    ("/", "/health", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json")
)
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
_STRICT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_DRAINED = 4
_DRAIN_SECONDS = 2.0
_NO_STORE = (b"cache-control", b"no-store")


@dataclass(slots=True)
class Seen:
    """What became of a request, for its log line and its metrics."""

    route: str = "unmatched"
    status: int = 500
    has_started: bool = False


class Gateway:
    """The ASGI app at the door."""

    def __init__(
        self,
        settings: GatewaySettings,
        access: Access,
        proxy: Proxy,
        limits: RateLimits,
        door: sockets.Door,
        own: ASGIApp,
    ) -> None:
        self._settings = settings
        self._access = access
        self._proxy = proxy
        self._limits = limits
        self._door = door
        self._own = own
        self._router = Router()
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._always = list(_SECURITY)
        if settings.environment == "production":
            self._always.append(_STRICT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        headers: Headers = scope["headers"]
        given = next((value for name, value in headers if name == b"x-request-id"), b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else telemetry.random_hex(8).encode()
        telemetry.request_id.set(request_id.decode())
        always = [*self._always, (b"x-request-id", request_id)]
        seen = Seen()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status, seen.has_started = message["status"], True
                message["headers"] = [*message["headers"], *always]
            await send(message)

        try:
            await self._serve(scope, receive, answer, seen)
        except TooLarge as error:
            # A client that is still sending would not read the answer before a closed connection.
            await _drain(receive, self._settings.max_body_bytes * _DRAINED)
            await _problem(answer, error, seen)
        except CoachError as error:
            await _problem(answer, error, seen)
        except Exception:
            log.exception("request.crashed", request_id=request_id.decode())
            await _problem(answer, CoachError("Something went wrong on our side."), seen)
        finally:
            self._count(scope, seen, request_id.decode(), time.perf_counter() - began)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, seen: Seen) -> None:
        path: str = scope["path"]
        if path in _OWN_PATHS:
            seen.route = path
            await self._own(scope, receive, send)
            return
        await self._forward(scope, receive, send, seen)

    async def _forward(self, scope: Scope, receive: Receive, send: Send, seen: Seen) -> None:
        """Match, authenticate, count, forward: the walk of every public call."""
        headers: Headers = scope["headers"]
        match = self._router.match(scope["raw_path"], scope["method"])
        route = match.route
        seen.route = route.path
        has_body, length = check_framing(headers, self._settings.max_body_bytes)
        address = self._address(scope)
        who = address
        if not route.is_open:
            token = bearer_of(_header(headers, b"authorization"))
            who = str((await self._access.authenticate(token)).user_id)
        allowance = self._limits.take(route.limit, who)
        request = Forwarded(
            upstream=route.upstream,
            method=route.method,
            path=match.path,
            query=scope["query_string"],
            headers=self._rebuilt(headers, route, address),
            has_body=has_body,
            length=length,
            is_json=b"json" in (_header(headers, b"content-type") or b""),
        )
        extra = [*allowance.headers(), _NO_STORE]
        await self._proxy.forward(request, receive, send, extra)

    def _rebuilt(self, headers: Headers, route: Route, address: str) -> Headers:
        kept = forwarded_headers(headers)
        trace = (_header(headers, b"traceparent") or b"").decode("latin-1")
        kept += (
            (b"x-request-id", (telemetry.request_id.get() or "").encode()),
            (b"traceparent", telemetry.continue_trace(trace or None).encode()),
            (b"x-forwarded-for", address.encode()),
        )
        if route.upstream == "auth":
            kept.append((b"x-gateway-token", self._settings.service_token.encode()))
        elif route.upstream == "media":
            kept.append((b"x-coach-public-host", _header(headers, b"host") or b""))
        return kept

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            path = canonical(scope["raw_path"])
        except CoachError:
            path = ""
        if path != SOCKET:
            await receive()
            await send({"type": "websocket.close"})
            return
        await sockets.serve(self._door, scope, receive, send, self._address(scope))

    def _address(self, scope: Scope) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        forwarded = _header(scope["headers"], b"x-forwarded-for")
        return self._proxies.client_address(
            peer, None if forwarded is None else forwarded.decode("latin-1")
        )

    def _count(self, scope: Scope, seen: Seen, request_id: str, seconds: float) -> None:
        telemetry.count_request("gateway", scope["method"], seen.route, seen.status, seconds)
        if not seen.route.startswith(("/health", "/metrics")):
            log.info(
                "request",
                service="gateway",
                method=scope["method"],
                route=seen.route,
                status=seen.status,
                ms=round(seconds * 1000, 1),
                request_id=request_id,
            )


async def _drain(receive: Receive, limit: int) -> None:
    """Read what is left of a body, to a bound in bytes and time."""
    total = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while total < limit:
                message = await receive()
                total += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


async def _problem(send: Send, error: CoachError, seen: Seen) -> None:
    if seen.has_started:
        return
    status = 405 if isinstance(error, WrongMethod) else problems.status_of(error)
    more = [(name.encode(), value.encode()) for name, value in problems.headers_of(error).items()]
    if isinstance(error, WrongMethod):
        more.append((b"allow", ", ".join(error.allowed).encode()))
    if isinstance(error, OverLimit):
        more += error.allowance.headers()
    code = "internal" if status == 500 else error.code
    body = json.dumps(problems.body_of(status, str(error), code=code), ensure_ascii=False).encode()
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        _NO_STORE,
        *more,
    ]
    if status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(headers: Headers, wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name == wanted), None)
