"""One request at the door: matched, let in, counted, forwarded. Pure ASGI.

`begin` is the same walk for a request that has to wait for nothing; see short_way.py.
"""

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
from coach_common.tokens import token_cache_key
from coach_gateway import sockets
from coach_gateway.access import Access, TrustedProxies, bearer_of
from coach_gateway.config import GatewaySettings
from coach_gateway.head import Head, Headers, wire
from coach_gateway.limits import OverLimit, RateLimits
from coach_gateway.proxy import SAFE, Asked, Forwarded, Proxy
from coach_gateway.routing import SOCKET, Match, Route, Router, WrongMethod, canonical

log = logs.get_logger(__name__)

REFUSED = "coach.refused"
"""In a scope: the replica that was asked already, in vain."""

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

    method: str
    request_id: bytes
    route: str = "unmatched"
    status: int = 500
    has_started: bool = False
    began: float = field(default_factory=time.perf_counter)

    def count(self) -> None:
        """Count and log it, now that it is answered."""
        seconds = time.perf_counter() - self.began
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


@dataclass(slots=True)
class Plain:
    """The headers of a request that only wants an answer. The same again come to the same."""

    head: Head
    address: str
    digest: bytes | None
    """Of the token, where there is one."""


@dataclass(slots=True)
class Begun:
    """A request that may be sent at once, over a connection that lay ready."""

    asked: Asked
    request: Forwarded
    seen: Seen
    lines: bytes
    """The answer's headers beside the upstream's, as they are sent."""


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
        self.always: Headers = list(_SECURITY)
        if settings.environment == "production":
            self.always.append(_STRICT)
        self._always_lines = wire([_NO_STORE, *self.always])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)

    def plain(self, headers: Headers, peer: str) -> Plain | None:
        """Read the headers of a request without a body that only wants an answer; None for all
        others."""
        head = Head.of(headers)
        try:
            if head.get(b"origin") is not None or head.body_length(0)[0]:
                return None
            token = head.get(b"authorization")
            digest = None if token is None else token_cache_key(bearer_of(token))
        except CoachError:
            return None
        return Plain(head, self._address(peer, head), digest)

    def begin(self, raw_path: bytes, query: bytes, plain: Plain) -> Begun | None:
        """Let a GET in that has to wait for nothing: a token that passed before, a connection that
        lies ready. None for all others, and for what is refused: that is said on the long way."""
        try:
            match = self._router.match(raw_path, SAFE)
            route = match.route
            who: Hashable = plain.address
            if not route.is_open:
                identity = None if plain.digest is None else self._access.known(plain.digest)
                if identity is None:
                    return None
                who = identity.user_id
            asked = self._proxy.take_now(route.upstream)
        except CoachError:
            return None
        if asked is None:
            return None
        try:
            allowance = self._limits.take(route.limit, who)
        except OverLimit:
            asked.end()
            return None
        seen = Seen(SAFE, plain.head.request_id(), route.path)
        request = self._rebuilt(match, query, plain.head, plain.address, seen.request_id)
        lines = b"%b%bx-request-id: %b\r\n" % (
            allowance.lines(), self._always_lines, seen.request_id
        )  # fmt: skip
        return Begun(asked, request, seen, lines)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = Head.of(scope["headers"])
        seen = Seen(scope["method"], head.request_id())
        telemetry.current_request_id.set(seen.request_id.decode())
        always = [*self.always, (b"x-request-id", seen.request_id)]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status, seen.has_started = message["status"], True
                message["headers"] = [*message["headers"], *always]
            await send(message)

        try:
            if scope["path"] in _OWN_PATHS:
                seen.route = scope["path"]
                await self._own(scope, receive, answer)
            else:
                await self._forward(scope, receive, answer, head, seen)
        except PayloadTooLarge as error:
            # A client that is still sending would not read the answer before a closed connection.
            await _drain(receive, self._settings.max_body_bytes * _DRAINED)
            await _problem(answer, error, seen)
        except CoachError as error:
            await _problem(answer, error, seen)
        except Exception:
            log.exception("request.unhandled_exception", request_id=seen.request_id.decode())
            await _problem(answer, CoachError("Something went wrong on our side."), seen)
        finally:
            seen.count()

    async def _forward(
        self, scope: Scope, receive: Receive, send: Send, head: Head, seen: Seen
    ) -> None:
        """Match, authenticate, count, forward: the walk of every public call."""
        match = self._router.match(scope["raw_path"], scope["method"])
        seen.route = match.route.path
        has_body, length = head.body_length(self._settings.max_body_bytes)
        address = self._address(_peer(scope), head)
        who: Hashable = address
        if not match.route.is_open:
            who = (await self._access.authenticate(bearer_of(head.get(b"authorization")))).user_id
        allowance = self._limits.take(match.route.limit, who)
        request = self._rebuilt(match, scope["query_string"], head, address, seen.request_id)
        request.has_body, request.length = has_body, length
        request.is_json = b"json" in (head.get(b"content-type") or b"")
        extra = [*allowance.headers(), _NO_STORE]
        await self._proxy.forward(request, receive, send, extra, refused=scope.get(REFUSED))

    def _rebuilt(
        self, match: Match, query: bytes, head: Head, address: str, request_id: bytes
    ) -> Forwarded:
        route = match.route
        lines = b"%bx-request-id: %b\r\ntraceparent: %b\r\nx-forwarded-for: %b\r\n%b" % (
            head.lines, request_id, head.trace().encode(), address.encode(),
            self._confided(route, head),
        )  # fmt: skip
        return Forwarded(route.upstream, route.method, match.path, query, lines)

    def _confided(self, route: Route, head: Head) -> bytes:
        """Return the headers that one upstream alone is told."""
        if route.upstream == "auth":
            return b"x-gateway-token: %b\r\n" % self._settings.service_token.encode()
        if route.upstream == "media":
            return b"x-coach-public-host: %b\r\n" % (head.get(b"host") or b"")
        return b""

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            path = canonical(scope["raw_path"])
        except CoachError:
            path = ""
        if path != SOCKET:
            await receive()
            await send({"type": "websocket.close"})
            return
        address = self._address(_peer(scope), Head.of(scope["headers"]))
        await sockets.serve(self._door, scope, receive, send, address)

    def _address(self, peer: str, head: Head) -> str:
        forwarded = head.get(b"x-forwarded-for")
        return self._proxies.client_address(
            peer, None if forwarded is None else forwarded.decode("latin-1")
        )


def _peer(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


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
    status = 405 if isinstance(error, WrongMethod) else problems.http_status(error)
    more = [(name.encode(), value.encode()) for name, value in problems.http_headers(error).items()]
    if isinstance(error, WrongMethod):
        more.append((b"allow", ", ".join(error.allowed).encode()))
    if isinstance(error, OverLimit):
        more += error.allowance.headers()
    code = "internal" if status == 500 else error.code
    body = json.dumps(
        problems.problem_body(status, str(error), code=code), ensure_ascii=False
    ).encode()
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
